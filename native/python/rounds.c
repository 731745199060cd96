/* rounds.c - "what does a loop do with a node in one go?"
 *
 *   turn       flush, take in (rudp_turn)
 *   look       nothing came: once more, for a moment, if something may be expected (Rule 15)
 *   read       up to LINK_BATCH events
 *   resume     step the tasks whose calls have ended: they submit the next ones
 *
 * and again, as long as there is something to do and a bounded number of times (Rule 12). The loop
 * has others to serve: where it has something else to do at once, nobody lingers and nothing but
 * what was submitted is a reason for another round. */
#define _GNU_SOURCE
#include "api/node.h"
#include "io/clock.h"
#include "python/link.h"

enum {
    ROUNDS = 24,  /* turns in a row while tasks and handlers keep submitting ... */
    LINGER = 100, /* us to look for an answer before the loop sleeps (Rule 15) */
    /* Where another thread computes, a pass through the loop costs a switch interval, 5 ms. */
    ROUNDS_CROWDED = 64,
    LINGER_CROWDED = 1000, /* us */
};

/* ... and none begins so long after the first: the loop's timers and sockets wait for the last. */
#define ROUNDS_TIME         NS_PER_MS
#define ROUNDS_TIME_CROWDED (5 * NS_PER_MS)

#define AWAY        (2 * NS_PER_MS) /* who comes back later may have waited for the GIL (Rule 1) */
#define CROWDED_FOR (100 * NS_PER_MS)

static bool resume_later(const link_object *link, call_object *call)
{
    PyObject *resume = PyObject_GetAttrString((PyObject *)call, "resume");
    PyObject *done =
        resume == NULL ? NULL : PyObject_CallMethod(link->loop, "call_soon", "(O)", resume);
    Py_XDECREF(resume);
    Py_XDECREF(done);
    return done != NULL;
}

/* One that raises keeps none of the others: they are resumed in the next round. */
static bool link_resume(link_object *link)
{
    bool ok = true;
    while (ok && link->woken_at < link->woken_count) {
        call_object *call = link->woken[link->woken_at++];
        ok = link->deferred ? resume_later(link, call) : call_resume(call);
        Py_DECREF(call);
    }
    if (link->woken_at == link->woken_count)
        link->woken_at = link->woken_count = 0;
    return ok;
}

static bool link_submitted(const link_object *link)
{
    return link->core != NULL && atomic_load_explicit(&link->core->submitted, memory_order_relaxed);
}

bool link_is_free(const link_object *link)
{
    return PyObject_Size(link->others) == 0;
}

typedef struct {
    PyObject *owner; /* the node */
    uint32_t queued, rounds;
    uint64_t most;     /* ns */
    uint32_t patience; /* us */
} plan;

/* How many events were ready; negative: why the core has stopped. False: an exception. */
static bool round_run(link_object *link, const plan *p, bool expecting, int *ready)
{
    uint32_t taken = link->taken;
    link->taken = 0;
    *ready = rudp_turn(link->core, taken, p->queued);
    expecting |= atomic_exchange_explicit(&link->core->coming, false, memory_order_relaxed);
    expecting |= node_asked(link->core) && way_is_taken(link->core);
    if (*ready == 0 && expecting && link_is_free(link) && PyDict_Size(link->running) == 0)
        *ready = rudp_linger(link->core, p->patience);
    if (*ready <= 0)
        return true;
    uint32_t most = *ready < LINK_BATCH ? (uint32_t)*ready : LINK_BATCH;
    return link_read(link, p->owner, most) && link_resume(link);
}

static bool rounds_run(link_object *link, const plan *p, int *ready)
{
    bool worked = link_submitted(link);
    uint64_t end = clock_now() + p->most;
    for (uint32_t i = 0; i < p->rounds; i++) {
        if (link->core == NULL) /* closed by what we called */
            return true;
        if (!round_run(link, p, worked, ready))
            return false;
        if (*ready <= 0 || (!link_submitted(link) && !link_is_free(link)) || clock_now() > end)
            return true;
        worked = true;
    }
    return true;
}

