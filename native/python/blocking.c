/* blocking.c - a call for which its thread waits, and a thread that waits for events.
 *
 * A call is one step, as Python sees it:
 *
 *   place ---- rudp_call ---- wait, without the GIL ---- value ---- rudp_taken ---- place is free
 *                               |  ^
 *                               |  +-- a signal came, or a slice is over: signal handlers run
 *                               v
 *                       one of them raised: cancel, and wait for the event that still comes
 *
 * Handlers of signals are Python, and run only where we ask for them: nowhere else can an exception
 * come between two of these steps (Rule 17). Whoever closes the node seals it, cancels what waits
 * and frees the core when nobody is inside any more.
 *
 * The trap: other threads run while this one waits, and whatever calls Python lets them. So a place
 * is looked up by its handle each time, and the core that a thread began with is its own until it
 * leaves. */
#define _GNU_SOURCE
#include <unistd.h>

#include "io/clock.h"
#include "python/link.h"

#define MAIN_SLICE   (100 * NS_PER_MS / NS_PER_US) /* us: how long a lost signal goes unnoticed */
#define THREAD_SLICE (NS_PER_S / NS_PER_US)
#define CANCEL_MOST  NS_PER_S /* for the event that a cancelled call still brings */

#define SOON 1000 /* us */

enum { OWNER = 1 }; /* of rudp_call: we wait for it */

typedef struct {
    link_object *link;
    PyObject *node;
    rudp_node *core;
    uint64_t handle;
    rudp_event done;
} waiting;

/* ---- a place ---- */

/* 0; or RUDP_CLOSED, or RUDP_FULL at the limit of calls. */
static int waiting_enter(waiting *w, link_object *link, PyObject *node)
{
    if (link->sealed || link->core == NULL)
        return RUDP_CLOSED;
    *w = (waiting){.link = link, .node = node, .core = link->core};
    w->handle = table_take(&link->table);
    if (w->handle == 0)
        return RUDP_FULL;
    link->table.places[w->handle & HANDLE_INDEX].waits = true;
    return 0;
}

/* ended: the core has nothing of this call any more. Otherwise its place is not used again. */
static void waiting_leave(const waiting *w, bool ended)
{
    link_table *t = &w->link->table;
    t->places[w->handle & HANDLE_INDEX].waits = false;
    if (ended)
        table_give(t, w->handle);
}

PyObject *link_waiting(PyObject *self, PyObject *unused)
{
    const link_table *t = &((link_object *)self)->table;
    PyObject *handles = PyList_New(0);
    (void)unused;
    for (uint32_t i = 0; handles != NULL && i < t->count; i++) {
        PyObject *handle = t->places[i].waits ? PyLong_FromUnsignedLongLong(t->places[i].handle)
                                              : Py_NewRef(Py_None);
        if (handle == NULL || (handle != Py_None && PyList_Append(handles, handle) != 0))
            Py_CLEAR(handles);
        Py_XDECREF(handle);
    }
    return handles;
}

/* ---- waiting ---- */

static int wait_slice(waiting *w, uint64_t us)
{
    PyThreadState *state = PyEval_SaveThread();
    int code = rudp_call_wait(w->core, w->handle, &w->done, us);
    PyEval_RestoreThread(state);
    return code;
}

/* An exception is set, and stays. */
static void waiting_give_up(waiting *w)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    rudp_cancel(w->core, w->handle);
    uint64_t until = clock_now() + CANCEL_MOST;
    int code;
    do
        code = wait_slice(w, MAIN_SLICE);
    while ((code == RUDP_TIMEOUT || code == RUDP_SIGNAL) && clock_now() < until);
    if (code >= 0 && w->done.memory != 0)
        rudp_release((void *)(uintptr_t)w->done.memory);
    if (code >= 0)
        rudp_taken(w->core, w->handle);
    waiting_leave(w, code >= 0);
    PyErr_Restore(type, error, traceback);
}

/* The core answers no more, or this is a forked child. */
static void waiting_fail(const waiting *w, int code)
{
    waiting_leave(w, true);
    Py_XDECREF(PyObject_CallMethod(w->node, "_failed", "i", code));
}

