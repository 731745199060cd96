/* service.c - a coroutine around a method's coroutine, that ends with a reply. */
#include "python/service.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>

#include "wire/status.h"

static PyTypeObject *service_type;

/* ---- the end ---- */

/* Nothing of the request is open any more. True if all went well. */
static bool service_close_request(service_object *s)
{
    s->finished = true;
    s->request->open = false;
    if (!s->entered)
        return true; /* still in the round that read it, which flushes */
    PyObject *done = PyObject_CallMethod(s->node, "_served", "(K)", s->id);
    Py_XDECREF(done);
    return done != NULL;
}

/* Not ok: an exception is set, and goes on. */
static PySendResult service_ended(service_object *s, bool ok, PyObject **result)
{
    if (ok) {
        ok = service_close_request(s);
    } else {
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        if (!service_close_request(s))
            PyErr_WriteUnraisable(s->function);
        PyErr_Restore(type, error, traceback);
    }
    *result = ok ? Py_NewRef(Py_None) : NULL;
    return ok ? PYGEN_RETURN : PYGEN_ERROR;
}

static PySendResult service_returned(service_object *s, PyObject *value, PyObject **result)
{
    bool ok = link_reply(s->link, s->node, s->id, value, s->pickled) >= 0;
    Py_DECREF(value);
    return service_ended(s, ok, result);
}

/* An exception is set. What is meant to end the program does so, after the reply. */
static PySendResult service_raised(service_object *s, PyObject **result)
{
    return service_ended(s, link_reply_error(s->link, s->node, s->id) >= 0, result);
}

/* ---- the steps ---- */

/* What `await` makes of it; takes over the reference. An old generator has no __await__. */
static PyObject *steps_of(const service_object *s, PyObject *made)
{
    if ((PyObject *)Py_TYPE(made) == s->link->coroutine)
        return made;
    PyObject *steps = PyObject_CallMethod(made, "__await__", NULL);
    if (steps == NULL && PyIter_Check(made) && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return made;
    }
    Py_DECREF(made);
    return steps;
}

static bool service_begin(service_object *s)
{
    PyObject *bound =
        PyObject_CallFunctionObjArgs(s->link->bind_request, (PyObject *)s->request, NULL);
    Py_XDECREF(bound);
    PyObject *made = bound == NULL ? NULL : PyObject_Call(s->function, s->args, s->kwargs);
    s->inner = made == NULL ? NULL : steps_of(s, made);
    return s->inner != NULL;
}

static bool service_goes_on(const service_object *s)
{
    if (s->finished)
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return !s->finished;
}

/* What a step by hand, or being idle, has left to tell the task. */
static PySendResult service_tell(service_object *s, PyObject **result)
{
    *result = s->waits;
    s->waits = NULL;
    if (*result != NULL)
        return PYGEN_NEXT;
    s->untold = false;
    PyObject *error = s->error;
    s->error = NULL;
    if (error == NULL) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
    return PYGEN_ERROR;
}

static PySendResult service_step(service_object *s, PyObject *sent, PyObject **result)
{
    if (s->inner == NULL && !service_begin(s))
        return service_raised(s, result);
    switch (PyIter_Send(s->inner, sent, result)) {
    case PYGEN_RETURN: return service_returned(s, *result, result);
    case PYGEN_ERROR: return service_raised(s, result);
    default: return PYGEN_NEXT;
    }
}

static PySendResult service_send(PyObject *self, PyObject *sent, PyObject **result)
{
    service_object *s = (service_object *)self;
    if (s->waits != NULL || s->untold)
        return service_tell(s, result);
    if (service_goes_on(s))
        return service_step(s, sent, result);
    *result = NULL;
    return PYGEN_ERROR;
}

bool service_step_by_hand(service_object *s)
{
    PyObject *result;
    switch (service_step(s, Py_None, &result)) {
    case PYGEN_NEXT: s->waits = result; return true;
    case PYGEN_RETURN: Py_DECREF(result); return true;
    default: return false;
    }
}

