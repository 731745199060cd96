/* call.c - the object that a caller awaits. Top to bottom: a coroutine, a future, an object. */
#include "python/call.h"

#include <stddef.h>
#include <structmember.h>

static PyTypeObject *call_type;

static void replace(PyObject **place, PyObject *value)
{
    PyObject *old = *place;
    *place = value;
    Py_XDECREF(old);
}

/* ---- as a coroutine ---- */

static PyObject *call_result(PyObject *self, PyObject *unused);

static PyObject *call_outcome(call_object *call)
{
    call->finished = true;
    if (call->state == CALL_GONE)
        return call_result((PyObject *)call, NULL);
    PyObject *data = call->data;
    call->data = NULL;
    if (call->state == CALL_VALUE)
        return data;
    PyObject *value = PyObject_CallMethod(call->node, "_ended", "OiO", call, (int)call->state,
                                          data ? data : Py_None);
    Py_XDECREF(data);
    return value;
}

static PySendResult call_send(PyObject *self, PyObject *sent, PyObject **result)
{
    call_object *call = (call_object *)self;
    (void)sent;
    bool waited_for = call->state == CALL_PENDING && call->callback != NULL;
    if (call->finished || waited_for) {
        PyErr_SetString(PyExc_RuntimeError, waited_for ? "coroutine is being awaited already"
                                                       : "cannot reuse already awaited coroutine");
        *result = NULL;
        return PYGEN_ERROR;
    }
    call->started = true;
    if (call->state == CALL_PENDING) {
        call->blocking = true;
        *result = Py_NewRef(self);
        return PYGEN_NEXT;
    }
    *result = call_outcome(call);
    return *result != NULL ? PYGEN_RETURN : PYGEN_ERROR;
}

static PyObject *call_step(PyObject *self)
{
    PyObject *result;
    if (call_send(self, Py_None, &result) != PYGEN_RETURN)
        return result;
    /* Wrapped, since a result that is a tuple or an exception would be taken for arguments. */
    PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, result, NULL);
    Py_DECREF(result);
    if (stop != NULL)
        PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
    return NULL;
}

static PyObject *call_send_method(PyObject *self, PyObject *sent)
{
    (void)sent;
    return call_step(self);
}

/* The caller lost interest; the entry in the table lives until the core says DONE. */
static bool call_abandon(call_object *call)
{
    call->started = call->finished = true;
    if (call->state != CALL_PENDING && call->state != CALL_GONE)
        return true;
    call->state = CALL_GONE;
    PyObject *done = PyObject_CallMethod(call->node, "_abandon", "K", call->handle);
    Py_XDECREF(done);
    return done != NULL;
}

/* throw(error), or as of old throw(type, error, traceback). */
static PyObject *call_throw(PyObject *self, PyObject *args)
{
    PyObject *type, *error = NULL, *traceback = NULL;
    if (!PyArg_ParseTuple(args, "O|OO", &type, &error, &traceback) ||
        !call_abandon((call_object *)self))
        return NULL;
    if (PyExceptionInstance_Check(type))
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    else if (error != NULL && PyExceptionInstance_Check(error))
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    else
        PyErr_SetObject(type, error);
    return NULL;
}

static PyObject *call_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    call_object *call = (call_object *)self;
    /* Closed before it began, it goes on without a caller, as a coroutine's first half would. */
    bool ok = !call->started || call->finished || call_abandon(call);
    call->started = call->finished = true;
    return ok ? Py_NewRef(Py_None) : NULL;
}

/* ---- as a future: what a task asks of one that is not asyncio's own ---- */

/* A task asks each object that comes out of a coroutine for this attribute. `gather` and others ask
 * the class of what they are given, and would take a coroutine for a future: so only the object has
 * it. */
static PyObject *blocking_name;

static bool is_blocking(PyObject *name)
{
    return name == blocking_name;
}

