/* aead_cache.h - "is there a context already keyed for this session?"
 *
 *   key byte 0 -> set      [ way 0 | way 1 | way 2 | way 3 ]    the least recently used leaves
 *
 * Keys are uniformly random, so the first byte of a key is as good as a hash of it. A context is
 * found by the whole key: nothing has to be told when a session rekeys, the new key simply misses.
 *
 * Trap: one cache is used under one lock or by one thread; the contexts in it are borrowed until
 * the next aead_cache_get and not longer. After a fork the pages that hold a cache read as zero
 * (K2), which is an empty cache: the child cannot seal with what the parent keyed. */
#ifndef RUDP_SEAL_AEAD_CACHE_H
#define RUDP_SEAL_AEAD_CACHE_H

#include "seal/aead.h"

#define AEAD_CACHE_SETS 16
#define AEAD_CACHE_WAYS 4

/* All zero bytes are a valid, empty cache. About 3.6 KiB, and at most 64 contexts of libcrypto. */
typedef struct {
    uint64_t clock; /* counts uses, for finding the oldest */
    aead_context set[AEAD_CACHE_SETS][AEAD_CACHE_WAYS];
} aead_cache;

/* A context keyed with this key, this way round. Never fails, may rekey the oldest of its set. */
aead_context *aead_cache_get(aead_cache *cache, cipher kind, bool sealing,
                             const uint8_t key[AEAD_KEY]);

/* A key is about to be wiped: so is every context that was keyed with it (K7). */
void aead_cache_forget(aead_cache *cache, const uint8_t key[AEAD_KEY]);

/* Wipes all keys and gives all memory back to libcrypto. */
void aead_cache_drop(aead_cache *cache);

#endif
