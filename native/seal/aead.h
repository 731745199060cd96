/* aead.h - "which primitives do we have, and how are they called?"
 *
 * The only door to libcrypto: aead_openssl.c is the one file that includes its headers, and
 * nothing in this project computes cryptography of its own.
 *
 *        keys, nonces, bytes                          32-byte secrets
 *   seal.c  segment.c  noise.c  ----> aead.h <----  noise.c  hello.c
 *                                     |
 *                              aead_openssl.c -> libcrypto 3.0 or newer
 *
 * Keying a cipher costs more than sealing a packet, so a keyed context is kept and reused. A
 * session does not own contexts, else 10,000 idle sessions would hold 20,000 of them on
 * libcrypto's heap: it borrows them from a bounded cache (aead_cache.h) under its owner's lock.
 *
 * Two traps. One nonce under one key seals one message, ever (K1): this file cannot check it, its
 * callers count. And a context keeps a copy of its key: whoever wipes a key also drops the
 * context that was keyed with it.
 *
 * Our own code stays free of malloc; libcrypto allocates inside. If it cannot, or if a primitive
 * that was available fails on sound input, that is a broken invariant and not a peer's doing. */
#ifndef RUDP_SEAL_AEAD_H
#define RUDP_SEAL_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AEAD_KEY  32
#define AEAD_TAG  16
#define AEAD_HASH 32

/* How a session protects its packets and segments. The numbers travel in handshakes (K3). */
typedef enum cipher {
    CIPHER_PLAIN = 0, /* no secrecy: CRC32C in place of the tag (K11) */
    CIPHER_AES_256_GCM = 1,
    CIPHER_CHACHA20_POLY1305 = 2,
    CIPHER_COUNT
} cipher;

/* Whether this libcrypto has the cipher (a restricted provider may not). Plain is always there. */
bool aead_available(cipher kind);

/* AES-256-GCM where the processor has instructions for it, else ChaCha20-Poly1305, whose software
 * form is fast and takes constant time everywhere. */
cipher aead_preferred(void);

/* One keyed cipher in one direction. All zero bytes are a valid, empty context. One thread at a
 * time, or one lock. */
typedef struct {
    void *inside;          /* libcrypto's context, NULL until first keyed */
    uint64_t used;         /* the cache's clock at the last use */
    uint8_t key[AEAD_KEY]; /* what `inside` is keyed with: a key is its own name */
    uint8_t kind;          /* a cipher, CIPHER_PLAIN while empty */
    bool sealing;
} aead_context;

/* Makes the context ready for this key; costs nothing if it already is. */
void aead_key(aead_context *c, cipher kind, bool sealing, const uint8_t key[AEAD_KEY]);

/* One message: begin, any number of updates, one finish. `in` may equal `out`. The nonce becomes
 * 4 zero bytes and 64 bits, big endian for AES-GCM and little for ChaCha20, as Noise has it.
 * Nothing that an opening context writes may be believed before aead_open_finish said true. */
void aead_begin(aead_context *c, uint64_t nonce, const uint8_t *ad, size_t ad_size);
void aead_update(aead_context *c, const uint8_t *in, uint8_t *out, size_t size);
void aead_seal_finish(aead_context *c, uint8_t tag[AEAD_TAG]);
bool aead_open_finish(aead_context *c, const uint8_t tag[AEAD_TAG]);

/* Wipes the key, gives libcrypto's memory back (it wipes the key schedule) and empties `c`. */
void aead_drop(aead_context *c);

/* A list of byte strings hashed as if they stood one behind the other. */
typedef struct {
    const void *bytes;
    size_t size;
} aead_piece;

void aead_sha256(const aead_piece *pieces, size_t count, uint8_t out[AEAD_HASH]);
void aead_hmac(const uint8_t key[AEAD_KEY], const aead_piece *pieces, size_t count,
               uint8_t out[AEAD_HASH]);

/* The first 16 bytes of the same, with a context left keyed for the next call: for a key that lives
 * as long as the process and checks floods (K4). aead_hmac leaves nothing behind. */
#define AEAD_CHECK 16
void aead_check(const uint8_t key[AEAD_KEY], const aead_piece *pieces, size_t count,
                uint8_t out[AEAD_CHECK]);

/* HKDF as Noise defines it: `outputs` (2 or 3) blocks from a chaining key and input of 0 or 32
 * bytes. `out` may overlap neither. */
void aead_hkdf(const uint8_t chain[AEAD_HASH], const uint8_t *input, size_t size,
               uint8_t out[][AEAD_HASH], size_t outputs);

/* X25519. Any 32 bytes are a private key, and `public` must be what aead_public makes of it.
 * aead_dh is false for an `other` key of low order, whose shared secret everybody knows. */
void aead_public(const uint8_t private[32], uint8_t public[32]);
bool aead_dh(const uint8_t private[32], const uint8_t public[32], const uint8_t other[32],
             uint8_t shared[32]);

/* In a time that tells nothing about where the first difference is. */
bool aead_equal(const void *a, const void *b, size_t size);

/* Overwrites; the compiler cannot drop it although nobody reads the memory again. */
void aead_wipe(void *bytes, size_t size);

#endif