static PyObject *call_getattro(PyObject *self, PyObject *name)
{
    if (is_blocking(name))
        return PyBool_FromLong(((call_object *)self)->blocking);
    return PyObject_GenericGetAttr(self, name);
}

static int call_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    if (!is_blocking(name))
        return PyObject_GenericSetAttr(self, name, value);
    ((call_object *)self)->blocking = value == Py_True;
    return 0;
}

static PyObject *call_get_loop(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(((call_object *)self)->loop);
}

/* add_done_callback(callback, *, context) */
static PyObject *call_add_done_callback(PyObject *self, PyObject *const *args, Py_ssize_t count,
                                        PyObject *names)
{
    if (count != 1 || names == NULL || PyTuple_Size(names) != 1) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback(callback, *, context)");
        return NULL;
    }
    replace(&((call_object *)self)->callback, Py_NewRef(args[0]));
    replace(&((call_object *)self)->context, Py_NewRef(args[1]));
    return Py_NewRef(Py_None);
}

/* The wake-up asks this only to learn whether it raises. */
static PyObject *call_result(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (((call_object *)self)->state != CALL_GONE)
        return Py_NewRef(Py_None);
    PyObject *module = PyImport_ImportModule("asyncio");
    PyObject *error = module == NULL ? NULL : PyObject_GetAttrString(module, "CancelledError");
    if (error != NULL)
        PyErr_SetNone(error);
    Py_XDECREF(error);
    Py_XDECREF(module);
    return NULL;
}

/* task.cancel() asks: False if the result is there, and only not taken yet. */
static PyObject *call_cancel(PyObject *self, PyObject *args, PyObject *options)
{
    (void)args;
    (void)options;
    call_object *call = (call_object *)self;
    if (call->state != CALL_PENDING || call->callback == NULL)
        return Py_NewRef(Py_False);
    call->state = CALL_GONE;
    PyObject *call_soon = PyObject_GetAttrString(call->loop, "call_soon");
    PyObject *given = Py_BuildValue("(OO)", call->callback, self);
    PyObject *named = Py_BuildValue("{sO}", "context", call->context);
    PyObject *asked = NULL;
    if (call_soon != NULL && given != NULL && named != NULL)
        asked = PyObject_Call(call_soon, given, named);
    Py_CLEAR(call->callback);
    Py_XDECREF(call_soon);
    Py_XDECREF(given);
    Py_XDECREF(named);
    if (asked == NULL)
        return NULL;
    Py_DECREF(asked);
    return Py_NewRef(Py_True);
}

bool call_resume(call_object *call)
{
    static PyObject *run;
    PyObject *callback = call->callback;
    if (callback == NULL)
        return true;
    if (run == NULL && (run = PyUnicode_InternFromString("run")) == NULL)
        return false;
    PyObject *context = call->context;
    call->callback = call->context = NULL; /* who runs in it may wait again */
    PyObject *done = PyObject_CallMethodObjArgs(context, run, callback, call, NULL);
    Py_DECREF(context);
    Py_DECREF(callback);
    Py_XDECREF(done);
    return done != NULL;
}

static PyObject *call_resume_method(PyObject *self, PyObject *unused)
{
    (void)unused;
    return call_resume((call_object *)self) ? Py_NewRef(Py_None) : NULL;
}

void call_settle(call_object *call, call_state state, PyObject *data)
{
    call->state = state;
    replace(&call->data, data);
}

void call_offer(call_object *call)
{
    call->state = CALL_VALUE;
    call->started = call->blocking = true;
}

static PyObject *call_settle_method(PyObject *self, PyObject *args)
{
    int state;
    PyObject *data;
    if (!PyArg_ParseTuple(args, "iO", &state, &data))
        return NULL;
    call_settle((call_object *)self, (call_state)state, Py_NewRef(data));
    return Py_NewRef(Py_None);
}

/* ---- as an object ---- */