/* Rule 1: what another thread may compute for before we get the GIL back is 5 ms. */
static bool link_is_crowded(link_object *link, bool *crowded)
{
    uint64_t now = clock_now();
    if (now - link->left > AWAY) {
        PyObject *threads = PyObject_CallNoArgs(link->active_count);
        if (threads == NULL)
            return false;
        if (PyLong_AsLong(threads) > 1)
            link->crowded = now + CROWDED_FOR;
        Py_DECREF(threads);
    }
    *crowded = now < link->crowded;
    return true;
}

bool link_queued(const link_object *link, uint32_t *queued)
{
    *queued = 0;
    if (link->pool == NULL)
        return true;
    PyObject *waiting = PyObject_CallMethod(link->pool, "waiting", NULL);
    if (waiting == NULL)
        return false;
    *queued = (uint32_t)PyLong_AsUnsignedLong(waiting);
    Py_DECREF(waiting);
    return true;
}

bool link_tell(const link_object *link, PyObject *owner, int ready)
{
    PyObject *done;
    if (ready < 0)
        done = PyObject_CallMethod(owner, "_broken", "(i)", ready);
    else if (PyObject_Size(link->unsent) > 0)
        done = PyObject_CallMethod(owner, "_send_again", NULL);
    else
        return true;
    Py_XDECREF(done);
    return done != NULL;
}

static bool turn_run(link_object *link, PyObject *owner)
{
    bool crowded;
    plan p = {.owner = owner};
    if (!link_is_crowded(link, &crowded) || !link_queued(link, &p.queued))
        return false;
    p.most = crowded ? ROUNDS_TIME_CROWDED : ROUNDS_TIME;
    p.rounds = crowded ? ROUNDS_CROWDED : ROUNDS;
    p.patience = crowded ? LINGER_CROWDED : LINGER;
    int ready = RUDP_CLOSED;
    if (!link_resume(link) || !rounds_run(link, &p, &ready))
        return false;
    return link->core == NULL || link_tell(link, owner, ready);
}

/* What was read is given back after the tasks it woke have submitted: that is a flush as well. */
static bool link_unfinished(const link_object *link)
{
    return link->taken > 0 || link->woken_count > 0 || link_submitted(link);
}

/* Also after an exception, which goes on. */
static bool turn_end(link_object *link, PyObject *owner)
{
    link->due = false;
    link->left = clock_now();
    if (link->core == NULL)
        return true;
    if (!link_unfinished(link)) {
        way_free(link->core);
        return true;
    }
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    bool ok = link_wake(link, owner);
    if (type != NULL) {
        PyErr_Clear();
        PyErr_Restore(type, error, traceback);
    }
    return ok;
}

void link_send(const link_object *link)
{
    node_turn(link->core, TURN_OUT, true);
}

PyObject *link_turn(PyObject *self, PyObject *owner)
{
    link_object *link = (link_object *)self;
    link->due = link->core != NULL; /* whatever is submitted meanwhile leaves with the next round */
    if (!link->due)
        return Py_NewRef(Py_None);
    bool ok = turn_run(link, owner);
    ok &= turn_end(link, owner);
    return ok ? Py_NewRef(Py_None) : NULL;
}

PyObject *link_ready(PyObject *self, PyObject *reference)
{
    PyObject *owner = PyWeakref_GetObject(reference);
    if (owner == NULL || owner == Py_None)
        return owner == NULL ? NULL : Py_NewRef(Py_None);
    Py_INCREF(owner);
    PyObject *done = link_turn(self, owner);
    Py_DECREF(owner);
    return done;
}

bool link_wake(link_object *link, PyObject *owner)
{
    if (link->due || link->core == NULL)
        return true;
    PyObject *given = PyTuple_Pack(2, link->turn, owner);
    PyObject *done =
        given == NULL ? NULL : PyObject_Call(link->call_soon, given, link->turn_options);
    Py_XDECREF(given);
    Py_XDECREF(done);
    link->due = done != NULL;
    return done != NULL;
}

PyObject *link_wake_method(PyObject *self, PyObject *owner)
{
    return link_wake((link_object *)self, owner) ? Py_NewRef(Py_None) : NULL;
}
