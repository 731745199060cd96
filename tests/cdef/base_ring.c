static const char *trapped_ring_init(ring *r, void *memory, uint32_t count, uint32_t entry_size)
{
    TRAPPED(ring_init(r, memory, count, entry_size));
}

static const char *trapped_ring_pop(ring *r)
{
    TRAPPED(ring_pop(r));
}
