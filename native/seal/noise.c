#include "seal/noise.h"

#include <string.h>

/* 36 characters are longer than a hash, so Noise begins with the hash of the name (5.2). */
static const char name[] = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";

static void mix_hash(noise *n, const uint8_t *bytes, size_t size)
{
    aead_piece pieces[] = {{n->hash, sizeof n->hash}, {bytes, size}};
    aead_sha256(pieces, 2, n->hash);
}

/* Leaves the payload's key in `key`; its nonce is 0, because each key seals one payload. */
static void mix_key(noise *n, const uint8_t input[32], uint8_t key[AEAD_KEY])
{
    uint8_t out[2][AEAD_HASH];
    aead_hkdf(n->chain, input, 32, out, 2);
    memcpy(n->chain, out[0], AEAD_HASH);
    memcpy(key, out[1], AEAD_KEY);
    aead_wipe(out, sizeof out);
}

static void mix_key_and_hash(noise *n, const uint8_t input[32])
{
    uint8_t out[3][AEAD_HASH];
    aead_hkdf(n->chain, input, 32, out, 3);
    memcpy(n->chain, out[0], AEAD_HASH);
    mix_hash(n, out[1], AEAD_HASH);
    aead_wipe(out, sizeof out); /* the third is a key that psk0 replaces before using it */
}

/* The token e: in a pattern with psk, the public key goes into the keys too (9.2). */
static void mix_ephemeral(noise *n, const uint8_t public[32], uint8_t key[AEAD_KEY])
{
    mix_hash(n, public, 32);
    mix_key(n, public, key);
}

static void seal_payload(noise *n, const uint8_t key[AEAD_KEY], const uint8_t *payload, size_t size,
                         uint8_t *out)
{
    aead_context c = {0};
    aead_key(&c, CIPHER_CHACHA20_POLY1305, true, key);
    aead_begin(&c, 0, n->hash, sizeof n->hash);
    aead_update(&c, payload, out, size);
    aead_seal_finish(&c, out + size);
    aead_drop(&c);
    mix_hash(n, out, size + AEAD_TAG);
}

/* `size` counts the payload without its tag. Hashes before it opens, for `payload` may be `in`. */
static bool open_payload(noise *n, const uint8_t key[AEAD_KEY], const uint8_t *in, size_t size,
                         uint8_t *payload)
{
    aead_context c = {0};
    aead_key(&c, CIPHER_CHACHA20_POLY1305, false, key);
    aead_begin(&c, 0, n->hash, sizeof n->hash);
    mix_hash(n, in, size + AEAD_TAG);
    aead_update(&c, in, payload, size);
    bool genuine = aead_open_finish(&c, in + size);
    aead_drop(&c);
    return genuine;
}

void noise_begin(noise *n, const uint8_t *prologue, size_t size, const uint8_t psk[32])
{
    memset(n, 0, sizeof *n);
    aead_sha256(&(aead_piece){name, sizeof name - 1}, 1, n->hash);
    memcpy(n->chain, n->hash, sizeof n->chain);
    mix_hash(n, prologue, size);
    mix_key_and_hash(n, psk);
}

void noise_write_first(noise *n, const uint8_t private[32], const uint8_t *payload, size_t size,
                       uint8_t *out)
{
    uint8_t key[AEAD_KEY];
    memcpy(n->private, private, 32);
    aead_public(private, out);
    memcpy(n->public, out, 32);
    mix_ephemeral(n, out, key);
    seal_payload(n, key, payload, size, out + 32);
    aead_wipe(key, sizeof key);
}

bool noise_read_first(noise *n, const uint8_t *in, size_t size, uint8_t *payload)
{
    if (size < NOISE_OVERHEAD)
        return false;
    noise next = *n;
    uint8_t key[AEAD_KEY];
    memcpy(next.public, in, 32);
    mix_ephemeral(&next, in, key);
    bool genuine = open_payload(&next, key, in + 32, size - NOISE_OVERHEAD, payload);
    if (genuine)
        *n = next;
    aead_wipe(&next, sizeof next);
    aead_wipe(key, sizeof key);
    return genuine;
}

bool noise_write_second(noise *n, const uint8_t private[32], const uint8_t *payload, size_t size,
                        uint8_t *out)
{
    uint8_t key[AEAD_KEY], shared[32];
    aead_public(private, out);
    mix_ephemeral(n, out, key);
    bool sound = aead_dh(private, out, n->public, shared);
    if (sound) {
        mix_key(n, shared, key);
        seal_payload(n, key, payload, size, out + 32);
    }
    aead_wipe(key, sizeof key);
    aead_wipe(shared, sizeof shared);
    return sound;
}

bool noise_read_second(noise *n, const uint8_t *in, size_t size, uint8_t *payload)
{
    if (size < NOISE_OVERHEAD)
        return false;
    noise next = *n;
    uint8_t key[AEAD_KEY], shared[32];
    mix_ephemeral(&next, in, key);
    bool genuine = aead_dh(n->private, n->public, in, shared);
    if (genuine) {
        mix_key(&next, shared, key);
        genuine = open_payload(&next, key, in + 32, size - NOISE_OVERHEAD, payload);
    }
    if (genuine)
        *n = next;
    aead_wipe(&next, sizeof next);
    aead_wipe(key, sizeof key);
    aead_wipe(shared, sizeof shared);
    return genuine;
}

void noise_split(const noise *n, uint8_t from_dialler[AEAD_KEY], uint8_t from_acceptor[AEAD_KEY])
{
    uint8_t out[2][AEAD_HASH];
    aead_hkdf(n->chain, NULL, 0, out, 2);
    memcpy(from_dialler, out[0], AEAD_KEY);
    memcpy(from_acceptor, out[1], AEAD_KEY);
    aead_wipe(out, sizeof out);
}
