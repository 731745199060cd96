#include "base/map.h"

#include "base/ensure.h"

#include <string.h>

/* At most half full: the smallest power of two that is twice the capacity. */
static uint32_t entries_for(uint32_t capacity)
{
    ENSURE(capacity <= UINT32_C(1) << 30);
    uint32_t count = 2;
    while (count / 2 < capacity)
        count *= 2;
    return count;
}

size_t map_size(uint32_t capacity)
{
    return entries_for(capacity) * sizeof(map_entry);
}

void map_init(map *m, void *memory, uint32_t capacity, uint64_t seed)
{
    *m = (map){
        .entries = memory,
        .seed = seed,
        .mask = entries_for(capacity) - 1,
        .capacity = capacity,
    };
    memset(memory, 0, map_size(capacity));
}

static uint64_t rotate(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 of exactly one word (so without the block that holds the length), with the seed
 * for both halves of its key. */
static uint32_t home(const map *m, uint64_t key)
{
    uint64_t v[4] = {
        m->seed ^ UINT64_C(0x736f6d6570736575),
        m->seed ^ UINT64_C(0x646f72616e646f6d),
        m->seed ^ UINT64_C(0x6c7967656e657261),
        m->seed ^ UINT64_C(0x7465646279746573) ^ key,
    };
    sip_round(v);
    v[0] ^= key;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]) & m->mask;
}

/* Where the key is, or the gap where it would go. There is always a gap. */
static uint32_t find(const map *m, uint64_t key)
{
    uint32_t at = home(m, key);
    while (m->entries[at].used != 0 && m->entries[at].key != key)
        at = (at + 1) & m->mask;
    return at;
}

bool map_get(const map *m, uint64_t key, uint32_t *value)
{
    const map_entry *entry = &m->entries[find(m, key)];
    if (entry->used == 0)
        return false;
    *value = entry->value;
    return true;
}

bool map_put(map *m, uint64_t key, uint32_t value)
{
    map_entry *entry = &m->entries[find(m, key)];
    if (entry->used == 0) {
        if (m->count == m->capacity)
            return false;
        m->count++;
    }
    *entry = (map_entry){.key = key, .value = value, .used = 1};
    return true;
}

/* An entry behind the gap moves into it unless its home lies between the two: a search that
 * starts there would never come past the gap. */
static void close_gap(map *m, uint32_t gap)
{
    for (uint32_t at = (gap + 1) & m->mask; m->entries[at].used != 0; at = (at + 1) & m->mask) {
        uint32_t from_home = (at - home(m, m->entries[at].key)) & m->mask;
        if (from_home >= ((at - gap) & m->mask)) {
            m->entries[gap] = m->entries[at];
            gap = at;
        }
    }
    m->entries[gap] = (map_entry){0};
}

bool map_remove(map *m, uint64_t key)
{
    uint32_t at = find(m, key);
    if (m->entries[at].used == 0)
        return false;
    m->count--;
    close_gap(m, at);
    return true;
}
