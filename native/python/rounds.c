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
#include "python/link.h"

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

static bool loop_has_others(const link_object *link)
{
    return PyObject_Size(link->others) != 0;
}

typedef struct {
    PyObject *node;
    uint32_t queued, rounds;
    uint32_t patience; /* us */
} plan;

/* How many events were ready; negative: why the core has stopped. False: an exception. */
static bool round_run(link_object *link, const plan *p, bool expecting, int *ready)
{
    uint32_t taken = link->taken;
    link->taken = 0;
    *ready = rudp_turn(link->core, taken, p->queued);
    if (*ready == 0 && expecting && !loop_has_others(link) && PyDict_Size(link->running) == 0)
        *ready = rudp_linger(link->core, p->patience);
    if (*ready <= 0)
        return true;
    uint32_t most = *ready < LINK_BATCH ? (uint32_t)*ready : LINK_BATCH;
    return link_read(link, p->node, most) && link_resume(link);
}

static bool rounds_run(link_object *link, const plan *p, int *ready)
{
    bool worked = link_submitted(link);
    for (uint32_t i = 0; i < p->rounds; i++) {
        if (link->core == NULL) /* closed by what we called */
            return true;
        if (!round_run(link, p, worked, ready))
            return false;
        if (*ready <= 0 || (!link_submitted(link) && loop_has_others(link)))
            return true;
        worked = true;
    }
    return true;
}

PyObject *link_turns(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    link_object *link = (link_object *)self;
    (void)count;
    plan p = {.node = args[0],
              .queued = (uint32_t)PyLong_AsUnsignedLong(args[1]),
              .rounds = (uint32_t)PyLong_AsUnsignedLong(args[2]),
              .patience = (uint32_t)PyLong_AsUnsignedLong(args[3])};
    int ready = RUDP_CLOSED;
    if (!link_resume(link) || !rounds_run(link, &p, &ready))
        return NULL;
    return PyLong_FromLong(ready);
}

/* What was read is given back after the tasks it woke have submitted: that is a flush as well. */
PyObject *link_unfinished(PyObject *self, PyObject *unused)
{
    const link_object *link = (const link_object *)self;
    (void)unused;
    bool more = link->taken > 0 || link->woken_count > 0 || link_submitted(link);
    if (!more && link->core != NULL)
        way_free(link->core);
    return PyBool_FromLong(more);
}
