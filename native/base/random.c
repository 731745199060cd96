#include "base/random.h"

#include "base/bytes.h"
#include "base/ensure.h"

static uint32_t rotate(uint32_t v, unsigned bits)
{
    return v << bits | v >> (32 - bits);
}

static void quarter(uint32_t x[16], int a, int b, int c, int d)
{
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 16);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 12);
    x[a] += x[b];
    x[d] = rotate(x[d] ^ x[a], 8);
    x[c] += x[d];
    x[b] = rotate(x[b] ^ x[c], 7);
}

void random_block(const uint32_t state[16], uint8_t out[RANDOM_BLOCK_SIZE])
{
    uint32_t x[16];
    memcpy(x, state, sizeof x);
    for (int i = 0; i < 10; i++) {
        quarter(x, 0, 4, 8, 12);
        quarter(x, 1, 5, 9, 13);
        quarter(x, 2, 6, 10, 14);
        quarter(x, 3, 7, 11, 15);
        quarter(x, 0, 5, 10, 15);
        quarter(x, 1, 6, 11, 12);
        quarter(x, 2, 7, 8, 13);
        quarter(x, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++)
        store_u32(out + 4 * i, x[i] + state[i]);
}

void random_init(random_source *r, const uint8_t seed[RANDOM_SEED_SIZE])
{
    *r = (random_source){
        .state = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, /* "expand 32-byte k" */
        .given = RANDOM_BLOCK_SIZE,
    };
    for (int i = 0; i < 8; i++)
        r->state[4 + i] = load_u32(seed + 4 * i);
}

static void next_block(random_source *r)
{
    random_block(r->state, r->block);
    r->given = 0;
    if (++r->state[12] == 0) /* 256 GiB later: the nonce's first word counts on */
        r->state[13]++;
}

void random_bytes(random_source *r, void *out, size_t size)
{
    uint8_t *at = out;
    while (size > 0) {
        if (r->given == RANDOM_BLOCK_SIZE)
            next_block(r);
        size_t n = RANDOM_BLOCK_SIZE - r->given;
        if (n > size)
            n = size;
        memcpy(at, r->block + r->given, n);
        memset(r->block + r->given, 0, n); /* what was given out is kept nowhere */
        r->given += (uint32_t)n;
        at += n;
        size -= n;
    }
}

uint64_t random_u64(random_source *r)
{
    uint8_t bytes[8];
    random_bytes(r, bytes, sizeof bytes);
    return load_u64(bytes);
}

/* A remainder alone would favour small values, because 2^64 is no multiple of most bounds: the
 * first 2^64 % bound draws are thrown away. On average that is less than one draw more. */
uint64_t random_below(random_source *r, uint64_t bound)
{
    ENSURE(bound != 0);
    uint64_t unfair = (0 - bound) % bound;
    uint64_t draw;
    do {
        draw = random_u64(r);
    } while (draw < unfair);
    return draw % bound;
}
