/* arrays.h - "what stands for a numpy array in a message, and how does it become one again?"
 *
 *   "<f8"  [1024, 512]  "C"       type, shape and order
 *
 * Known here are exact ndarrays of numbers and truth values, in this machine's byte order and in C
 * order, of at most 15 dimensions. rudp/_arrays.py knows the others, and what is wrong with those
 * that cannot be sent.
 *
 * numpy is needed neither to build this nor to run it: a value can be an array only if somebody has
 * imported numpy, and whoever receives the first one asks Python to import it. Types are made once
 * by numpy itself and kept: there are few. */
#ifndef RUDP_PYTHON_ARRAYS_H
#define RUDP_PYTHON_ARRAYS_H

#include "python/scalars.h"

enum { ARRAY_DIMENSIONS = 15, ARRAY_ABOUT = 5 + 1 + 9 * ARRAY_DIMENSIONS + 2 };

bool array_is(PyObject *value);
/* Type, shape and order, of its buffer. Not ok: not one that is known here. */
void array_write(packer *w, const Py_buffer *view);
/* The same, and the array in these bytes: writable, and the same memory. NULL: as above, or there
 * are more or fewer bytes than its shape says. */
PyObject *array_read(cursor *c, PyObject *bytes, size_t size);

#endif
