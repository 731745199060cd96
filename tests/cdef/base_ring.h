typedef struct {
    ...;
} ring;

size_t ring_size(uint32_t count, uint32_t entry_size);
void ring_init(ring *r, void *memory, uint32_t count, uint32_t entry_size);
void *ring_reserve(ring *r, uint64_t *ticket);
void ring_publish(ring *r, uint64_t ticket);
void *ring_front(ring *r);
void ring_pop(ring *r);
bool ring_empty(const ring *r);

const char *trapped_ring_init(ring *r, void *memory, uint32_t count, uint32_t entry_size);
const char *trapped_ring_pop(ring *r);