call_object *call_new(PyObject *node, PyObject *loop, PyObject *peer, PyObject *method,
                      uint64_t handle)
{
    call_object *call = PyObject_GC_New(call_object, call_type);
    if (call == NULL)
        return NULL;
    call->node = Py_NewRef(node);
    call->loop = Py_NewRef(loop);
    call->peer = Py_NewRef(peer);
    call->method = Py_NewRef(method);
    call->data = call->callback = call->context = NULL;
    call->handle = handle;
    call->state = CALL_PENDING;
    call->pickled = call->started = call->finished = call->blocking = false;
    PyObject_GC_Track(call);
    return call;
}

static int call_traverse(PyObject *self, visitproc visit, void *arg)
{
    call_object *call = (call_object *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(call->node);
    Py_VISIT(call->peer);
    Py_VISIT(call->method);
    Py_VISIT(call->loop);
    Py_VISIT(call->data);
    Py_VISIT(call->callback);
    Py_VISIT(call->context);
    return 0;
}

static int call_clear(PyObject *self)
{
    call_object *call = (call_object *)self;
    Py_CLEAR(call->node);
    Py_CLEAR(call->peer);
    Py_CLEAR(call->method);
    Py_CLEAR(call->loop);
    Py_CLEAR(call->data);
    Py_CLEAR(call->callback);
    Py_CLEAR(call->context);
    return 0;
}

/* What Python says of any coroutine that nobody awaited. */
static void call_warn(void)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (PyErr_WarnEx(PyExc_RuntimeWarning, "coroutine 'Peer.call' was never awaited", 1) < 0)
        PyErr_WriteUnraisable((PyObject *)call_type);
    PyErr_Restore(type, error, traceback);
}

static void call_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (!((call_object *)self)->started)
        call_warn();
    call_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef call_methods[] = {
    {"send", call_send_method, METH_O, "As of any coroutine."},
    {"throw", call_throw, METH_VARARGS, "As of any coroutine: the call is cancelled."},
    {"close", call_close, METH_NOARGS, "As of any coroutine."},
    {"get_loop", call_get_loop, METH_NOARGS, "As of any future."},
    {"add_done_callback", (PyCFunction)(void (*)(void))call_add_done_callback,
     METH_FASTCALL | METH_KEYWORDS, "As of any future."},
    {"result", call_result, METH_NOARGS, "Raises if the call was cancelled."},
    {"cancel", (PyCFunction)(void (*)(void))call_cancel, METH_VARARGS | METH_KEYWORDS,
     "As of any future."},
    {"resume", call_resume_method, METH_NOARGS, "Step the task that waits."},
    {"settle", call_settle_method, METH_VARARGS, "It has ended so: a state, and its data."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef call_members[] = {
    {"pickled", T_BOOL, offsetof(call_object, pickled), 0, NULL},
    {"method", T_OBJECT_EX, offsetof(call_object, method), READONLY, NULL},
    {"peer", T_OBJECT_EX, offsetof(call_object, peer), READONLY, NULL},
    {"handle", T_ULONGLONG, offsetof(call_object, handle), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot call_slots[] = {
    {Py_tp_doc, "A call under way: a coroutine, and what its task waits on."},
    {Py_tp_dealloc, call_dealloc},
    {Py_tp_traverse, call_traverse},
    {Py_tp_clear, call_clear},
    {Py_tp_getattro, call_getattro},
    {Py_tp_setattro, call_setattro},
    {Py_tp_methods, call_methods},
    {Py_tp_members, call_members},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, call_step},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, call_send},
    {0, NULL},
};

static PyType_Spec call_spec = {
    .name = "rudp._link.Call",
    .basicsize = sizeof(call_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = call_slots,
};

bool call_type_add(PyObject *module)
{
    blocking_name = PyUnicode_InternFromString("_asyncio_future_blocking");
    call_type = (PyTypeObject *)PyType_FromSpec(&call_spec);
    return blocking_name != NULL && call_type != NULL &&
           PyModule_AddObjectRef(module, "Call", (PyObject *)call_type) == 0;
}
