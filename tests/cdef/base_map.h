typedef struct {
    uint64_t key;
    uint32_t value, used;
} map_entry;

typedef struct {
    map_entry *entries;
    uint64_t seed;
    uint32_t mask, count, capacity;
} map;

size_t map_size(uint32_t capacity);
void map_init(map *m, void *memory, uint32_t capacity, uint64_t seed);
bool map_get(const map *m, uint64_t key, uint32_t *value);
bool map_put(map *m, uint64_t key, uint32_t value);
bool map_remove(map *m, uint64_t key);
uint32_t map_count(const map *m);
