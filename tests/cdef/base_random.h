typedef struct {
    uint32_t state[16];
    ...;
} random_source;

void random_init(random_source *r, const uint8_t *seed);
uint64_t random_u64(random_source *r);
uint64_t random_below(random_source *r, uint64_t bound);
void random_bytes(random_source *r, void *out, size_t size);
void random_block(const uint32_t *state, uint8_t *out);

const char *trapped_random_below(random_source *r, uint64_t bound);