/* False: an exception is set, and the place is left. */
static bool waiting_wait(waiting *w)
{
    uint64_t slice = MAIN_SLICE;
    int code;
    while ((code = wait_slice(w, slice)) < 0) {
        if (code != RUDP_TIMEOUT && code != RUDP_SIGNAL) {
            waiting_fail(w, code);
            return false;
        }
        if (PyErr_CheckSignals() != 0) {
            waiting_give_up(w);
            return false;
        }
        slice = gettid() == getpid() ? MAIN_SLICE : THREAD_SLICE;
    }
    return true;
}

/* What was lent for this call is the application's again when it returns. */
static bool waiting_look(const waiting *w)
{
    if (PyDict_Size(w->link->lent) == 0)
        return true;
    PyObject *looked = PyObject_CallMethod(w->node, "_look_for_released", NULL);
    Py_XDECREF(looked);
    return looked != NULL;
}

/* Leaves the place. simple: its value if it is one, else NULL; *bytes: then these. Both NULL: an
 * exception. */
static PyObject *waiting_end(waiting *w, bool simple, PyObject **bytes)
{
    PyObject *value = simple ? link_result(w->link, &w->done) : NULL;
    received_message m = link_message(w->link, &w->done);
    *bytes = value == NULL ? received_bytes(&m) : NULL;
    if (value == NULL && *bytes == NULL && m.memory != NULL)
        rudp_release(m.memory);
    rudp_taken(w->core, w->handle);
    if ((value != NULL || *bytes != NULL) && !waiting_look(w)) {
        Py_CLEAR(value);
        Py_CLEAR(*bytes);
    }
    waiting_leave(w, true);
    return value;
}

/* ---- from Python ---- */

/* wait_call(node, peer, peer's id, method, args, timeout) */
PyObject *link_wait_call(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    link_object *link = (link_object *)self;
    call_request r;
    waiting w;
    (void)count;
    uint32_t peer = (uint32_t)PyLong_AsUnsignedLong(args[2]);
    if (!link->simple || peer == 0 || !request_fill(link, &r, args[3], args[4], args[5]))
        return Py_NewRef(Py_NotImplemented);
    int entered = waiting_enter(&w, link, args[0]);
    int code = entered < 0 ? entered : request_submit(link, &r, w.handle, peer, OWNER);
    draft_drop(&r.body);
    if (code < 0) { /* tried once more, by those who know why */
        if (entered == 0)
            waiting_leave(&w, true);
        return Py_NewRef(Py_NotImplemented);
    }
    PyObject *bytes = NULL, *value = waiting_wait(&w) ? waiting_end(&w, true, &bytes) : NULL;
    if (bytes != NULL)
        value = PyObject_CallMethod(args[0], "_ended", "OOOiiO", args[1], args[3], Py_False,
                                    (int)w.done.status, (int)w.done.outcome, bytes);
    Py_XDECREF(bytes);
    return value;
}

typedef struct {
    unsigned int peer;
    const char *method;
    Py_ssize_t method_size;
    PyObject *body;
    unsigned long long timeout_us;
} encoded;

/* Bytes for one packet, or a message of any size. False: an exception. */
static bool encoded_submit(const waiting *w, const encoded *e, int *code)
{
    size_t size = (size_t)e->method_size;
    if (PyBytes_CheckExact(e->body) && (size_t)PyBytes_Size(e->body) + size <= RUDP_PACKET_BODY) {
        *code = rudp_call(w->core, w->handle, e->peer, OWNER, e->timeout_us, e->method, size,
                          PyBytes_AsString(e->body), (size_t)PyBytes_Size(e->body));
        return true;
    }
    rudp_memory *memory = link_lend_body(w->link, e->body);
    *code = RUDP_MEMORY;
    if (memory != NULL)
        *code = rudp_call_memory(w->core, w->handle, e->peer, OWNER, e->timeout_us, e->method, size,
                                 memory);
    return memory != NULL || PyErr_Occurred() == NULL;
}

