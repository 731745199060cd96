/* slots.h - "which of N places are free, and is this id still the one I gave out?"
 *
 *   index        0    1    2    3   ...        take: the lowest free index, so that memory
 *   used         x    .    x    .              behind it stays dense and the tail can be
 *   generation   3    9    1    1              given back to the system (A6)
 *
 * A place that is given back gets a new generation. An id made of index and generation then
 * misses: whatever comes late for the old holder finds nobody.
 *
 * The trap: generations have 16 bits and skip 0, so after 65,535 reuses an id matches again.
 * Where ids leave this process, random bits stand beside it. */
#ifndef RUDP_BASE_SLOTS_H
#define RUDP_BASE_SLOTS_H

#include "base/indices.h"

typedef struct {
    indices free;
    uint16_t *generations;
} slots;

/* Bytes of memory that slots_init will use; a multiple of 8. */
size_t slots_size(uint32_t count);

/* All free, all in generation 1. memory: aligned to 8. count: 0 to INDICES_MOST. */
void slots_init(slots *s, void *memory, uint32_t count);

/* Takes the lowest free index; false if all are in use. */
bool slots_take(slots *s, uint32_t *index);

/* Takes this one; false if it is in use or there is no such index. */
bool slots_take_at(slots *s, uint32_t index);

/* ENSURE: in use. The next generation begins now. */
void slots_give(slots *s, uint32_t index);

/* False if there is no such index, so it may be asked of a number that a peer sent. */
static inline bool slots_used(const slots *s, uint32_t index)
{
    return index < s->free.limit && !indices_has(&s->free, index);
}

/* The generation of the holder, or of the next one while the index is free. 0: no such index. */
static inline uint16_t slots_generation(const slots *s, uint32_t index)
{
    return index < s->free.limit ? s->generations[index] : 0;
}

/* True if the index is in use and still in this generation. Any two numbers may be asked. */
static inline bool slots_match(const slots *s, uint32_t index, uint16_t generation)
{
    return slots_used(s, index) && s->generations[index] == generation;
}

/* How many are in use. */
static inline uint32_t slots_count(const slots *s)
{
    return s->free.limit - s->free.count;
}

#endif
