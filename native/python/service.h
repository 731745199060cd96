/* service.h - "how does a coroutine method run, from its request to its reply?"
 *
 *   task --send, throw--> Service --send, throw--> the method's own coroutine
 *                            |  it returned, it raised, it was cancelled
 *                            +--> the reply, in the same step
 *
 * Every request has a task of its own, as everybody expects of asyncio.current_task(). Its first
 * step is done at once, where the request was read, and most methods end in it. So it is done
 * before there is a task, by hand, with a spare one as the current task (first.c):
 *
 *   ended, and nobody looked at the spare      no task is made
 *   it waits, and nobody looked                a task is made, which begins with what it waits for
 *   somebody looked                            the spare is the task from now on
 *
 * A task that is made is stepped at once as well. Python 3.12 has `eager_start` for that. On 3.11 a
 * new task asks its loop to `call_soon` its first step, so while one is made that method is ours
 * (start.c). A loop that has no fields to set gets an ordinary task.
 *
 * The trap: a step runs only where no other task runs, in a callback of the loop. Otherwise
 * (link.deferred) the task begins in the next round of the loop, like any other. */
#ifndef RUDP_PYTHON_SERVICE_H
#define RUDP_PYTHON_SERVICE_H

#include "python/link.h"

/* What is to be done; the pointers are borrowed. */
typedef struct {
    PyObject *node, *function;
    request_object *request;
    PyObject *args;   /* a tuple */
    PyObject *kwargs; /* a dict or NULL */
    PyObject *tasks;  /* [requests of this method, from now on, that get a task at once] */
    uint64_t id;
    bool pickled; /* the result is sent by pickle */
} service_job;

typedef struct {
    PyObject_HEAD link_object *link;
    PyObject *node, *function, *args, *kwargs;
    request_object *request;
    PyObject *inner;   /* the method's coroutine, once it has begun */
    PyObject *waits;   /* what the task is to wait for, and does not know yet */
    PyObject *context; /* of a step by hand */
    PyObject *error;   /* with which that step ended */
    uint64_t id;
    char pickled;
    char entered;  /* its task exists, and is not done: what ends it is told to the node */
    char finished; /* the reply was sent */
    char untold;   /* and the task does not know yet */
    char idle;     /* of a spare task: no request */
    char looked;   /* and somebody looked at it */
} service_object;

bool service_type_add(PyObject *module);
/* A coroutine for a task; a new reference. Without a job: idle. */
service_object *service_new(link_object *link, const service_job *job);
/* What an idle one is to do; and idle again. */
void service_fill(service_object *s, const service_job *job);
void service_empty(service_object *s);
/* As a task does it, until it waits or ends; no task knows of it. False: an exception goes on. */
bool service_step_by_hand(service_object *s);

/* ---- start.c ---- */

/* A task of this class for the service, in this context or (NULL) a copy of the current one. Its
 * first step is done if it may. False: an exception. */
bool task_start(link_object *link, PyObject *class, service_object *s, PyObject *context,
                PyObject **task);
/* The request goes on: who cancels it finds its task. */
bool task_keep(service_object *s, PyObject *task);
/* Both, for a new task of its own in that context, or a copy of ours (NULL). s is given away.
 * False: an exception. */
bool service_by_task(link_object *link, const service_job *job, service_object *s,
                     PyObject *context);
/* Serves the job. False: an exception. */
bool service_start(link_object *link, const service_job *job);
/* What stands in the place of loop.call_soon meanwhile. */
PyObject *service_catch(PyObject *link, PyObject *const *args, Py_ssize_t count, PyObject *names);

/* ---- first.c ---- */

/* There is one that is idle, or could be made. */
bool spare_ready(link_object *link);
void spare_drop(spare_task *spare);
/* Nobody looked at the task of this method lately. */
bool first_step_pays(const service_job *job);
/* Does the first step of the job by hand, and sees to what is left to do. False: an exception. */
bool first_step(link_object *link, const service_job *job);
/* first_run(service): in the context of its request. */
PyObject *first_run(PyObject *link, PyObject *service);

#endif