/* wait_body(node, peer's id, method, body, timeout in us) */
PyObject *link_wait_body(PyObject *self, PyObject *args)
{
    PyObject *node, *bytes;
    encoded e;
    waiting w;
    if (!PyArg_ParseTuple(args, "OIy#OK", &node, &e.peer, &e.method, &e.method_size, &e.body,
                          &e.timeout_us))
        return NULL;
    int code = waiting_enter(&w, (link_object *)self, node);
    if (code < 0)
        return PyLong_FromLong(code == RUDP_FULL ? 0 : code);
    bool ok = encoded_submit(&w, &e, &code);
    if (!ok || code < 0) {
        waiting_leave(&w, true);
        return ok ? PyLong_FromLong(code) : NULL;
    }
    if (!waiting_wait(&w))
        return NULL;
    waiting_end(&w, false, &bytes);
    return bytes == NULL ? NULL : Py_BuildValue("(iiN)", w.done.status, w.done.outcome, bytes);
}

/* ---- events ---- */

/* What a wait for events needs. Whoever waits in it holds neither the node nor its link. */
typedef struct {
    rudp_node *core; /* NULL: it is being closed */
    uint32_t taken, queued;
} outlook;

/* False: an exception. */
static bool outlook_begin(outlook *o, link_object *link)
{
    *o = (outlook){.core = NULL};
    if (link->sealed || link->core == NULL)
        return true;
    if (!link_queued(link, &o->queued))
        return false;
    o->core = link->core;
    o->taken = link->taken;
    link->taken = 0;
    return true;
}

/* How many are ready, or the code that ended it. */
static int outlook_wait(const outlook *o, uint64_t us)
{
    PyThreadState *state = PyEval_SaveThread();
    int ready = rudp_events_wait(o->core, o->taken, o->queued, us);
    PyEval_RestoreThread(state);
    return ready;
}

/* False: an exception. */
static bool events_handle(link_object *link, PyObject *node, int count)
{
    return link_read(link, node, (uint32_t)count) &&
           (link->core == NULL || link_tell(link, node, count));
}

PyObject *link_look(PyObject *self, PyObject *args)
{
    link_object *link = (link_object *)self;
    PyObject *node;
    unsigned long long us;
    outlook o;
    if (!PyArg_ParseTuple(args, "OK", &node, &us))
        return NULL;
    if (link->reader != READ_BY_NOBODY)
        return Py_NewRef(Py_None);
    link->reader = READ_BY_ONE_WHO_LOOKS;
    bool ok = outlook_begin(&o, link);
    int ready = ok && o.core != NULL ? outlook_wait(&o, us) : 0;
    ok = ok && (ready <= 0 || events_handle(link, node, ready));
    link->reader = READ_BY_NOBODY;
    return ok ? Py_NewRef(Py_None) : NULL;
}

/* Handles what is ready, as much as shall wait for a flush, and prepares for what comes. */
static bool attend_link(link_object *link, PyObject *node, int ready, outlook *o)
{
    int count = ready < LINK_BATCH ? ready : LINK_BATCH;
    link->reader = READ_BY_ITS_THREAD;
    if (count > 0 && link->core != NULL && !events_handle(link, node, count))
        return false;
    return outlook_begin(o, link);
}

/* False: an exception. */
static bool attend_node(PyObject *node, int ready, outlook *o)
{
    PyObject *found = PyObject_GetAttrString(node, "_link");
    link_object *link = (link_object *)found;
    bool ok = found != NULL;
    *o = (outlook){.core = NULL};
    if (ok && link->reader != READ_BY_ONE_WHO_LOOKS) {
        ok = attend_link(link, node, ready, o);
    } else if (ok) { /* who is done at once: we come again */
        PyThreadState *state = PyEval_SaveThread();
        usleep(SOON);
        PyEval_RestoreThread(state);
    }
    Py_XDECREF(found);
    return ok;
}

PyObject *link_attend(PyObject *module, PyObject *args)
{
    PyObject *reference;
    unsigned long long us;
    outlook o = {.core = NULL};
    int ready = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "OK", &reference, &us))
        return NULL;
    do {
        PyObject *node = Py_XNewRef(PyWeakref_GetObject(reference));
        bool ok = node != NULL && (node == Py_None || attend_node(node, ready, &o));
        bool over = node == Py_None || o.core == NULL;
        Py_XDECREF(node);
        if (!ok)
            return NULL;
        ready = over ? 0 : outlook_wait(&o, us);
    } while (ready > 0);
    return PyLong_FromLong(ready);
}
