/* draft.h - "what leaves, in which buffers, of arguments or of a result?"
 *
 *   ("w0", array, 7)   ->   head   93  a2 w 0  c7 .. [0, "<f8", [524288], "C"]  07
 *                           views  the array's memory, locked
 *
 * Scalars (scalars.h) and buffers: bytes, bytearray, memoryview, numpy arrays. A buffer is written
 * into the head if it is small, else it is lent to the core (lent.h) from where it lies. The bytes
 * are those of rudp/_codec.py, which takes over whatever is not known here, as always.
 *
 * A draft lives on the stack of who sends it, and is dropped there: lent or not.
 *
 * The trap: a class may be registered as a type of its own, these classes as well. */
#ifndef RUDP_PYTHON_DRAFT_H
#define RUDP_PYTHON_DRAFT_H

#include "python/parts.h"

enum { HEAD_MOST = 4096 }; /* no limit of a node is lower (Config.max_head) */

typedef struct {
    PyObject *packs; /* the classes that are registered, with how they are packed */
    size_t size;     /* of the head */
    uint32_t count;  /* of views */
    packer w;
    Py_buffer views[PARTS_MOST];
    uint8_t head[HEAD_MOST];
} draft;

/* False: not known here, and dropped. */
bool draft_arguments(draft *d, PyObject *packs, PyObject *tuple);
bool draft_value(draft *d, PyObject *packs, PyObject *value);
void draft_drop(draft *d);

#endif
