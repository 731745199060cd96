/* parts.h - "how does a message with large buffers lie in bytes?" As rudp/_codec.py draws it: a
 * front of header, table and head, then the parts, each at a multiple of PART_ALIGN.
 *
 * The head is msgpack. Where a buffer stood is an extension, in which is an array:
 *
 *   CODE_BYTES, CODE_BUFFER   [bytes]
 *   CODE_ARRAY                [bytes, type, shape, order]        (arrays.h)
 *
 * and instead of the bytes, if they are more than PART_INLINE, the index of their part. */
#ifndef RUDP_PYTHON_PARTS_H
#define RUDP_PYTHON_PARTS_H

#include "python/scalars.h"

enum {
    PARTS_MOST = ARGUMENTS_MOST,
    PART_ALIGN = 64,
    PART_INLINE = 2048,
    PART_ROW = 16, /* of the table: offset and size */
    PARTS_HEADER = 16,
    PARTS_MAGIC = 0xc1, /* no msgpack begins so */
    PARTS_MSGPACK = 0   /* the format of the head; others are the codec's */
};

#define PARTS_VERSION UINT32_C(0x017572c1) /* the first four bytes of the header */

enum { CODE_ARRAY = 125, CODE_BUFFER = 126, CODE_BYTES = 127 };

#endif
