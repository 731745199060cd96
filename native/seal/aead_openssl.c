/* The only file that knows which library computes. Every result of libcrypto is looked at: what
 * can fail by a peer's bytes gives false, all else is a broken invariant (no memory, no provider).
 *
 * Algorithms are fetched once and kept for the life of the process: a fetch by name takes a lock
 * and longer than sealing a packet. */
#include "seal/aead.h"

#include <limits.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#if defined(__aarch64__)
/* tidy: allow sys/auxv.h: whether this CPU has AES is asked once */
#include <sys/auxv.h>
#endif

#include "base/bytes.h"
#include "base/ensure.h"

/* -- algorithms -------------------------------------------------------------------------------- */

/* Two threads may fetch the same at once; the second one gives its copy back. */
static EVP_CIPHER *cipher_fetch(cipher kind)
{
    static EVP_CIPHER *fetched[CIPHER_COUNT];
    static const char *const names[CIPHER_COUNT] = {
        [CIPHER_AES_256_GCM] = "AES-256-GCM",
        [CIPHER_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
    };
    EVP_CIPHER *found = __atomic_load_n(&fetched[kind], __ATOMIC_ACQUIRE);
    if (found != NULL)
        return found;
    EVP_CIPHER *mine = EVP_CIPHER_fetch(NULL, names[kind], NULL);
    if (__atomic_compare_exchange_n(&fetched[kind], &found, mine, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return mine;
    EVP_CIPHER_free(mine);
    return found;
}

static EVP_MD *digest_fetch(void)
{
    static EVP_MD *fetched;
    EVP_MD *found = __atomic_load_n(&fetched, __ATOMIC_ACQUIRE);
    if (found != NULL)
        return found;
    EVP_MD *mine = EVP_MD_fetch(NULL, "SHA256", NULL);
    ENSURE(mine != NULL);
    if (__atomic_compare_exchange_n(&fetched, &found, mine, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return mine;
    EVP_MD_free(mine);
    return found;
}

bool aead_available(cipher kind)
{
    if (kind == CIPHER_PLAIN)
        return true;
    return (unsigned)kind < CIPHER_COUNT && cipher_fetch(kind) != NULL;
}

/* AES without its instructions is slow or leaks by timing; GCM needs the carry-less product too. */
static bool processor_has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    const unsigned long aes_and_pmull = 1UL << 3 | 1UL << 4;
    return (getauxval(AT_HWCAP) & aes_and_pmull) == aes_and_pmull;
#else
    return false;
#endif
}

cipher aead_preferred(void)
{
    if (processor_has_aes() && aead_available(CIPHER_AES_256_GCM))
        return CIPHER_AES_256_GCM;
    return aead_available(CIPHER_CHACHA20_POLY1305) ? CIPHER_CHACHA20_POLY1305 : CIPHER_AES_256_GCM;
}

/* -- one message under one key ----------------------------------------------------------------- */

void aead_key(aead_context *c, cipher kind, bool sealing, const uint8_t key[AEAD_KEY])
{
    ENSURE(kind == CIPHER_AES_256_GCM || kind == CIPHER_CHACHA20_POLY1305);
    if (c->kind == kind && c->sealing == sealing && memcmp(c->key, key, AEAD_KEY) == 0)
        return;
    if (c->inside == NULL)
        c->inside = EVP_CIPHER_CTX_new();
    ENSURE(c->inside != NULL);
    /* Naming the cipher again would free and allocate the whole context: only the key changes. */
    const EVP_CIPHER *algorithm = c->kind == kind ? NULL : cipher_fetch(kind);
    ENSURE(EVP_CipherInit_ex2(c->inside, algorithm, key, NULL, sealing, NULL) == 1);
    memcpy(c->key, key, AEAD_KEY);
    c->kind = (uint8_t)kind;
    c->sealing = sealing;
}

void aead_begin(aead_context *c, uint64_t nonce, const uint8_t *ad, size_t ad_size)
{
    uint8_t iv[12] = {0};
    store_u64(iv + 4, c->kind == CIPHER_AES_256_GCM ? __builtin_bswap64(nonce) : nonce);
    ENSURE(EVP_CipherInit_ex2(c->inside, NULL, NULL, iv, c->sealing, NULL) == 1);
    int done;
    ENSURE(ad_size <= INT_MAX);
    if (ad_size > 0)
        ENSURE(EVP_CipherUpdate(c->inside, NULL, &done, ad, (int)ad_size) == 1);
}

void aead_update(aead_context *c, const uint8_t *in, uint8_t *out, size_t size)
{
    while (size > 0) {
        int part = size > 1 << 30 ? 1 << 30 : (int)size; /* libcrypto counts in int */
        int done;
        ENSURE(EVP_CipherUpdate(c->inside, out, &done, in, part) == 1 && done == part);
        in += part;
        out += part;
        size -= (size_t)part;
    }
}

/* Parameters directly: the older control call for tags makes the same and costs 25 ns more. */
void aead_seal_finish(aead_context *c, uint8_t tag[AEAD_TAG])
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, AEAD_TAG),
        OSSL_PARAM_construct_end(),
    };
    int done;
    ENSURE(EVP_CipherFinal_ex(c->inside, tag, &done) == 1 && done == 0);
    ENSURE(EVP_CIPHER_CTX_get_params(c->inside, parameters) == 1);
}

bool aead_open_finish(aead_context *c, const uint8_t tag[AEAD_TAG])
{
    uint8_t copy[AEAD_TAG]; /* parameters are not const */
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, copy, AEAD_TAG),
        OSSL_PARAM_construct_end(),
    };
    int done;
    memcpy(copy, tag, AEAD_TAG);
    ENSURE(EVP_CIPHER_CTX_set_params(c->inside, parameters) == 1);
    return EVP_CipherFinal_ex(c->inside, copy, &done) == 1;
}

