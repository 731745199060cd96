/* scalars.h - "which values are so simple that they need no codec?"
 *
 *   None, True, False, int of 64 bits, float, str, bytes        one value
 *   a tuple of at most 15 of them                               the arguments of a call
 *
 * Nearly all small calls are made of these, and a general codec costs them more than the network.
 * The bytes are msgpack as the codec writes it: the other side cannot tell who wrote them. Buffers
 * may stand among them: draft.h writes those, received.h reads them.
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

/* The first thing that does not fit or is not simple ends it: asked once, behind the last. */
typedef struct {
    uint8_t *at;
    size_t room;
    bool ok;
} packer;

void put(packer *w, const void *bytes, size_t size);
/* A kind, and a number of so many bytes behind it: the biggest comes first. */
void put_number(packer *w, uint8_t kind, uint64_t number, unsigned size);
/* In the shortest form, as the codec does. */
void put_natural(packer *w, uint64_t number);
/* Bytes behind their number, which has one byte after this kind or two after the next. */
void put_counted(packer *w, uint8_t kind, const char *bytes, Py_ssize_t size);
/* False: not a simple value, and nothing was written. */
bool value_write(packer *w, PyObject *value);

typedef struct {
    const uint8_t *at, *end;
} cursor;

/* NULL and false: that much is not left. */
const uint8_t *take(cursor *c, size_t size);
bool take_number(cursor *c, unsigned size, uint64_t *number);
/* One that put_natural wrote, or could have. */
bool take_natural(cursor *c, uint64_t *number);
/* A new reference; NULL: not simple. */
PyObject *value_read(cursor *c);

#endif
