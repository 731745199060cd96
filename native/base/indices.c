#include "base/indices.h"

#include "base/ensure.h"

#include <string.h>

static uint32_t words_for(uint32_t bits)
{
    return (bits + 63) / 64;
}

size_t indices_size(uint32_t limit)
{
    size_t words = 0;
    uint32_t bits = limit;
    do {
        bits = words_for(bits);
        words += bits;
    } while (bits > 1);
    return words * sizeof(uint64_t);
}

/* Sets the first `bits` bits of a level. */
static void fill(uint64_t *words, uint32_t bits)
{
    memset(words, 0xff, bits / 64 * sizeof *words);
    if (bits % 64 != 0)
        words[bits / 64] = (UINT64_C(1) << (bits % 64)) - 1;
}

void indices_init(indices *set, void *memory, uint32_t limit, bool full)
{
    ENSURE(limit <= INDICES_MOST);
    memset(memory, 0, indices_size(limit));
    *set = (indices){.limit = limit, .count = full ? limit : 0};
    uint64_t *words = memory;
    uint32_t bits = limit;
    do {
        set->level[set->levels++] = words;
        if (full)
            fill(words, bits);
        bits = words_for(bits);
        words += bits;
    } while (bits > 1);
}

void indices_add(indices *set, uint32_t index)
{
    ENSURE(index < set->limit);
    if (indices_has(set, index))
        return;
    set->count++;
    for (uint32_t i = 0; i < set->levels; i++) {
        uint64_t *word = &set->level[i][index / 64];
        bool was_empty = *word == 0;
        *word |= UINT64_C(1) << (index % 64);
        if (!was_empty) /* the levels above know of this word */
            break;
        index /= 64;
    }
}

void indices_drop(indices *set, uint32_t index)
{
    ENSURE(index < set->limit);
    if (!indices_has(set, index))
        return;
    set->count--;
    for (uint32_t i = 0; i < set->levels; i++) {
        uint64_t *word = &set->level[i][index / 64];
        *word &= ~(UINT64_C(1) << (index % 64));
        if (*word != 0)
            break;
        index /= 64;
    }
}

bool indices_lowest(const indices *set, uint32_t *index)
{
    if (set->count == 0)
        return false;
    uint32_t at = 0;
    for (uint32_t i = set->levels; i-- > 0;)
        at = at * 64 + (uint32_t)__builtin_ctzll(set->level[i][at]);
    *index = at;
    return true;
}
