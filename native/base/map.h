/* map.h - "which index belongs to this key?"
 *
 *   home(key)  |
 *              v
 *   [ . ][ . ][ A ][ B ][ A ][ . ][ C ]      looked up from the home on, up to the first gap
 *
 * Open addressing, at most half full, 64-bit keys to 32-bit values. A removed entry leaves no
 * tombstone: those behind it move up, so that the table is as good after a year as at the start.
 *
 * Peers choose some of the keys. The home is therefore SipHash under a secret random seed:
 * without it nobody can make keys that all start at one place. */
#ifndef RUDP_BASE_MAP_H
#define RUDP_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t key;
    uint32_t value;
    uint32_t used; /* 0 or 1 */
} map_entry;

typedef struct {
    map_entry *entries;
    uint64_t seed;
    uint32_t mask;     /* entries - 1; their number is a power of two */
    uint32_t count;    /* keys in it */
    uint32_t capacity; /* keys at most */
} map;

/* Bytes of memory that map_init will use; a multiple of 8. capacity: up to 2^30. */
size_t map_size(uint32_t capacity);

/* memory: aligned to 8. seed: random and secret where peers choose keys. */
void map_init(map *m, void *memory, uint32_t capacity, uint64_t seed);

/* False, and value untouched, if the key is not in it. */
bool map_get(const map *m, uint64_t key, uint32_t *value);

/* Replaces the value of a key that is in it. False if it is not and the map is full. */
bool map_put(map *m, uint64_t key, uint32_t value);

/* False if the key was not in it. */
bool map_remove(map *m, uint64_t key);

static inline uint32_t map_count(const map *m)
{
    return m->count;
}

#endif
