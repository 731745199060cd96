/* parcel.h - "which bytes are bytes 1,000 to 2,000 of a message made of many arrays?"
 *
 *   parts      [ 300 B ][ 4 MiB                    ][ 12 B ]
 *   one range  0        300                   4194604      4194616
 *
 * A handle is the address of something that begins with its kind: a message to send (rudp_memory,
 * a list of the application's buffers, which stay where they are) or a block of the pool. The
 * engine knows handles, offsets and lengths, nothing more.
 *
 * A segment's range is found by bisection among the parts, then read in sequence, so a message of
 * a thousand parts costs ten comparisons per segment.
 *
 * The trap: parts of no bytes are left out, so that bisection has one answer. */
#ifndef RUDP_IO_PARCEL_H
#define RUDP_IO_PARCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"

enum { MEMORY_PARCEL = 0x6d657373, MEMORY_BLOCK = 0x626c6f63, MEMORY_FREE = 0x66726565 };

typedef struct {
    uint8_t *bytes;
    uint64_t end; /* offset in the message of the first byte after it */
} parcel_part;

typedef struct rudp_memory {
    uint32_t kind; /* MEMORY_PARCEL */
    uint32_t count;
    uint64_t token; /* the application's name for it */
    uint64_t size;
    list_link link;           /* among those the engine holds */
    struct rudp_memory *next; /* among those to be reported as released */
    parcel_part parts[];
} parcel;

/* NULL: no memory. */
parcel *parcel_new(uint64_t token, uint32_t count, void *const *parts, const size_t *sizes);
void parcel_free(parcel *m);

static inline uint64_t memory_handle(const void *thing)
{
    return (uint64_t)(uintptr_t)thing;
}

/* MEMORY_PARCEL or MEMORY_BLOCK. */
static inline uint32_t memory_kind(uint64_t handle)
{
    return *(const uint32_t *)(uintptr_t)handle;
}

/* Fills at most `most` entries with the range from offset on, at most length bytes; how many
 * entries, and in *covered how many bytes. Handles of both kinds. ENSURE: the range lies inside. */
uint32_t memory_range(uint64_t handle, uint64_t offset, uint64_t length, struct iovec *out,
                      uint32_t most, uint64_t *covered);

#endif