void aead_drop(aead_context *c)
{
    EVP_CIPHER_CTX_free(c->inside);
    aead_wipe(c, sizeof *c);
}

/* -- hashes ------------------------------------------------------------------------------------ */

void aead_sha256(const aead_piece *pieces, size_t count, uint8_t out[AEAD_HASH])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    ENSURE(context != NULL && EVP_DigestInit_ex2(context, digest_fetch(), NULL) == 1);
    for (size_t i = 0; i < count; i++)
        ENSURE(EVP_DigestUpdate(context, pieces[i].bytes, pieces[i].size) == 1);
    ENSURE(EVP_DigestFinal_ex(context, out, NULL) == 1);
    EVP_MD_CTX_free(context);
}

/* Making a MAC context costs 2 us, using one 0.5 to 0.9: so a few are kept for whichever thread
 * comes. One that finds them all busy makes its own for the moment. */
typedef struct {
    EVP_MAC_CTX *inside;
    bool busy;
    bool keyed;
    uint8_t key[AEAD_KEY]; /* what it is keyed with, if keyed */
} mac;

enum { MACS = 4 };

static EVP_MAC_CTX *mac_make(void)
{
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *made = EVP_MAC_CTX_new(algorithm);
    ENSURE(made != NULL && EVP_MAC_CTX_set_params(made, parameters) == 1);
    EVP_MAC_free(algorithm); /* the context holds it */
    return made;
}

static mac *mac_take(mac *kept, mac *spare)
{
    mac *taken = spare;
    for (size_t i = 0; i < MACS && taken == spare; i++)
        if (!__atomic_exchange_n(&kept[i].busy, true, __ATOMIC_ACQUIRE))
            taken = &kept[i];
    if (taken->inside == NULL)
        taken->inside = mac_make();
    return taken;
}

static void mac_give(mac *taken, const mac *spare)
{
    if (taken == spare) {
        EVP_MAC_CTX_free(taken->inside);
        aead_wipe(taken, sizeof *taken);
    } else {
        __atomic_store_n(&taken->busy, false, __ATOMIC_RELEASE);
    }
}

static void mac_key(mac *m, const uint8_t key[AEAD_KEY])
{
    bool same = m->keyed && aead_equal(m->key, key, AEAD_KEY);
    ENSURE(EVP_MAC_init(m->inside, same ? NULL : key, same ? 0 : AEAD_KEY, NULL) == 1);
    memcpy(m->key, key, AEAD_KEY);
    m->keyed = true;
}

