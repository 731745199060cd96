/* reading.c - from an event to whoever it concerns. */
#include "python/link.h"

#include "python/lent.h"
#include "wire/status.h"

/* The fields in their order, as rudp/_dispatch.py takes them apart. */
static PyObject *event_tuple(const rudp_event *e)
{
    return Py_BuildValue("(BBBBBBHIIKKKKKK)", e->kind, e->status, e->outcome, e->state, e->flags,
                         e->method_size, e->extension_size, e->peer, e->unused, e->id, e->deadline,
                         e->offset, e->size, e->memory, e->made);
}

/* node.<name>(first, event), or without the first. */
static bool tell_node(PyObject *node, const char *name, PyObject *first, const rudp_event *e)
{
    PyObject *event = event_tuple(e);
    if (event == NULL)
        return false;
    PyObject *done = first == NULL ? PyObject_CallMethod(node, name, "(O)", event)
                                   : PyObject_CallMethod(node, name, "(OO)", first, event);
    Py_DECREF(event);
    Py_XDECREF(done);
    return done != NULL;
}

received_message link_message(const link_object *link, const rudp_event *e)
{
    void *memory = (void *)(uintptr_t)e->memory;
    const uint8_t *at = memory;
    if (memory == NULL)
        at = link->arena + e->offset + e->method_size + e->extension_size;
    return (received_message){at, e->size, memory, link->max_head};
}

PyObject *link_result(const link_object *link, const rudp_event *e)
{
    if (e->status != STATUS_OK)
        return NULL;
    received_message m = link_message(link, e);
    return received_value(&m);
}

/* Python could not say how it ended: it ends with the exception that is set, and that stays. */
static void call_fail(call_object *call)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (call->state == CALL_PENDING)
        call_settle(call, CALL_FAILED, Py_NewRef(error));
    PyErr_Restore(type, error, traceback);
}

static bool call_finished(link_object *link, PyObject *node, const rudp_event *e)
{
    call_object *call = table_end(&link->table, e->id);
    if (call == NULL || call->state != CALL_PENDING) { /* cancelled here */
        if (e->memory != 0)
            rudp_release((void *)(uintptr_t)e->memory);
        Py_XDECREF((PyObject *)call);
        return true;
    }
    PyObject *value = link_result(link, e);
    bool ok = true;
    if (value != NULL)
        call_settle(call, CALL_VALUE, value);
    else
        ok = tell_node(node, "_finished", (PyObject *)call, e);
    if (!ok)
        call_fail(call);
    link->woken[link->woken_count++] = call;
    return ok;
}

static bool event_handle(link_object *link, PyObject *node, const rudp_event *e)
{
    if (e->kind == RUDP_DONE)
        return call_finished(link, node, e);
    if (e->kind == RUDP_RELEASED) {
        lent_remove(link->lent, e->id);
        return true;
    }
    if (e->kind != RUDP_REQUEST)
        return tell_node(node, "_other", NULL, e);
    int served = link_serve(link, node, e);
    return served == 0 ? tell_node(node, "_requested", NULL, e) : served > 0;
}

bool link_read(link_object *link, PyObject *node, uint32_t count)
{
    uint32_t batch = ++link->batches;
    for (uint32_t i = 0; i < count; i++) {
        /* A copy: what is called may close the node, and then the ring goes. */
        const rudp_event e = link->events[link->position];
        link->position = (link->position + 1) % RUDP_EVENTS;
        link->taken++;
        if (!event_handle(link, node, &e))
            return false;
        if (link->core == NULL || link->batches != batch)
            return true; /* a round inside of this one has read the rest */
    }
    return true;
}
