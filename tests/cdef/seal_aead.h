typedef enum cipher {
    CIPHER_PLAIN,
    CIPHER_AES_256_GCM,
    CIPHER_CHACHA20_POLY1305,
    CIPHER_COUNT,
    ...
} cipher;

typedef struct {
    void *inside;
    uint64_t used;
    uint8_t key[32];
    uint8_t kind;
    bool sealing;
    ...;
} aead_context;

typedef struct {
    const void *bytes;
    size_t size;
} aead_piece;

bool aead_available(cipher kind);
cipher aead_preferred(void);
void aead_key(aead_context *c, cipher kind, bool sealing, const uint8_t *key);
void aead_begin(aead_context *c, uint64_t nonce, const uint8_t *ad, size_t ad_size);
void aead_update(aead_context *c, const uint8_t *in, uint8_t *out, size_t size);
void aead_seal_finish(aead_context *c, uint8_t *tag);
bool aead_open_finish(aead_context *c, const uint8_t *tag);
void aead_drop(aead_context *c);
void aead_sha256(const aead_piece *pieces, size_t count, uint8_t *out);
void aead_hmac(const uint8_t *key, const aead_piece *pieces, size_t count, uint8_t *out);
void aead_check(const uint8_t *key, const aead_piece *pieces, size_t count, uint8_t *out);
void aead_hkdf(const uint8_t *chain, const uint8_t *input, size_t size, uint8_t out[][32],
               size_t outputs);
void aead_public(const uint8_t *private, uint8_t *public);
bool aead_dh(const uint8_t *private, const uint8_t *public, const uint8_t *other, uint8_t *shared);
bool aead_equal(const void *a, const void *b, size_t size);
void aead_wipe(void *bytes, size_t size);
