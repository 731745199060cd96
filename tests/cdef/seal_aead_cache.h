/* after: seal_aead.h */
#define AEAD_CACHE_SETS ...
#define AEAD_CACHE_WAYS ...

typedef struct {
    uint64_t clock;
    aead_context set[...][...];
    ...;
} aead_cache;

aead_context *aead_cache_get(aead_cache *cache, cipher kind, bool sealing, const uint8_t *key);
void aead_cache_forget(aead_cache *cache, const uint8_t *key);
void aead_cache_drop(aead_cache *cache);
