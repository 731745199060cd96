/* requests.c - an inline method with simple arguments, from the request to the reply. */
#include "python/link.h"
#include "python/scalars.h"
#include "wire/status.h"

/* The (function, name) of an inline method; borrowed. */
static PyObject *method_find(const link_object *link, const rudp_event *e)
{
    const char *name = (const char *)link->arena + e->offset;
    PyObject *key = PyBytes_FromStringAndSize(name, e->method_size);
    PyObject *found = key == NULL ? NULL : PyDict_GetItemWithError(link->inline_methods, key);
    Py_XDECREF(key);
    if (found == NULL)
        PyErr_Clear();
    return found;
}

static PyObject *arguments_of(const link_object *link, const rudp_event *e)
{
    const uint8_t *body = link->arena + e->offset + e->method_size + e->extension_size;
    PyObject *args = arguments_read(body, e->size);
    if (args == NULL)
        PyErr_Clear();
    return args;
}

/* In a context of its own, so that nothing a handler sets is seen by the next one. */
static PyObject *method_run(const link_object *link, PyObject *node, const rudp_event *e,
                            PyObject *method, PyObject *args)
{
    static PyObject *run;
    if (run == NULL && (run = PyUnicode_InternFromString("run")) == NULL)
        return NULL;
    PyObject *function = PyTuple_GetItem(method, 0), *name = PyTuple_GetItem(method, 1);
    PyObject *about = Py_BuildValue("(KOKOI)", e->id, name, e->made + e->deadline, node, e->peer);
    PyObject *context = about == NULL ? NULL : PyObject_CallNoArgs(link->copy_context);
    PyObject *result = NULL;
    if (context != NULL)
        result = PyObject_CallMethodObjArgs(context, run, link->call_with_request, about, function,
                                            args, Py_None, NULL);
    Py_XDECREF(context);
    Py_XDECREF(about);
    return result;
}

static int reply_simple(link_object *link, PyObject *node, uint64_t id, PyObject *result)
{
    uint8_t body[RUDP_PACKET_REPLY];
    size_t size = scalar_write(result, body, sizeof body);
    link->dirty = true;
    if (size > 0 && rudp_reply(link->core, id, STATUS_OK, (const char *)body, size) != RUDP_FULL)
        return 1;
    PyObject *done = PyObject_CallMethod(node, "_inline_result", "(KO)", id, result);
    Py_XDECREF(done);
    return done != NULL ? 1 : -1;
}

/* The exception becomes the caller's; one that is meant to end the program goes on here as well. */
static int reply_error(link_object *link, PyObject *node, uint64_t id)
{
    PyObject *type, *error, *traceback;
    link->dirty = true;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    PyObject *done = PyObject_CallMethod(node, "_inline_failed", "(KO)", id, error);
    int result = done != NULL ? 1 : -1;
    Py_XDECREF(done);
    if (done != NULL && !PyErr_GivenExceptionMatches(error, PyExc_Exception)) {
        PyErr_Restore(type, error, traceback);
        return -1;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return result;
}

int link_serve(link_object *link, PyObject *node, const rudp_event *e)
{
    if (!link->simple || e->memory != 0 || e->made + e->deadline < link->now_us)
        return 0;
    PyObject *method = method_find(link, e);
    PyObject *args = method == NULL ? NULL : arguments_of(link, e);
    if (args == NULL)
        return 0;
    Py_INCREF(method);
    PyObject *result = method_run(link, node, e, method, args);
    Py_DECREF(method);
    Py_DECREF(args);
    int served =
        result == NULL ? reply_error(link, node, e->id) : reply_simple(link, node, e->id, result);
    Py_XDECREF(result);
    return served;
}
