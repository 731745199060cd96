/* request.h - "what may a handler know about the call it serves?"
 *
 * The plain part of `rudp.Request`, which derives from it: its fields, filled without running any
 * Python. Whoever reads requests makes one for each, whether the handler asks for it or not.
 *
 * The trap: `open` says that the reply is still to come, and that the deadline counts for calls
 * made meanwhile. An inline function has returned before anything it started runs, so for it `open`
 * is false from the beginning. */
#ifndef RUDP_PYTHON_REQUEST_H
#define RUDP_PYTHON_REQUEST_H

#include "python/limited.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    PyObject_HEAD PyObject *method, *node;
    uint64_t id, expires; /* us of node_clock() */
    uint32_t peer;
    char open, cancelled;
} request_object;

/* False with an exception set. */
bool request_type_add(PyObject *module);
/* Of a class that derives from it; a new reference. */
request_object *request_new(PyObject *type, PyObject *method, PyObject *node);

#endif
