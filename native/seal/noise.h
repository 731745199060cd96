/* noise.h - "what do the two handshake messages of Noise NNpsk0 contain?"
 *
 *   Noise_NNpsk0_25519_ChaChaPoly_SHA256, exactly this pattern and no other (K3):
 *
 *      dialler                                         acceptor
 *        -> psk, e          ephemeral 32, payload, tag 16
 *        <- e, ee           ephemeral 32, payload, tag 16
 *
 * Pure: the ephemeral private key is 32 bytes handed in, never made here. The state between the
 * messages is 128 bytes; the key of each payload lives only inside one call.
 *
 * Trap: an ephemeral key must serve one handshake. A retry is a new message with a new key, not the
 * old bytes again, and an acceptor that answers twice uses two keys. */
#ifndef RUDP_SEAL_NOISE_H
#define RUDP_SEAL_NOISE_H

#include "seal/aead.h"

#define NOISE_OVERHEAD (32 + AEAD_TAG)

typedef struct {
    uint8_t chain[AEAD_HASH];
    uint8_t hash[AEAD_HASH];
    uint8_t public[32];  /* the dialler's ephemeral key, on both sides */
    uint8_t private[32]; /* its other half, at the dialler only */
} noise;

/* Both sides begin with the same prologue and key, or the first message does not verify. */
void noise_begin(noise *n, const uint8_t *prologue, size_t size, const uint8_t psk[32]);

/* Message 1 or 2 is size + NOISE_OVERHEAD bytes at `out`. `size` counts the payload. The second
 * is not written (false) if the dialler's ephemeral key has low order. */
void noise_write_first(noise *n, const uint8_t private[32], const uint8_t *payload, size_t size,
                       uint8_t *out);
bool noise_write_second(noise *n, const uint8_t private[32], const uint8_t *payload, size_t size,
                        uint8_t *out);

/* `size` counts the message, the payload has NOISE_OVERHEAD bytes less. False leaves `n` as it was,
 * so that a forged answer cannot end a dial; the payload buffer may hold anything then. */
bool noise_read_first(noise *n, const uint8_t *in, size_t size, uint8_t *payload);
bool noise_read_second(noise *n, const uint8_t *in, size_t size, uint8_t *payload);

/* After message 2: the key of the dialler's direction and of the acceptor's. */
void noise_split(const noise *n, uint8_t from_dialler[AEAD_KEY], uint8_t from_acceptor[AEAD_KEY]);

#endif
