/* received.h - "which values came, and whose is the memory they lie in?" Rule 20.
 *
 *   memory   [ front | part 0 ... | part 1 ... ]
 *                       ^            ^
 *              Received 0 <------ Received 1       an array or a memoryview keeps its own
 *              gives the memory back with itself
 *
 * Read is what draft.h writes: scalars, and buffers as they arrive everywhere else in Python, as
 * bytes, writable memoryviews and writable arrays. The memory is the caller's as long as the answer
 * is NULL; then the codec looks at it, and finds the words for what is wrong. Otherwise it belongs
 * to what was read, or is given back already because nothing needs it.
 *
 * Nothing of a peer's is believed before it is checked: of the table, that the parts lie in the
 * message and are disjoint; of the head, that each part is named at most once, so that no array
 * aliases another. */
#ifndef RUDP_PYTHON_RECEIVED_H
#define RUDP_PYTHON_RECEIVED_H

#include "python/parts.h"

/* Bytes of a message. memory: they lie in received memory, else NULL and the bytes are copied. */
typedef struct {
    const uint8_t *at;
    size_t size;
    void *memory;
    size_t max_head; /* the codec refuses more */
} received_message;

/* False with an exception set. */
bool received_type_add(PyObject *module);
/* A tuple; a new reference. NULL: not known here, and no exception. */
PyObject *received_arguments(const received_message *m);
/* Whatever it is, unread: bytes, or a writable memoryview of received memory, which then has it. */
PyObject *received_bytes(const received_message *m);
/* One value, or of received memory a list of some. */
PyObject *received_value(const received_message *m);

#endif
