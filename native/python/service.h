/* service.h - "how does a coroutine method run, from its request to its reply?"
 *
 *   task --send, throw--> Service --send, throw--> the method's own coroutine
 *                            |  it returned, it raised, it was cancelled
 *                            +--> the reply, in the same step
 *
 * One task per request, as everybody expects of asyncio.current_task(). Its first step is done at
 * once, where the request was read: most methods end in it. Python 3.12 has `eager_start` for that.
 * On 3.11 a new task asks its loop to `call_soon` its first step, so while one is made that method
 * is ours (start.c). A loop that has no fields to set gets an ordinary task.
 *
 * The trap: a step runs only where no other task runs, in a callback of the loop. Otherwise
 * (link.deferred) the task begins in the next round of the loop, like any other. */
#ifndef RUDP_PYTHON_SERVICE_H
#define RUDP_PYTHON_SERVICE_H

#include "python/link.h"

/* What is to be done; the pointers are borrowed. */
typedef struct {
    PyObject *node, *request, *function;
    PyObject *args;   /* a tuple */
    PyObject *kwargs; /* a dict or NULL */
    uint64_t id;
    bool pickled; /* the result is sent by pickle */
} service_job;

bool service_type_add(PyObject *module);
/* A coroutine for a task; a new reference. */
PyObject *service_new(link_object *link, const service_job *job);
/* Its task exists, and is not done: what ends it is told to the node. */
void service_enter(PyObject *service);
bool service_is_finished(PyObject *service);

/* start.c: makes a task of the job, and does its first step if it may. False: an exception. */
bool service_start(link_object *link, const service_job *job);
/* What stands in the place of loop.call_soon meanwhile. */
PyObject *service_catch(PyObject *link, PyObject *const *args, Py_ssize_t count, PyObject *names);

#endif
