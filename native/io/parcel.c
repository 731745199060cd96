/* parcel.c - many buffers seen as one range of bytes. */
#include "io/parcel.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "io/pool.h"

parcel *parcel_new(uint64_t token, uint32_t count, void *const *parts, const size_t *sizes)
{
    parcel *m = malloc(sizeof *m + count * sizeof m->parts[0]);
    if (m == NULL)
        return NULL;
    *m = (parcel){.kind = MEMORY_PARCEL, .token = token};
    for (uint32_t i = 0; i < count; i++) {
        if (sizes[i] == 0)
            continue;
        m->size += sizes[i];
        m->parts[m->count++] = (parcel_part){parts[i], m->size};
    }
    return m;
}

void parcel_free(parcel *m)
{
    m->kind = 0;
    free(m);
}

/* The first part that ends after the offset. */
static uint32_t parcel_find(const parcel *m, uint64_t offset)
{
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->parts[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static uint32_t parcel_range(const parcel *m, uint64_t offset, uint64_t length, struct iovec *out,
                             uint32_t most, uint64_t *covered)
{
    uint32_t count = 0;
    for (uint32_t i = parcel_find(m, offset); length > 0 && count < most; i++) {
        uint64_t begin = i == 0 ? 0 : m->parts[i - 1].end;
        uint64_t left = m->parts[i].end - offset;
        uint64_t size = left < length ? left : length;
        out[count++] = (struct iovec){m->parts[i].bytes + (offset - begin), (size_t)size};
        offset += size;
        length -= size;
        *covered += size;
    }
    return count;
}

uint32_t memory_range(uint64_t handle, uint64_t offset, uint64_t length, struct iovec *out,
                      uint32_t most, uint64_t *covered)
{
    *covered = 0;
    if (memory_kind(handle) == MEMORY_BLOCK) {
        const block *b = pool_filled((const block *)(uintptr_t)handle);
        ENSURE(offset <= b->size && length <= b->size - offset);
        if (length == 0 || most == 0)
            return 0;
        out[0] = (struct iovec){b->data + offset, (size_t)length};
        *covered = length;
        return 1;
    }
    const parcel *m = (const parcel *)(uintptr_t)handle;
    ENSURE(m->kind == MEMORY_PARCEL && offset <= m->size && length <= m->size - offset);
    return parcel_range(m, offset, length, out, most, covered);
}
