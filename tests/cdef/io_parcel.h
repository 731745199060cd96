struct iovec {
    void *iov_base;
    size_t iov_len;
};

typedef struct rudp_memory {
    uint32_t count;
    uint64_t token;
    uint64_t size;
    ...;
} parcel;

parcel *parcel_new(uint64_t token, uint32_t count, void *const *parts, const size_t *sizes);
void parcel_free(parcel *m);
uint64_t memory_handle(const void *thing);
uint32_t memory_range(uint64_t handle, uint64_t offset, uint64_t length, struct iovec *out,
                      uint32_t most, uint64_t *covered);
const char *trapped_memory_range(uint64_t handle, uint64_t offset, uint64_t length);
