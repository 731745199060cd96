/* pool.h - "where does a received message of 3 GiB go, without touching memory page by page?"
 *
 *   mapping  [ ........ | block | data, aligned ................................ ]
 *                         64 B    2 MiB (large) or 4 KiB (small: several in a slab)
 *
 * New memory costs more than the wire: 2.9 GB/s page by page, 27 with huge pages, 60 from a buffer
 * that was used just before (Rule 18). So blocks come in size classes (64 KiB doubling), lie on
 * huge pages, and are used again last in, first out. At most POOL_CACHE bytes wait unused; the rest
 * goes back to the system at once, and pool_trim returns what a quiet process does not need (A6).
 *
 *   granted, nothing read:  [cold][cold][cold]     first byte:  cold --stands in--> hot (Rule 28)
 *
 * Memory is promised long before it is used: of eight messages granted, one is read. If each read
 * into the block it was promised, eight blocks would go round, more than the cache holds. So a
 * promise takes a block that nobody used lately, or a mapping nobody ever touched, and when the
 * first byte comes the block that was used last stands in for it (pool_begin).
 *
 * The pool belongs to the process, not to a node: arrays outlive the node that received them
 * (Rule 20). Any thread may take and give; the lock is never held over a system call.
 *
 * The trap is fork: another thread may hold the lock at that moment. The pool's own words lie on a
 * page that a child finds wiped to zeros, and zeros are an empty, unlocked pool. Blocks the child
 * inherited stay valid in it and enter its pool when given back. */
#ifndef RUDP_IO_POOL_H
#define RUDP_IO_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "io/parcel.h"

#define POOL_CACHE   (UINT64_C(512) << 20) /* bytes kept for the next parcel */
#define POOL_TRIMMED (UINT64_C(16) << 20)  /* bytes kept by a process at rest */

typedef struct block {
    uint32_t kind; /* MEMORY_BLOCK: handles of both kinds begin so */
    uint32_t class;
    uint8_t *data;
    size_t size;   /* of the message in it */
    void *mapping; /* NULL: part of a slab, which stays */
    size_t mapped;
    struct block *next;    /* while it is free */
    struct block *instead; /* stands in for it: the message is there */
    uint64_t begun;        /* 1: something was read into it, or into that */
} block;

/* A block for that many bytes, NULL if there is no memory. Its contents are old. */
block *pool_take(size_t size);
void pool_give(block *b);

/* The first bytes are about to be read into it. Again: nothing happens. */
void pool_begin(block *b);
/* The block that the message is in; the caller's from now on, the other one is given back. */
block *pool_settle(block *b);

static inline const block *pool_filled(const block *b)
{
    return b->instead != NULL ? b->instead : b;
}

/* The block whose data this is. */
block *pool_block_of(void *data);

/* Gives back all but POOL_TRIMMED bytes of what nobody uses. */
void pool_trim(void);

/* Bytes held and unused. */
uint64_t pool_unused(void);

#endif
