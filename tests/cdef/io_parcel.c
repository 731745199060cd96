static const char *trapped_memory_range(uint64_t handle, uint64_t offset, uint64_t length)
{
    struct iovec out[4];
    uint64_t covered;
    TRAPPED(memory_range(handle, offset, length, out, 4, &covered));
}
