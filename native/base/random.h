/* random.h - "what did chance say?"
 *
 *   seed, 32 bytes --> ChaCha20, nonce 0 --> block 0 | block 1 | block 2 ...
 *
 * All randomness of a node comes from one seed: io/ takes it from the kernel, a test gives it,
 * and the same seed then gives the same course of events. ChaCha20 rather than something quicker
 * because session ids and challenges come from here, and a peer who sees some of them must not
 * learn the next.
 *
 * The trap: whoever reads this structure knows all that it gave and will give. Long-term keys
 * do not come from here. */
#ifndef RUDP_BASE_RANDOM_H
#define RUDP_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

enum { RANDOM_SEED_SIZE = 32, RANDOM_BLOCK_SIZE = 64 };

typedef struct {
    uint32_t state[16];               /* RFC 8439, 2.3: constants, key, counter, nonce */
    uint8_t block[RANDOM_BLOCK_SIZE]; /* keystream made but not all given out */
    uint32_t given;                   /* bytes of block given out */
} random_source;

void random_init(random_source *r, const uint8_t seed[RANDOM_SEED_SIZE]);

uint64_t random_u64(random_source *r);

/* Below bound, every value equally likely. ENSURE: bound is not 0. */
uint64_t random_below(random_source *r, uint64_t bound);

void random_bytes(random_source *r, void *out, size_t size);

/* One block of ChaCha20 keystream from a state; the counter is not moved (RFC 8439, 2.3). */
void random_block(const uint32_t state[16], uint8_t out[RANDOM_BLOCK_SIZE]);

#endif
