/* scalars.h - "which values are so simple that they need no codec?"
 *
 *   None, True, False, int of 64 bits, float, str, bytes        one value
 *   a tuple of at most 15 of them                               the arguments of a call
 *
 * Nearly all small calls are made of these, and a general codec costs them more than the network.
 * The bytes are msgpack as the codec writes it: the other side cannot tell who wrote them.
 *
 * What is not simple, does not fit or cannot be read is no error here: the codec in Python takes
 * over, and finds the words for what is wrong. So nothing here leaves an exception set but for want
 * of memory. The trap: exact types only. A subclass may be registered as a type of its own. */
#ifndef RUDP_PYTHON_SCALARS_H
#define RUDP_PYTHON_SCALARS_H

#include "python/limited.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ARGUMENTS_MOST = 15 }; /* what a msgpack array counts in its first byte */

/* Bytes written; 0: not simple, or more than `room`. */
size_t scalar_write(PyObject *value, uint8_t *out, size_t room);
size_t arguments_write(PyObject *tuple, uint8_t *out, size_t room);

/* A new reference; NULL: not simple, or bytes are left over. */
PyObject *scalar_read(const uint8_t *at, size_t size);
/* The same, always a tuple. */
PyObject *arguments_read(const uint8_t *at, size_t size);

#endif
