/* start.c - a task whose first step is done at once. */
#include "python/service.h"

/* loop.call_soon(callback, *, context), for the moment in which a task is made. */
PyObject *service_catch(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    link_object *link = (link_object *)self;
    if (count != 1 || names == NULL || PyTuple_Size(names) != 1) {
        PyErr_SetString(PyExc_TypeError, "call_soon(callback, *, context)");
        return NULL;
    }
    link->step = Py_NewRef(args[0]);
    link->step_context = Py_NewRef(args[1]);
    return Py_NewRef(Py_None);
}

/* Task(service, loop=loop), and eager_start=True where that exists. */
static PyObject *task_make(link_object *link, PyObject *service)
{
    PyObject *args = PyTuple_Pack(1, service);
    PyObject *task = args == NULL ? NULL : PyObject_Call(link->task, args, link->task_options);
    Py_XDECREF(args);
    return task;
}

/* The first step that was caught, if one was. */
static bool step_run(link_object *link)
{
    PyObject *step = link->step, *context = link->step_context;
    if (step == NULL)
        return true;
    link->step = link->step_context = NULL;
    PyObject *done = PyObject_CallMethod(context, "run", "(O)", step);
    Py_DECREF(step);
    Py_DECREF(context);
    Py_XDECREF(done);
    return done != NULL;
}

/* Somebody else may have put a method of his own there: it stays. */
static PyObject *task_make_caught(link_object *link, PyObject *service)
{
    static PyObject *name;
    if (name == NULL && (name = PyUnicode_InternFromString("call_soon")) == NULL)
        return NULL;
    bool ours = PyDict_GetItemWithError(link->loop_fields, name) == NULL &&
                PyDict_SetItem(link->loop_fields, name, link->catch) == 0;
    PyObject *task = task_make(link, service);
    if (ours) {
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        PyDict_DelItem(link->loop_fields, name);
        PyErr_Restore(type, error, traceback);
    }
    return task;
}

/* The task goes on: who cancels the request finds it. */
static bool task_keep(link_object *link, PyObject *service, PyObject *task, uint64_t id)
{
    PyObject *key = PyLong_FromUnsignedLongLong(id);
    bool ok = key != NULL && PyDict_SetItem(link->running, key, task) == 0;
    Py_XDECREF(key);
    service_enter(service);
    return ok;
}

bool service_start(link_object *link, const service_job *job)
{
    PyObject *service = service_new(link, job);
    if (service == NULL)
        return false;
    bool catching = link->loop_fields != Py_None && !link->deferred;
    PyObject *task = catching ? task_make_caught(link, service) : task_make(link, service);
    bool ok = task != NULL && step_run(link);
    if (ok && !service_is_finished(service))
        ok = task_keep(link, service, task, job->id);
    Py_XDECREF(task);
    Py_DECREF(service);
    return ok;
}