/* What a coroutine's methods say: a value that comes out, or StopIteration. */
static PyObject *said(PySendResult how, PyObject *result)
{
    if (how != PYGEN_RETURN)
        return result;
    Py_XDECREF(result);
    PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *service_send_method(PyObject *self, PyObject *sent)
{
    PyObject *result;
    PySendResult how = service_send(self, sent, &result);
    return said(how, result);
}

static PyObject *service_next(PyObject *self)
{
    return service_send_method(self, Py_None);
}

/* The value in the StopIteration that is set. */
static PyObject *stop_value(void)
{
    PyObject *type, *stop, *traceback;
    PyErr_Fetch(&type, &stop, &traceback);
    PyErr_NormalizeException(&type, &stop, &traceback);
    PyObject *value = stop == NULL ? NULL : PyObject_GetAttrString(stop, "value");
    Py_XDECREF(type);
    Py_XDECREF(stop);
    Py_XDECREF(traceback);
    return value;
}

/* throw(error), or as of old throw(type, error, traceback). */
static void raise_given(PyObject *type, PyObject *error)
{
    if (PyExceptionInstance_Check(type))
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    else
        PyErr_SetObject(type, error);
}

/* The task was cancelled in a step by hand, so what that waits for would have been, too. */
static void service_forgo(service_object *s)
{
    PyObject *done = PyObject_CallMethod(s->waits, "cancel", NULL);
    if (done == NULL) /* not everything that can be waited for can be cancelled */
        PyErr_Clear();
    Py_XDECREF(done);
    Py_CLEAR(s->waits);
}

static PyObject *service_throw(PyObject *self, PyObject *args)
{
    service_object *s = (service_object *)self;
    PyObject *type, *error = NULL, *traceback = NULL, *result = NULL;
    if (!PyArg_ParseTuple(args, "O|OO", &type, &error, &traceback))
        return NULL;
    if (s->idle || s->untold) { /* no method is left to throw it into */
        s->finished = true;
        s->untold = s->idle = false;
        raise_given(type, error);
        return NULL;
    }
    if (!service_goes_on(s))
        return NULL;
    if (s->waits != NULL)
        service_forgo(s);
    if (s->inner != NULL) {
        PyObject *throw = PyObject_GetAttrString(s->inner, "throw");
        PyObject *out = throw == NULL ? NULL : PyObject_Call(throw, args, NULL);
        Py_XDECREF(throw);
        if (out != NULL)
            return out;
    } else {
        raise_given(type, error);
    }
    PyObject *value = PyErr_ExceptionMatches(PyExc_StopIteration) ? stop_value() : NULL;
    PySendResult how =
        value != NULL ? service_returned(s, value, &result) : service_raised(s, &result);
    return said(how, result);
}

static PyObject *service_close(PyObject *self, PyObject *unused)
{
    service_object *s = (service_object *)self;
    (void)unused;
    PyObject *closed = s->inner == NULL || s->finished
                           ? Py_NewRef(Py_None)
                           : PyObject_CallMethod(s->inner, "close", NULL);
    s->finished = true;
    return closed;
}

/* ---- as an object ---- */

void service_fill(service_object *s, const service_job *job)
{
    s->node = Py_NewRef(job->node);
    s->request = (request_object *)Py_NewRef((PyObject *)job->request);
    s->function = Py_NewRef(job->function);
    s->args = Py_NewRef(job->args);
    s->kwargs = Py_XNewRef(job->kwargs);
    s->id = job->id;
    s->pickled = (char)job->pickled;
    s->entered = s->finished = s->untold = s->idle = s->looked = false;
}

void service_empty(service_object *s)
{
    s->idle = true;
    Py_CLEAR(s->inner);
    Py_CLEAR(s->waits);
    Py_CLEAR(s->context);
    Py_CLEAR(s->error);
    Py_CLEAR(s->node);
    Py_CLEAR(s->request);
    Py_CLEAR(s->function);
    Py_CLEAR(s->args);
    Py_CLEAR(s->kwargs);
}

service_object *service_new(link_object *link, const service_job *job)
{
    service_object *s = PyObject_GC_New(service_object, service_type);
    if (s == NULL)
        return NULL;
    memset((char *)s + sizeof(PyObject), 0, sizeof *s - sizeof(PyObject));
    s->link = (link_object *)Py_NewRef((PyObject *)link);
    s->idle = true;
    if (job != NULL)
        service_fill(s, job);
    PyObject_GC_Track(s);
    return s;
}

/* cr_frame and the like, of the method's own coroutine: for those who ask where a task stands. */
static PyObject *service_inner(PyObject *self, void *name)
{
    PyObject *inner = ((service_object *)self)->inner;
    return PyObject_GetAttrString(inner != NULL ? inner : Py_None, name);
}

static int service_traverse(PyObject *self, visitproc visit, void *arg)
{
    service_object *s = (service_object *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(s->link);
    Py_VISIT(s->node);
    Py_VISIT(s->request);
    Py_VISIT(s->function);
    Py_VISIT(s->args);
    Py_VISIT(s->kwargs);
    Py_VISIT(s->inner);
    Py_VISIT(s->waits);
    Py_VISIT(s->context);
    Py_VISIT(s->error);
    return 0;
}

static int service_clear(PyObject *self)
{
    service_empty((service_object *)self);
    Py_CLEAR(((service_object *)self)->link);
    return 0;
}

static void service_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    service_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef service_methods[] = {
    {"send", service_send_method, METH_O, "As of any coroutine."},
    {"throw", service_throw, METH_VARARGS, "As of any coroutine."},
    {"close", service_close, METH_NOARGS, "As of any coroutine."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef service_members[] = {
    {"request", T_OBJECT_EX, offsetof(service_object, request), READONLY, NULL},
    {"context", T_OBJECT_EX, offsetof(service_object, context), READONLY, NULL},
    {"idle", T_BOOL, offsetof(service_object, idle), READONLY, NULL},
    {"looked", T_BOOL, offsetof(service_object, looked), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef service_getters[] = {
    {"cr_frame", service_inner, NULL, NULL, "cr_frame"},
    {"cr_code", service_inner, NULL, NULL, "cr_code"},
    {"cr_running", service_inner, NULL, NULL, "cr_running"},
    {"cr_await", service_inner, NULL, NULL, "cr_await"},
    {"__name__", service_inner, NULL, NULL, "__name__"},
    {"__qualname__", service_inner, NULL, NULL, "__qualname__"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot service_slots[] = {
    {Py_tp_doc, "A request being served: the coroutine of its task."},
    {Py_tp_dealloc, service_dealloc},
    {Py_tp_traverse, service_traverse},
    {Py_tp_clear, service_clear},
    {Py_tp_methods, service_methods},
    {Py_tp_members, service_members},
    {Py_tp_getset, service_getters},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, service_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, service_send},
    {0, NULL},
};

static PyType_Spec service_spec = {
    .name = "rudp._link.Service",
    .basicsize = sizeof(service_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = service_slots,
};

bool service_type_add(PyObject *module)
{
    service_type = (PyTypeObject *)PyType_FromSpec(&service_spec);
    return service_type != NULL &&
           PyModule_AddObjectRef(module, "Service", (PyObject *)service_type) == 0;
}
