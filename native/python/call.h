/* call.h - "what does `await peer.call(...)` wait on?"
 *
 * A Call is two things that asyncio keeps apart, and so spares both of them per call:
 *
 *   a coroutine   the caller's task sends into it, throws into it, gets the result from it
 *   a future      it hands itself to the task, which leaves its wake-up and is stepped by the node
 *                 in the very turn that read the reply
 *
 *             send                        settle            send
 *   PENDING --------> PENDING, waited for --------> ended --------> value, or the error
 *      |  throw, close, cancel
 *      +-----------------------> GONE: the core is told, what still comes is dropped
 *
 * Everything that is not a plain result is made in Python: `node._ended` turns how it ended into a
 * value or an exception, `node._abandon` tells the core.
 *
 * The traps: a task must not be stepped while another one runs, so call_resume belongs into
 * callbacks of the loop. And a task that is cancelled is woken through the loop. */
#ifndef RUDP_PYTHON_CALL_H
#define RUDP_PYTHON_CALL_H

#include "python/limited.h"

#include <stdbool.h>
#include <stdint.h>

/* What `data` is: nothing yet, the result, its bytes, (status, outcome, bytes), an exception. */
typedef enum { CALL_PENDING, CALL_VALUE, CALL_RAW, CALL_ENDED, CALL_FAILED, CALL_GONE } call_state;

typedef struct {
    PyObject_HEAD PyObject *node, *peer, *method, *loop;
    PyObject *data;
    PyObject *callback, *context; /* of the task that waits */
    uint64_t handle;
    call_state state;
    char pickled;  /* pickle is accepted in the result */
    char started;  /* somebody awaits it */
    char finished; /* and has what it waited for */
    char blocking; /* asyncio's: the task is to wait for us */
} call_object;

/* False with an exception set. */
bool call_type_add(PyObject *module);
call_object *call_new(PyObject *node, PyObject *loop, PyObject *peer, PyObject *method,
                      uint64_t handle);
/* It has ended; takes over the reference. */
void call_settle(call_object *call, call_state state, PyObject *data);
/* What a task's coroutine gives out to wait until it is resumed, and for nothing else. */
void call_offer(call_object *call);
/* Step the task that waits, if one does already. False with an exception set. */
bool call_resume(call_object *call);

#endif
