/* guard.h - the least that protects a stream of chunks: a checksum, or a cipher.
 *
 *     header, body ............ piece by piece ............, tag      one message, one nonce
 *
 * This is what rudp does to the bytes of a lane, with nothing around it: CRC32C by rudp's own code,
 * after a piece was sent (the kernel's copy leaves it in the cache), or AES-256-GCM and
 * ChaCha20-Poly1305 by libcrypto, before it is sent, into a buffer that stays in the cache. So a
 * ratio to it says what rudp adds, and a ratio to "none" what protection costs here.
 *
 * The key is no secret: this is measured on loopback and guards nothing. */
#ifndef RUDP_BENCHMARKS_GUARD_H
#define RUDP_BENCHMARKS_GUARD_H

#include <openssl/evp.h>

#include "base/crc32c.h"
#include "yardstick.h"

enum { GUARD_TAG = 16, GUARD_PIECE = 512 << 10 };

typedef struct {
    EVP_CIPHER_CTX *context; /* NULL: no cipher */
    uint8_t *sealed;         /* GUARD_PIECE bytes; NULL: what is sent is the body itself */
    bool sums;
    uint32_t sum;
} guard;

/* name: "none", "crc32c", or as libcrypto calls the cipher. */
static inline guard guard_new(const char *name, bool sends)
{
    static const uint8_t key[32] = {1, 2, 3};
    guard g = {.sums = strcmp(name, "crc32c") == 0};
    if (g.sums || strcmp(name, "none") == 0)
        return g;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    g.context = EVP_CIPHER_CTX_new();
    if (!cipher || EVP_CipherInit_ex2(g.context, cipher, key, NULL, sends, NULL) != 1) {
        fputs("--guard must be none, crc32c, aes-256-gcm or chacha20-poly1305\n", stderr);
        exit(2);
    }
    EVP_CIPHER_free(cipher);
    g.sealed = sends ? malloc(GUARD_PIECE) : NULL;
    return g;
}

static inline bool guard_has_tag(const guard *g)
{
    return g->sums || g->context;
}

static inline void guard_begin(guard *g, uint64_t number)
{
    uint8_t nonce[12] = {0};
    memcpy(nonce + 4, &number, sizeof number);
    g->sum = 0;
    if (g->context)
        check(EVP_CipherInit_ex2(g->context, NULL, NULL, nonce, -1, NULL) == 1, "nonce");
}

/* Seals or opens; `to` may be `from`. */
static inline void guard_cipher(guard *g, const uint8_t *from, uint8_t *to, size_t size)
{
    int done;
    if (g->context)
        check(EVP_CipherUpdate(g->context, to, &done, from, (int)size) == 1, "cipher");
}

static inline void guard_sum(guard *g, const uint8_t *at, size_t size)
{
    if (g->sums)
        g->sum = crc32c(g->sum, at, size);
}

static inline void guard_make_tag(guard *g, uint8_t tag[GUARD_TAG])
{
    int done;
    memset(tag, 0, GUARD_TAG);
    memcpy(tag, &g->sum, sizeof g->sum);
    if (!g->context)
        return;
    check(EVP_CipherFinal_ex(g->context, tag, &done) == 1, "seal");
    check(EVP_CIPHER_CTX_ctrl(g->context, EVP_CTRL_AEAD_GET_TAG, GUARD_TAG, tag) == 1, "tag");
}

static inline void guard_check_tag(guard *g, uint8_t tag[GUARD_TAG])
{
    int done;
    bool good = memcmp(tag, &g->sum, sizeof g->sum) == 0;
    if (g->context)
        good = EVP_CIPHER_CTX_ctrl(g->context, EVP_CTRL_AEAD_SET_TAG, GUARD_TAG, tag) == 1 &&
               EVP_CipherFinal_ex(g->context, tag, &done) == 1;
    check(good, "the tag does not fit");
}

#endif
