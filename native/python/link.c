/* link.c - the object itself: making a call, a round of the loop, and what Python asks of it. */
#include "python/link.h"

#include <structmember.h>

#include "python/lent.h"
#include "python/service.h"

static PyTypeObject *link_type;

/* ---- a call ---- */

/* 0: not a time that the simple case knows. */
static uint64_t timeout_of(const link_object *link, PyObject *timeout)
{
    if (timeout == Py_None)
        return link->timeout_us;
    bool known = PyFloat_CheckExact(timeout) || PyLong_CheckExact(timeout);
    double seconds = known ? PyFloat_AsDouble(timeout) : 0;
    if (seconds < 0)
        PyErr_Clear(); /* an int beyond all floats is -1 */
    if (!(seconds > 0))
        return 0;
    double us = seconds * 1e6;
    if (us >= (double)RUDP_TIMEOUT_MAX)
        return RUDP_TIMEOUT_MAX;
    return us < 1 ? 1 : (uint64_t)us;
}

/* Inside a handler the time left of its request counts: that is Python's to find out. */
static bool in_a_request(const link_object *link)
{
    PyObject *request = PyObject_CallFunctionObjArgs(link->bound_request, Py_None, NULL);
    bool inside = request != Py_None;
    if (request == NULL)
        PyErr_Clear();
    Py_XDECREF(request);
    return inside;
}

bool request_fill(const link_object *link, call_request *r, PyObject *method, PyObject *args,
                  PyObject *timeout)
{
    r->timeout_us = timeout_of(link, timeout);
    if (r->timeout_us == 0 || !PyUnicode_CheckExact(method))
        return false;
    r->method = PyUnicode_AsUTF8AndSize(method, &r->method_size);
    if (r->method == NULL)
        PyErr_Clear();
    return r->method != NULL && r->method_size > 0 && r->method_size <= RUDP_METHOD_MAX &&
           !in_a_request(link) && draft_arguments(&r->body, link->packs, args);
}

rudp_memory *link_lend(link_object *link, draft *d)
{
    return lent_add(link->lent, ++link->token, d, link->max_message);
}

rudp_memory *link_lend_body(link_object *link, PyObject *body)
{
    PyObject *parts = PyList_Check(body) ? Py_NewRef(body) : PyList_New(1);
    if (parts != NULL && parts != body)
        PyList_SetItem(parts, 0, Py_NewRef(body));
    rudp_memory *memory = parts == NULL ? NULL : lent_parts(link->lent, ++link->token, parts);
    Py_XDECREF(parts);
    return memory;
}

int request_submit(link_object *link, call_request *r, uint64_t handle, uint32_t peer, int owner)
{
    size_t size = (size_t)r->method_size;
    if (r->body.count == 0 && r->body.size + size <= RUDP_PACKET_BODY)
        return rudp_call(link->core, handle, peer, owner, r->timeout_us, r->method, size,
                         (const char *)r->body.head, r->body.size);
    rudp_memory *memory = link_lend(link, &r->body);
    if (memory == NULL)
        return RUDP_MEMORY;
    return rudp_call_memory(link->core, handle, peer, owner, r->timeout_us, r->method, size,
                            memory);
}

/* The Call of what the core has taken. Without memory for it the core need not go on either. */
static call_object *call_of(link_object *link, PyObject *node, PyObject *peer, PyObject *method,
                            uint64_t handle)
{
    call_object *call = call_new(node, link->loop, peer, method, handle);
    if (call == NULL)
        (void)rudp_cancel(link->core, handle);
    link->table.places[handle & HANDLE_INDEX].call = call;
    return call;
}

