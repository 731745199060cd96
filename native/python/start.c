/* start.c - a task whose first step is done at once. */
#include "python/service.h"

/* The loop's own call_soon, for a stranger. */
static PyObject *call_soon_passed(const link_object *link, PyObject *const *args, Py_ssize_t count,
                                  PyObject *names)
{
    PyObject *given = PyTuple_New(count + 1), *named = PyDict_New(), *result = NULL;
    PyObject *call_soon = PyObject_GetAttrString((PyObject *)Py_TYPE(link->loop), "call_soon");
    bool ok = given != NULL && named != NULL && call_soon != NULL;
    for (Py_ssize_t i = 0; ok && i <= count; i++)
        PyTuple_SetItem(given, i, Py_NewRef(i == 0 ? link->loop : args[i - 1]));
    for (Py_ssize_t i = 0; ok && names != NULL && i < PyTuple_Size(names); i++)
        ok = PyDict_SetItem(named, PyTuple_GetItem(names, i), args[count + i]) == 0;
    if (ok)
        result = PyObject_Call(call_soon, given, named);
    Py_XDECREF(given);
    Py_XDECREF(named);
    Py_XDECREF(call_soon);
    return result;
}

/* loop.call_soon(callback, *, context), for the moment in which a task is made. A collection of
 * garbage may fall into it, and finalizers use the loop as well. */
PyObject *service_catch(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    link_object *link = (link_object *)self;
    if (link->step != NULL || count != 1 || names == NULL || PyTuple_Size(names) != 1)
        return call_soon_passed(link, args, count, names);
    link->step = Py_NewRef(args[0]);
    link->step_context = Py_NewRef(args[1]);
    return Py_NewRef(Py_None);
}

/* Task(service, loop=loop), with context=, and eager_start=True where that exists. */
static PyObject *task_make(link_object *link, PyObject *class, PyObject *service, PyObject *context)
{
    PyObject *args = PyTuple_Pack(1, service);
    PyObject *options =
        context == NULL ? Py_NewRef(link->task_options) : PyDict_Copy(link->task_options);
    PyObject *task = NULL;
    if (options != NULL &&
        (context == NULL || PyDict_SetItemString(options, "context", context) == 0))
        task = args == NULL ? NULL : PyObject_Call(class, args, options);
    Py_XDECREF(args);
    Py_XDECREF(options);
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
static PyObject *task_make_caught(link_object *link, PyObject *class, PyObject *service,
                                  PyObject *context)
{
    static PyObject *name;
    if (name == NULL && (name = PyUnicode_InternFromString("call_soon")) == NULL)
        return NULL;
    if (PyDict_GetItemWithError(link->loop_fields, name) != NULL)
        return task_make(link, class, service, context);
    if (PyErr_Occurred() || PyDict_SetItem(link->loop_fields, name, link->catch) != 0)
        return NULL;
    PyObject *task = task_make(link, class, service, context);
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (PyDict_DelItem(link->loop_fields, name) != 0)
        PyErr_Clear();
    if (task == NULL) { /* nor is there a step to do */
        Py_CLEAR(link->step);
        Py_CLEAR(link->step_context);
    }
    PyErr_Restore(type, error, traceback);
    return task;
}

bool task_start(link_object *link, PyObject *class, service_object *s, PyObject *context,
                PyObject **task)
{
    bool catching = link->loop_fields != Py_None && !link->deferred;
    *task = catching ? task_make_caught(link, class, (PyObject *)s, context)
                     : task_make(link, class, (PyObject *)s, context);
    return *task != NULL && step_run(link);
}

bool task_keep(service_object *s, PyObject *task)
{
    PyObject *key = PyLong_FromUnsignedLongLong(s->id);
    bool ok = key != NULL && PyDict_SetItem(s->link->running, key, task) == 0;
    Py_XDECREF(key);
    s->entered = true;
    return ok;
}

bool service_by_task(link_object *link, const service_job *job, service_object *s,
                     PyObject *context)
{
    PyObject *task;
    bool ok = task_start(link, link->task, s, context, &task);
    if (task == NULL && !s->finished) /* nobody will serve it */
        ok = link_reply_error(link, job->node, job->id) >= 0;
    else if (ok && !s->finished)
        ok = task_keep(s, task);
    Py_XDECREF(task);
    Py_DECREF((PyObject *)s);
    return ok;
}

bool service_start(link_object *link, const service_job *job)
{
    if (!link->deferred && first_step_pays(job) && spare_ready(link))
        return first_step(link, job);
    service_object *s = service_new(link, job);
    return s != NULL && service_by_task(link, job, s, NULL);
}
