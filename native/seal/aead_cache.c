#include "seal/aead_cache.h"

#include <string.h>

static bool is_keyed(const aead_context *c, const uint8_t key[AEAD_KEY])
{
    return c->kind != CIPHER_PLAIN && memcmp(c->key, key, AEAD_KEY) == 0;
}

/* An exact match, or else the way whose use lies longest back; an empty one was used at 0. */
static aead_context *find(aead_context *set, cipher kind, bool sealing, const uint8_t *key)
{
    aead_context *oldest = &set[0];
    for (size_t way = 0; way < AEAD_CACHE_WAYS; way++) {
        if (set[way].kind == kind && set[way].sealing == sealing && is_keyed(&set[way], key))
            return &set[way];
        if (set[way].used < oldest->used)
            oldest = &set[way];
    }
    return oldest;
}

aead_context *aead_cache_get(aead_cache *cache, cipher kind, bool sealing,
                             const uint8_t key[AEAD_KEY])
{
    aead_context *c = find(cache->set[key[0] % AEAD_CACHE_SETS], kind, sealing, key);
    aead_key(c, kind, sealing, key);
    c->used = ++cache->clock;
    return c;
}

void aead_cache_forget(aead_cache *cache, const uint8_t key[AEAD_KEY])
{
    aead_context *set = cache->set[key[0] % AEAD_CACHE_SETS];
    for (size_t way = 0; way < AEAD_CACHE_WAYS; way++)
        if (is_keyed(&set[way], key))
            aead_drop(&set[way]);
}

void aead_cache_drop(aead_cache *cache)
{
    for (size_t i = 0; i < AEAD_CACHE_SETS; i++)
        for (size_t way = 0; way < AEAD_CACHE_WAYS; way++)
            aead_drop(&cache->set[i][way]);
    cache->clock = 0;
}
