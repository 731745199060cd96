/* bytes.h - "how do numbers become bytes, and back?"
 *
 *   reader   at                          end         every read moves `at`; the first one that
 *            |                            |          does not fit leaves it there and sets ok to
 *   ....[ read ][ still to read           ]          false for good, and all later ones give 0
 *
 * Little endian throughout. Parsing so has no error branches: read everything, then ask `ok`
 * once. A failed operation reads or writes nothing, not even the part that would have fitted.
 *
 * The trap: a value read before ok was asked may be a 0 that nobody sent. Do not act on it, and
 * do not loop on a count read so without asking ok in the loop. */
#ifndef RUDP_BASE_BYTES_H
#define RUDP_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* memcpy, because the address may be odd; the swap vanishes on little-endian machines. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BYTES_LITTLE(bits, value) (value)
#else
#define BYTES_LITTLE(bits, value) __builtin_bswap##bits(value)
#endif

#define BYTES_LOAD_AND_STORE(bits)                                                                 \
    static inline uint##bits##_t load_u##bits(const uint8_t *at)                                   \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        memcpy(&value, at, sizeof value);                                                          \
        return BYTES_LITTLE(bits, value);                                                          \
    }                                                                                              \
    static inline void store_u##bits(uint8_t *at, uint##bits##_t value)                            \
    {                                                                                              \
        value = BYTES_LITTLE(bits, value);                                                         \
        memcpy(at, &value, sizeof value);                                                          \
    }

BYTES_LOAD_AND_STORE(16)
BYTES_LOAD_AND_STORE(32)
BYTES_LOAD_AND_STORE(64)

#undef BYTES_LOAD_AND_STORE
#undef BYTES_LITTLE

typedef struct {
    const uint8_t *at;  /* the next byte to read */
    const uint8_t *end; /* one past the last byte */
    bool ok;            /* false once something did not fit */
} reader;

static inline reader reader_of(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    return (reader){at, size == 0 ? at : at + size, true};
}

/* How much is still to be read; 0 after a failure, so loops end. */
static inline size_t reader_left(const reader *r)
{
    return r->ok ? (size_t)(r->end - r->at) : 0;
}

/* The next n bytes in place, or NULL past the end. */
static inline const uint8_t *read_bytes(reader *r, size_t n)
{
    static const uint8_t nothing[1];
    if (!r->ok || n > reader_left(r)) {
        r->ok = false;
        return NULL;
    }
    const uint8_t *bytes = r->at;
    if (bytes == NULL) /* an empty read of a reader over nothing succeeds, and is not NULL */
        return nothing;
    r->at += n;
    return bytes;
}

static inline uint8_t read_u8(reader *r)
{
    const uint8_t *bytes = read_bytes(r, 1);
    return bytes == NULL ? 0 : *bytes;
}

static inline uint16_t read_u16(reader *r)
{
    const uint8_t *bytes = read_bytes(r, 2);
    return bytes == NULL ? 0 : load_u16(bytes);
}

static inline uint32_t read_u32(reader *r)
{
    const uint8_t *bytes = read_bytes(r, 4);
    return bytes == NULL ? 0 : load_u32(bytes);
}

static inline uint64_t read_u64(reader *r)
{
    const uint8_t *bytes = read_bytes(r, 8);
    return bytes == NULL ? 0 : load_u64(bytes);
}

typedef struct {
    uint8_t *at;  /* where the next byte goes */
    uint8_t *end; /* one past the last byte of room */
    bool ok;      /* false once something did not fit */
} writer;

static inline writer writer_of(void *bytes, size_t size)
{
    uint8_t *at = bytes;
    return (writer){at, size == 0 ? at : at + size, true};
}

/* How much room is left; 0 after a failure. */
static inline size_t writer_left(const writer *w)
{
    return w->ok ? (size_t)(w->end - w->at) : 0;
}

/* Room for n bytes which the caller fills in later (a length, a tag), or NULL if there is none. */
static inline uint8_t *write_gap(writer *w, size_t n)
{
    if (n > writer_left(w) || !w->ok || w->at == NULL) {
        w->ok = w->ok && n == 0;
        return NULL;
    }
    uint8_t *gap = w->at;
    w->at += n;
    return gap;
}

static inline void write_bytes(writer *w, const void *bytes, size_t n)
{
    uint8_t *gap = write_gap(w, n);
    if (gap != NULL && n > 0)
        memcpy(gap, bytes, n);
}

static inline void write_u8(writer *w, uint8_t value)
{
    uint8_t *gap = write_gap(w, 1);
    if (gap != NULL)
        *gap = value;
}

static inline void write_u16(writer *w, uint16_t value)
{
    uint8_t *gap = write_gap(w, 2);
    if (gap != NULL)
        store_u16(gap, value);
}

static inline void write_u32(writer *w, uint32_t value)
{
    uint8_t *gap = write_gap(w, 4);
    if (gap != NULL)
        store_u32(gap, value);
}

static inline void write_u64(writer *w, uint64_t value)
{
    uint8_t *gap = write_gap(w, 8);
    if (gap != NULL)
        store_u64(gap, value);
}

#endif