/* call(node, peer, peer's id, method, args, timeout): a Call, or None if it is not simple. */
static PyObject *link_call(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    link_object *link = (link_object *)self;
    call_request r;
    (void)count;
    uint32_t peer = (uint32_t)PyLong_AsUnsignedLong(args[2]);
    if (!link->simple || peer == 0 || link->thread != PyThread_get_thread_ident() ||
        !request_fill(link, &r, args[3], args[4], args[5]))
        return Py_NewRef(Py_None);
    bool at_once = !link->due && link_is_free(link);
    if (!link_wake(link, args[0]))
        PyErr_Clear(); /* the loop is closed: those say so who are asked next */
    uint64_t handle = link->due ? table_take(&link->table) : 0;
    int code = handle == 0 ? RUDP_FULL : request_submit(link, &r, handle, peer, 0);
    draft_drop(&r.body);
    if (code < 0) { /* tried once more, by those who know why */
        if (handle != 0)
            table_give(&link->table, handle);
        return Py_NewRef(Py_None);
    }
    if (at_once)
        link_send(link);
    return Py_XNewRef((PyObject *)call_of(link, args[0], args[1], args[3], handle));
}

/* ---- what is not simple ---- */

static PyObject *link_reserve(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(table_take(&((link_object *)self)->table));
}

/* lend(body): where its rudp_memory lies; 0: no memory. */
static PyObject *link_lend_method(PyObject *self, PyObject *body)
{
    rudp_memory *memory = link_lend_body((link_object *)self, body);
    return memory == NULL && PyErr_Occurred() ? NULL : PyLong_FromVoidPtr(memory);
}

static PyObject *link_drop(PyObject *self, PyObject *handle)
{
    table_give(&((link_object *)self)->table, PyLong_AsUnsignedLongLong(handle));
    return Py_NewRef(Py_None);
}

/* begin(node, peer, handle, method, pickled): the Call of a handle that was reserved. */
static PyObject *link_begin(PyObject *self, PyObject *args)
{
    link_object *link = (link_object *)self;
    PyObject *node, *peer, *method;
    unsigned long long handle;
    int pickled;
    if (!PyArg_ParseTuple(args, "OOKOp", &node, &peer, &handle, &method, &pickled))
        return NULL;
    call_object *call = call_of(link, node, peer, method, handle);
    if (call != NULL)
        call->pickled = (char)pickled;
    return Py_XNewRef((PyObject *)call);
}

/* The calls that have not ended. */
static PyObject *link_open(PyObject *self, PyObject *unused)
{
    const link_table *t = &((link_object *)self)->table;
    PyObject *calls = PyList_New(0);
    (void)unused;
    for (uint32_t i = 0; calls != NULL && i < t->count; i++)
        if (t->places[i].call != NULL && PyList_Append(calls, (PyObject *)t->places[i].call) != 0)
            Py_CLEAR(calls);
    return calls;
}

/* No call is the core's any more: those that have not ended. */
static PyObject *link_take_all(PyObject *self, PyObject *unused)
{
    link_table *t = &((link_object *)self)->table;
    PyObject *calls = link_open(self, unused);
    for (uint32_t i = 0; calls != NULL && i < t->count; i++)
        if (t->places[i].call != NULL)
            Py_XDECREF((PyObject *)table_end(t, t->places[i].handle));
    return calls;
}

/* start(node, request, its id, function, args, kwargs, pickled, tasks): a coroutine function. */
static PyObject *link_start(PyObject *self, PyObject *args)
{
    link_object *link = (link_object *)self;
    service_job job = {.kwargs = NULL};
    unsigned long long id;
    PyObject *given;
    int pickled;
    if (!PyArg_ParseTuple(args, "OO!KOOOpO!", &job.node, link->request_class, &job.request, &id,
                          &job.function, &given, &job.kwargs, &pickled, &PyList_Type, &job.tasks))
        return NULL;
    if (job.kwargs == Py_None)
        job.kwargs = NULL;
    job.id = id;
    job.pickled = pickled != 0;
    job.args = PySequence_Tuple(given);
    bool ok = job.args != NULL && service_start(link, &job);
    Py_XDECREF(job.args);
    return ok ? Py_NewRef(Py_None) : NULL;
}

/* The core goes: nothing of it is touched any more. How many events were read and not told. */
static PyObject *link_close(PyObject *self, PyObject *unused)
{
    link_object *link = (link_object *)self;
    (void)unused;
    link->core = NULL;
    link->simple = false;
    spare_drop(&link->spare);
    Py_CLEAR(link->pool);
    return PyLong_FromUnsignedLong(link->taken);
}

