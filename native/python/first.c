/* first.c - "does a request need a task?" Not if its method ends in the first step, and nobody
 * looks at the task of that step.
 *
 *   idle        the spare task waits for a call that is none: resumed, it is stepped
 *   current     asyncio.current_task() in a first step by hand, in a context of its own
 *   idle again, or the request's own task: resumed, it hears what the step has come to
 *
 * Looks are noticed in three ways: by what is asked of it (_spare_task.py), by who holds it, and
 * by who holds it weakly. What only happens to come along it, such as asyncio.all_tasks(), counts
 * as well, and costs nothing but a new spare.
 *
 * The trap: what is called in the step may close the node. So the spare is ours meanwhile. */
#include "python/service.h"

enum { TASKS_AFTER_LOOK = 100 };

/* Whether somebody has to hear of it when it goes without having ended. This is no look. */
static bool spare_is_missed(PyObject *task, PyObject *truth)
{
    static PyObject *name;
    if (name == NULL && (name = PyUnicode_InternFromString("_log_destroy_pending")) == NULL)
        return false;
    return PyObject_GenericSetAttr(task, name, truth) == 0;
}

/* Idle, on a loop that lets it; else it gets there by itself. */
static bool spare_make(link_object *link)
{
    spare_task *spare = &link->spare;
    service_object *s = service_new(link, NULL);
    spare->service = (PyObject *)s;
    spare->call = call_new(Py_None, link->loop, Py_None, Py_None, 0);
    if (s == NULL || spare->call == NULL)
        return false;
    call_offer(spare->call);
    s->waits = Py_NewRef((PyObject *)spare->call);
    return task_start(link, link->spare_class, s, NULL, &spare->task) &&
           spare_is_missed(spare->task, Py_False);
}

static bool spare_is_idle(const spare_task *spare)
{
    return spare->call != NULL && spare->call->callback != NULL;
}

void spare_drop(spare_task *spare)
{
    Py_CLEAR(spare->task);
    Py_CLEAR(spare->service);
    Py_CLEAR(spare->call);
    spare->references = 0;
}

bool spare_ready(link_object *link)
{
    if (spare_is_idle(&link->spare))
        return true;
    if (link->spare.task != NULL || spare_make(link))
        return spare_is_idle(&link->spare);
    PyErr_Clear(); /* whether a task can be made shows where one is needed */
    spare_drop(&link->spare);
    return false;
}

PyObject *first_run(PyObject *self, PyObject *service)
{
    (void)self;
    return service_step_by_hand((service_object *)service) ? Py_NewRef(Py_None) : NULL;
}

/* The step itself. False: an exception goes on. */
static bool spare_step(const link_object *link, const spare_task *spare)
{
    static PyObject *run;
    if (run == NULL && (run = PyUnicode_InternFromString("run")) == NULL)
        return false;
    const service_object *s = (service_object *)spare->service;
    PyObject *done = PyObject_CallFunctionObjArgs(link->enter_task, link->loop, spare->task, NULL);
    if (done == NULL)
        return false;
    Py_DECREF(done);
    done = PyObject_CallMethodObjArgs(s->context, run, link->first_run, spare->service, NULL);
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyObject *left = PyObject_CallFunctionObjArgs(link->leave_task, link->loop, spare->task, NULL);
    bool ok = done != NULL && left != NULL;
    if (left != NULL || type != NULL)
        PyErr_Restore(type, error, traceback);
    Py_XDECREF(done);
    Py_XDECREF(left);
    return ok;
}

/* The only one who refers to it weakly is asyncio. */
static bool spare_was_looked_at(const link_object *link, const spare_task *spare)
{
    if (((service_object *)spare->service)->looked || Py_REFCNT(spare->task) != spare->references)
        return true;
    PyObject *weak = PyObject_CallFunctionObjArgs(link->count_weak, spare->task, NULL);
    bool more = weak == NULL || PyLong_AsLong(weak) > 1;
    if (weak == NULL)
        PyErr_Clear();
    Py_XDECREF(weak);
    return more;
}

static void spare_put_back(link_object *link, spare_task *spare)
{
    service_empty((service_object *)spare->service);
    if (link->core == NULL || link->spare.task != NULL)
        spare_drop(spare);
    else
        link->spare = *spare;
}

/* It waits: from here on it is served by a task of its own. */
static bool continue_by_new_task(link_object *link, const service_job *job, service_object *first)
{
    service_object *s = service_new(link, job);
    if (s == NULL)
        return false;
    s->inner = Py_NewRef(first->inner);
    s->waits = Py_NewRef(first->waits);
    return service_by_task(link, job, s, first->context);
}

/* The exception that goes on does so out of the task's step. */
static void keep_error(service_object *s)
{
    PyObject *type, *traceback;
    PyErr_Fetch(&type, &s->error, &traceback);
    PyErr_NormalizeException(&type, &s->error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(s->error, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
}

/* Somebody knows the spare task as the one of this request. */
static bool continue_by_spare(link_object *link, spare_task *spare)
{
    service_object *s = (service_object *)spare->service;
    s->untold = s->finished;
    if (s->waits != NULL) {
        PyObject *steps =
            PyObject_CallFunctionObjArgs(link->in_context, s->inner, s->context, NULL);
        if (steps == NULL)
            return false;
        Py_DECREF(s->inner);
        s->inner = steps;
    }
    bool ok = spare_is_missed(spare->task, Py_True) && call_resume(spare->call);
    return ok && !s->finished ? task_keep(s, spare->task) : ok;
}

bool first_step_pays(const service_job *job)
{
    PyObject *left = PyList_GetItem(job->tasks, 0);
    long n = left == NULL ? 0 : PyLong_AsLong(left);
    if (n > 0)
        PyList_SetItem(job->tasks, 0, PyLong_FromLong(n - 1));
    PyErr_Clear();
    return n <= 0;
}

static bool raise_kept(const service_object *s)
{
    if (s->error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(s->error), s->error);
    return s->error == NULL;
}

bool first_step(link_object *link, const service_job *job)
{
    spare_task spare = link->spare;
    link->spare = (spare_task){.task = NULL};
    service_object *s = (service_object *)spare.service;
    if (spare.references == 0)
        spare.references = Py_REFCNT(spare.task);
    service_fill(s, job);
    s->context = PyObject_CallNoArgs(link->copy_context);
    bool ok = s->context != NULL && spare_step(link, &spare);
    if (!ok && !s->finished) { /* it did not come to begin */
        ok = link_reply_error(link, job->node, job->id) >= 0;
        spare_put_back(link, &spare);
        return ok;
    }
    if (!ok)
        keep_error(s);
    if (spare_was_looked_at(link, &spare)) {
        PyList_SetItem(job->tasks, 0, PyLong_FromLong(TASKS_AFTER_LOOK));
        ok = continue_by_spare(link, &spare);
        spare_drop(&spare);
        return ok;
    }
    ok = s->waits != NULL ? continue_by_new_task(link, job, s) : raise_kept(s);
    spare_put_back(link, &spare);
    return ok;
}
