/* indices.h - "which is the lowest index in this set?"
 *
 *   level 2   [.......1]                      a bit here: the word below it is not zero
 *   level 1   [1......1] [........] ...
 *   level 0   [..1.....] [........] ... [1..1....]      one bit for each index
 *
 * Sixty-four children to a word, so four levels hold 64^4 indices and the lowest is found with
 * at most four counts of trailing zeros. slots.h and cells.h both stand on it: whoever takes the
 * lowest index first keeps the memory in use dense (A6). */
#ifndef RUDP_BASE_INDICES_H
#define RUDP_BASE_INDICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INDICES_LEVELS = 4, INDICES_MOST = 64 * 64 * 64 * 64 };

typedef struct {
    uint64_t *level[INDICES_LEVELS]; /* level[0]: the indices; higher ones: non-empty words */
    uint32_t levels;                 /* in use; the highest has one word */
    uint32_t limit;                  /* indices are below this */
    uint32_t count;                  /* in the set now */
} indices;

/* Bytes of memory that indices_init will use; a multiple of 8. limit: 0 to INDICES_MOST. */
size_t indices_size(uint32_t limit);

/* An empty set, or one with every index below limit. memory: aligned to 8. */
void indices_init(indices *set, void *memory, uint32_t limit, bool full);

/* False past the limit. */
static inline bool indices_has(const indices *set, uint32_t index)
{
    return index < set->limit && (set->level[0][index / 64] >> (index % 64) & 1) != 0;
}

/* ENSURE: below the limit. Adding what is there and dropping what is not change nothing. */
void indices_add(indices *set, uint32_t index);
void indices_drop(indices *set, uint32_t index);

/* False if the set is empty. */
bool indices_lowest(const indices *set, uint32_t *index);

#endif
