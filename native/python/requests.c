/* requests.c - a method with simple arguments, from the request to the reply. */
#include "io/clock.h"
#include "python/service.h"
#include "wire/status.h"

/* The (function, name, coroutine) of a method; a new reference. */
static PyObject *method_find(const link_object *link, const rudp_event *e)
{
    const char *name = (const char *)link->arena + e->offset;
    PyObject *key = PyBytes_FromStringAndSize(name, e->method_size);
    PyObject *found = key == NULL ? NULL : PyDict_GetItemWithError(link->methods, key);
    Py_XDECREF(key);
    if (found == NULL)
        PyErr_Clear();
    return Py_XNewRef(found);
}

/* inline_run(request, function, args) */
PyObject *inline_run(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    const link_object *link = (const link_object *)self;
    (void)count;
    PyObject *bound = PyObject_CallFunctionObjArgs(link->bind_request, args[0], NULL);
    Py_XDECREF(bound);
    return bound == NULL ? NULL : PyObject_Call(args[1], args[2], NULL);
}

/* In a context of its own, so that nothing a handler sets is seen by the next one. */
static PyObject *method_run(const link_object *link, request_object *request, PyObject *function,
                            PyObject *args)
{
    static PyObject *run;
    if (run == NULL && (run = PyUnicode_InternFromString("run")) == NULL)
        return NULL;
    PyObject *context = PyObject_CallNoArgs(link->copy_context);
    PyObject *result = NULL;
    if (context != NULL)
        result = PyObject_CallMethodObjArgs(context, run, link->inline_run, (PyObject *)request,
                                            function, args, NULL);
    Py_XDECREF(context);
    return result;
}

static bool reply_submit(link_object *link, uint64_t id, draft *d)
{
    if (d->count == 0 && d->size <= RUDP_PACKET_REPLY)
        return rudp_reply(link->core, id, STATUS_OK, (const char *)d->head, d->size) != RUDP_FULL;
    rudp_memory *memory = link_lend(link, d);
    return memory != NULL && rudp_reply_memory(link->core, id, STATUS_OK, memory) != RUDP_FULL;
}

int link_reply(link_object *link, PyObject *node, uint64_t id, PyObject *value, bool pickled)
{
    draft d;
    if (link->core == NULL)
        return 1; /* closed: nobody is to be told any more */
    if (!pickled && draft_value(&d, link->packs, value)) {
        bool taken = link->core == NULL || reply_submit(link, id, &d); /* a finalizer closed it */
        draft_drop(&d);
        if (taken)
            return 1;
    }
    PyObject *done =
        PyObject_CallMethod(node, "_answer", "(KOO)", id, value, pickled ? Py_True : Py_False);
    Py_XDECREF(done);
    return done != NULL ? 1 : -1;
}

int link_reply_error(link_object *link, PyObject *node, uint64_t id)
{
    PyObject *type, *error, *traceback, *done = NULL;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    if (link->core != NULL)
        done = PyObject_CallMethod(node, "_answer_error", "(KO)", id, error);
    else /* closed: nobody is to be told any more, but the program */
        done = PyBool_FromLong(PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt) ||
                               PyErr_GivenExceptionMatches(error, PyExc_SystemExit));
    bool goes_on = done == Py_True; /* it is meant to end the program */
    if (goes_on) {
        PyErr_Restore(type, error, traceback);
    } else {
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
    }
    Py_XDECREF(done);
    return done == NULL || goes_on ? -1 : 1;
}

static int serve_inline(link_object *link, PyObject *node, request_object *request,
                        PyObject *function, PyObject *args)
{
    PyObject *result = method_run(link, request, function, args);
    request->open = false; /* what it started and left behind is not bound by its deadline */
    if (result == NULL)
        return link_reply_error(link, node, request->id);
    int served = link_reply(link, node, request->id, result, false);
    Py_DECREF(result);
    return served;
}

/* method: (function, name, whether it is a coroutine function, [tasks]) */
static int serve(link_object *link, PyObject *node, const rudp_event *e, PyObject *method,
                 PyObject *args)
{
    PyObject *function = PyTuple_GetItem(method, 0), *name = PyTuple_GetItem(method, 1);
    request_object *request = request_new(link->request_class, name, node);
    if (request == NULL)
        return -1;
    request->id = e->id;
    request->expires = e->made + e->deadline;
    request->peer = e->peer;
    service_job job = {.node = node,
                       .request = request,
                       .function = function,
                       .args = args,
                       .tasks = PyTuple_GetItem(method, 3),
                       .id = e->id};
    int served;
    if (PyTuple_GetItem(method, 2) == Py_True)
        served = service_start(link, &job) ? 1 : -1;
    else
        served = serve_inline(link, node, request, function, args);
    Py_DECREF(request);
    return served;
}

int link_serve(link_object *link, PyObject *node, const rudp_event *e)
{
    /* The clock is read for each: those before it may have taken long (C8). */
    if (!link->simple || e->made + e->deadline < clock_now() / NS_PER_US)
        return 0;
    PyObject *method = method_find(link, e), *args = NULL;
    received_message m = link_message(link, e);
    if (method != NULL)
        args = received_arguments(&m);
    int served = 0;
    if (args != NULL)
        served = serve(link, node, e, method, args);
    Py_XDECREF(method);
    Py_XDECREF(args);
    return served;
}