/* ---- as an object ---- */

/* The fields that hold something of Python's, in the order in which `Link` gets them. */
static PyObject **link_part(link_object *link, unsigned index)
{
    PyObject **parts[] = {
        &link->methods,       &link->running,       &link->unsent,        &link->lent,
        &link->packs,         &link->copy_context,  &link->bound_request, &link->bind_request,
        &link->request_class, &link->loop,          &link->others,        &link->active_count,
        &link->call_soon,     &link->turn_options,  &link->loop_fields,   &link->task,
        &link->task_options,  &link->coroutine,     &link->enter_task,    &link->leave_task,
        &link->count_weak,    &link->spare_class,   &link->in_context,    &link->catch,
        &link->inline_run,    &link->first_run,     &link->step,          &link->step_context,
        &link->spare.task,    &link->spare.service, &link->turn,          &link->pool};
    return index < sizeof parts / sizeof parts[0] ? parts[index] : NULL;
}

enum { LINK_PARTS_BLOCKING = 9, LINK_PARTS_LOOP = 23 };

static PyMethodDef catch_method = {"call_soon", (PyCFunction)(void (*)(void))service_catch,
                                   METH_FASTCALL | METH_KEYWORDS, "Keeps a task's first step."};
static PyMethodDef inline_method = {"inline_run", (PyCFunction)(void (*)(void))inline_run,
                                    METH_FASTCALL, "Runs an inline function."};
static PyMethodDef first_method = {"first_run", first_run, METH_O, "Does a first step."};

/* Link(core, events, arena, timeout in us, limits, whether simple, parts); the limits are of bytes
 * in a head, of bytes in a message, of calls */
static PyObject *link_new(PyTypeObject *type, PyObject *args, PyObject *options)
{
    (void)options;
    unsigned long long core, events, arena, timeout_us, max_head, max_message;
    unsigned int limit;
    int simple;
    PyObject *parts;
    if (!PyArg_ParseTuple(args, "KKKK(KKI)pO!", &core, &events, &arena, &timeout_us, &max_head,
                          &max_message, &limit, &simple, &PyTuple_Type, &parts))
        return NULL;
    unsigned given = (unsigned)PyTuple_Size(parts);
    if (given != LINK_PARTS_BLOCKING && given != LINK_PARTS_LOOP) {
        PyErr_Format(PyExc_ValueError, "Link takes %d parts, with a loop %d", LINK_PARTS_BLOCKING,
                     LINK_PARTS_LOOP);
        return NULL;
    }
    link_object *link = (link_object *)PyType_GenericAlloc(type, 0);
    if (link == NULL)
        return NULL;
    link->core = (rudp_node *)(uintptr_t)core;
    link->events = (const rudp_event *)(uintptr_t)events;
    link->arena = (const uint8_t *)(uintptr_t)arena;
    link->timeout_us = timeout_us;
    link->max_head = max_head;
    link->max_message = max_message;
    link->simple = (char)simple;
    for (unsigned i = 0; i < given; i++)
        *link_part(link, i) = Py_NewRef(PyTuple_GetItem(parts, i));
    table_init(&link->table, limit);
    link->catch = PyCFunction_New(&catch_method, (PyObject *)link);
    link->inline_run = PyCFunction_New(&inline_method, (PyObject *)link);
    link->first_run = PyCFunction_New(&first_method, (PyObject *)link);
    link->turn = PyObject_GetAttrString((PyObject *)link, "turn");
    link->thread = PyThread_get_thread_ident();
    if (link->turn == NULL || link->catch == NULL || link->inline_run == NULL ||
        link->first_run == NULL)
        Py_CLEAR(link);
    return (PyObject *)link;
}

