/* ring.h - "how do many threads hand things to one without a lock?"
 *
 *          front (the reader)                tail (the writers)
 *            |                                 |
 *   [ free ][ full ][ full ][ being written ][ free ][ free ]
 *     turn    turn
 *
 * Dmitry Vyukov's bounded queue. Each entry carries a `turn`. For position p (they only grow;
 * the entry is p modulo count):
 *
 *   turn == p            free: the writer who moves tail from p to p + 1 owns the entry
 *   turn == p + 1        full: the reader may look at it
 *   turn == p + count    free again, for the next time round
 *
 * Memory order. A writer's bytes come before its release store of turn = p + 1; the reader's
 * acquire load of turn sees that value and therefore the bytes. The reader's last look at an
 * entry comes before its release store of turn = p + count; the writer's acquire load sees that
 * and therefore never writes under the reader's eyes. tail only deals out positions, the bytes
 * do not depend on it; it is acquired for ring_followed alone. front is the reader's own.
 *
 * The traps: a writer that reserved and sleeps holds up everything behind it, so nothing slow
 * belongs between reserve and publish. And ring_empty is no promise about the next moment: a
 * reader that wants to sleep must first say so with a sequentially consistent store or fence,
 * then ask ring_empty, then sleep; a writer publishes, fences likewise, then looks whether
 * anybody sleeps. */
#ifndef RUDP_BASE_RING_H
#define RUDP_BASE_RING_H

#include "base/ensure.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *entries;      /* each: turn, then entry_size bytes */
    uint64_t mask;         /* count - 1 */
    size_t stride;         /* from one entry to the next, bytes */
    uint8_t apart[64];     /* writers' and reader's words on lines of their own */
    _Atomic uint64_t tail; /* next position for a writer */
    uint8_t apart_too[64];
    _Atomic uint64_t front; /* next position for the reader; only it stores */
} ring;

enum { RING_TURN_SIZE = 16 }; /* room for the turn, so that the entry behind it is aligned to 16 */

static inline size_t ring_stride(uint32_t entry_size)
{
    return RING_TURN_SIZE + (((size_t)entry_size + 15) & ~(size_t)15);
}

/* Bytes of memory that ring_init will use. */
static inline size_t ring_size(uint32_t count, uint32_t entry_size)
{
    return count * ring_stride(entry_size);
}

static inline _Atomic uint64_t *ring_turn(const ring *r, uint64_t position)
{
    return (_Atomic uint64_t *)(void *)(r->entries + (position & r->mask) * r->stride);
}

/* memory: aligned to 16. count: a power of two, at least 2. No thread may use the ring before
 * this has returned and been made known to it. */
static inline void ring_init(ring *r, void *memory, uint32_t count, uint32_t entry_size)
{
    ENSURE(count >= 2 && (count & (count - 1)) == 0);
    r->entries = memory;
    r->mask = count - 1;
    r->stride = ring_stride(entry_size);
    atomic_init(&r->tail, 0);
    atomic_init(&r->front, 0);
    for (uint32_t i = 0; i < count; i++)
        atomic_init(ring_turn(r, i), i);
}

/* Any thread. Memory for one entry, aligned to 16, or NULL if the ring is full. What was
 * reserved must be published, with the ticket. */
static inline void *ring_reserve(ring *r, uint64_t *ticket)
{
    uint64_t position = atomic_load_explicit(&r->tail, memory_order_relaxed);
    for (;;) {
        _Atomic uint64_t *turn = ring_turn(r, position);
        int64_t ahead = (int64_t)(atomic_load_explicit(turn, memory_order_acquire) - position);
        if (ahead < 0)
            return NULL; /* still full from last time round */
        if (ahead > 0) { /* another writer was quicker */
            position = atomic_load_explicit(&r->tail, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(&r->tail, &position, position + 1,
                                                         memory_order_acquire,
                                                         memory_order_relaxed)) {
            *ticket = position;
            return (uint8_t *)turn + RING_TURN_SIZE;
        }
    }
}

/* The writer that reserved, once. */
static inline void ring_publish(ring *r, uint64_t ticket)
{
    atomic_store_explicit(ring_turn(r, ticket), ticket + 1, memory_order_release);
}

/* The same writer, right after it published: did others take places behind it meanwhile? If not,
 * whoever does so later sees the entry published, and so does whom he wakes (the read of tail is
 * a write too, which his reservation acquires). If so, they may have looked in vain for their
 * entries, and somebody has to look again. */
static inline bool ring_followed(ring *r, uint64_t ticket)
{
    return atomic_fetch_add_explicit(&r->tail, 0, memory_order_acq_rel) != ticket + 1;
}

/* The reader. The oldest entry, or NULL if there is none; it stays until ring_pop. */
static inline void *ring_front(ring *r)
{
    uint64_t position = atomic_load_explicit(&r->front, memory_order_relaxed);
    _Atomic uint64_t *turn = ring_turn(r, position);
    if (atomic_load_explicit(turn, memory_order_acquire) != position + 1)
        return NULL;
    return (uint8_t *)turn + RING_TURN_SIZE;
}

/* The reader, after ring_front gave an entry. */
static inline void ring_pop(ring *r)
{
    uint64_t position = atomic_load_explicit(&r->front, memory_order_relaxed);
    _Atomic uint64_t *turn = ring_turn(r, position);
    ENSURE(atomic_load_explicit(turn, memory_order_relaxed) == position + 1);
    atomic_store_explicit(&r->front, position + 1, memory_order_relaxed);
    atomic_store_explicit(turn, position + r->mask + 1, memory_order_release);
}

/* The reader: no place is taken, not even by a writer who has not published yet. What the asking
 * thread wrote itself, or was told of, counts. */
static inline bool ring_unused(const ring *r)
{
    return atomic_load_explicit(&r->tail, memory_order_relaxed) ==
           atomic_load_explicit(&r->front, memory_order_relaxed);
}

/* Exact for the reader; a guess for anybody else. */
static inline bool ring_empty(const ring *r)
{
    uint64_t position = atomic_load_explicit(&r->front, memory_order_relaxed);
    return atomic_load_explicit(ring_turn(r, position), memory_order_acquire) != position + 1;
}

#endif