static void mac_compute(mac *m, const aead_piece *pieces, size_t count, uint8_t out[AEAD_HASH])
{
    size_t done;
    for (size_t i = 0; i < count; i++)
        ENSURE(EVP_MAC_update(m->inside, pieces[i].bytes, pieces[i].size) == 1);
    ENSURE(EVP_MAC_final(m->inside, out, &done, AEAD_HASH) == 1 && done == AEAD_HASH);
}

void aead_hmac(const uint8_t key[AEAD_KEY], const aead_piece *pieces, size_t count,
               uint8_t out[AEAD_HASH])
{
    static const uint8_t nothing[AEAD_KEY];
    static mac kept[MACS];
    mac spare = {0};
    mac *m = mac_take(kept, &spare);
    mac_key(m, key);
    mac_compute(m, pieces, count, out);
    mac_key(m, nothing); /* overwrites the key inside libcrypto */
    mac_give(m, &spare);
}

void aead_check(const uint8_t key[AEAD_KEY], const aead_piece *pieces, size_t count,
                uint8_t out[AEAD_CHECK])
{
    static mac kept[MACS];
    mac spare = {0};
    uint8_t whole[AEAD_HASH];
    mac *m = mac_take(kept, &spare);
    mac_key(m, key);
    mac_compute(m, pieces, count, whole);
    mac_give(m, &spare);
    memcpy(out, whole, AEAD_CHECK);
}

void aead_hkdf(const uint8_t chain[AEAD_HASH], const uint8_t *input, size_t size,
               uint8_t out[][AEAD_HASH], size_t outputs)
{
    uint8_t middle[AEAD_HASH];
    ENSURE(outputs >= 1 && outputs <= 3);
    aead_hmac(chain, &(aead_piece){input, size}, 1, middle);
    for (size_t i = 0; i < outputs; i++) {
        uint8_t ordinal = (uint8_t)(i + 1);
        aead_piece pieces[] = {{i > 0 ? out[i - 1] : NULL, i > 0 ? AEAD_HASH : 0}, {&ordinal, 1}};
        aead_hmac(middle, pieces, 2, out[i]);
    }
    aead_wipe(middle, sizeof middle);
}

/* -- X25519 ------------------------------------------------------------------------------------ */

void aead_public(const uint8_t private[32], uint8_t public[32])
{
    size_t size = 32;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, private, 32);
    ENSURE(key != NULL && EVP_PKEY_get_raw_public_key(key, public, &size) == 1 && size == 32);
    EVP_PKEY_free(key);
}

/* With only the private half, libcrypto would compute the public one again, which takes longer than
 * the exchange itself. */
static EVP_PKEY *pair_of(const uint8_t private[32], const uint8_t public[32])
{
    uint8_t halves[2][32]; /* parameters are not const */
    memcpy(halves[0], private, 32);
    memcpy(halves[1], public, 32);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, halves[0], 32),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, halves[1], 32),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *pair = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
    ENSURE(context != NULL && EVP_PKEY_fromdata_init(context) == 1);
    ENSURE(EVP_PKEY_fromdata(context, &pair, EVP_PKEY_KEYPAIR, parameters) == 1);
    EVP_PKEY_CTX_free(context);
    aead_wipe(halves, sizeof halves);
    return pair;
}

bool aead_dh(const uint8_t private[32], const uint8_t public[32], const uint8_t other[32],
             uint8_t shared[32])
{
    size_t size = 32;
    EVP_PKEY *mine = pair_of(private, public);
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, other, 32);
    ENSURE(peer != NULL);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, mine, NULL);
    ENSURE(context != NULL && EVP_PKEY_derive_init(context) == 1);
    ENSURE(EVP_PKEY_derive_set_peer_ex(context, peer, 0) == 1);
    bool derived = EVP_PKEY_derive(context, shared, &size) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(mine);
    return derived;
}

/* -- memory ------------------------------------------------------------------------------------ */

bool aead_equal(const void *a, const void *b, size_t size)
{
    return CRYPTO_memcmp(a, b, size) == 0;
}

void aead_wipe(void *bytes, size_t size)
{
    OPENSSL_cleanse(bytes, size);
}