static int link_traverse(PyObject *self, visitproc visit, void *arg)
{
    link_object *link = (link_object *)self;
    PyObject **part;
    Py_VISIT(Py_TYPE(self));
    for (unsigned i = 0; (part = link_part(link, i)) != NULL; i++)
        Py_VISIT(*part);
    Py_VISIT(link->spare.call);
    for (uint32_t i = 0; i < link->table.count; i++)
        Py_VISIT(link->table.places[i].call);
    for (uint32_t i = link->woken_at; i < link->woken_count; i++)
        Py_VISIT(link->woken[i]);
    return 0;
}

static int link_clear(PyObject *self)
{
    link_object *link = (link_object *)self;
    PyObject **part;
    table_clear(&link->table);
    for (; link->woken_at < link->woken_count; link->woken_at++)
        Py_CLEAR(link->woken[link->woken_at]);
    for (unsigned i = 0; (part = link_part(link, i)) != NULL; i++)
        Py_CLEAR(*part);
    Py_CLEAR(link->spare.call);
    return 0;
}

static void link_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    link_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef link_methods[] = {
    {"call", (PyCFunction)(void (*)(void))link_call, METH_FASTCALL,
     "call(node, peer, peer_id, method, args, timeout): a Call, or None if it is not simple."},
    {"turn", link_turn, METH_O, "turn(node): packets in and out, events, the tasks they wake."},
    {"ready", link_ready, METH_O, "ready(weak reference to the node): a turn."},
    {"wake", link_wake_method, METH_O, "wake(node): a turn in this tick of the loop."},
    {"reserve", link_reserve, METH_NOARGS, "A handle; 0: at the limit."},
    {"drop", link_drop, METH_O, "The core did not take the call with this handle."},
    {"lend", link_lend_method, METH_O, "lend(body): the address of its rudp_memory; 0: no memory."},
    {"begin", link_begin, METH_VARARGS, "begin(node, peer, handle, method, pickled): its Call."},
    {"open", link_open, METH_NOARGS, "The calls that have not ended."},
    {"take_all", link_take_all, METH_NOARGS, "The same, and they are the core's no more."},
    {"start", link_start, METH_VARARGS,
     "start(node, request, id, function, args, kwargs, pickled, tasks): serve a coroutine "
     "function."},
    {"wait_call", (PyCFunction)(void (*)(void))link_wait_call, METH_FASTCALL,
     "wait_call(node, peer, peer_id, method, args, timeout): the result, or NotImplemented if the "
     "call is not simple, or not now."},
    {"wait_body", link_wait_body, METH_VARARGS,
     "wait_body(node, peer_id, method, body, timeout in us): how it ended as status, outcome "
     "and bytes; or the code with which it was refused, 0 at the limit of calls."},
    {"waiting", link_waiting, METH_NOARGS, "The handles of calls that threads wait for."},
    {"look", link_look, METH_VARARGS, "look(node, us): wait so long for events, and handle them."},
    {"close", link_close, METH_NOARGS,
     "Let go of the core; how many events were read since the last turn."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef link_members[] = {
    {"simple", T_BOOL, offsetof(link_object, simple), 0, NULL},
    {"due", T_BOOL, offsetof(link_object, due), READONLY, NULL},
    {"pool", T_OBJECT, offsetof(link_object, pool), 0, NULL},
    {"sealed", T_BOOL, offsetof(link_object, sealed), 0, NULL},
    {"deferred", T_BOOL, offsetof(link_object, deferred), 0, NULL},
    {"places", T_UINT, offsetof(link_object, table.count), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot link_slots[] = {
    {Py_tp_doc, "The hot path between one event loop, or threads, and the core of a node."},
    {Py_tp_new, link_new},
    {Py_tp_dealloc, link_dealloc},
    {Py_tp_traverse, link_traverse},
    {Py_tp_clear, link_clear},
    {Py_tp_methods, link_methods},
    {Py_tp_members, link_members},
    {0, NULL},
};

static PyType_Spec link_spec = {
    .name = "rudp._link.Link",
    .basicsize = sizeof(link_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = link_slots,
};

bool link_type_add(PyObject *module)
{
    link_type = (PyTypeObject *)PyType_FromSpec(&link_spec);
    return link_type != NULL && PyModule_AddObjectRef(module, "Link", (PyObject *)link_type) == 0;
}
