/* after: seal_aead_cache.h seal_hello.h */
#define SEAL_TAG_MAX ...
#define SEAL_WINDOW  ...

typedef struct {
    uint64_t packets;
    uint64_t age;
    uint64_t keep;
} seal_limits;

extern const seal_limits seal_limits_default;

typedef struct {
    uint64_t next;
    uint64_t highest;
    uint8_t send[32];
    uint8_t receive[32];
    uint8_t previous[32];
    bool held;
    ...;
} seal;

typedef enum {
    SEAL_OK,
    SEAL_SHORT,
    SEAL_LATE,
    SEAL_REPLAY,
    SEAL_EPOCH,
    SEAL_TAG,
    ...
} seal_verdict;

void seal_start(seal *s, cipher kind, const session_secrets *secrets, bool dialler, uint64_t now,
                const seal_limits *limits);
size_t seal_tag_size(cipher kind);
uint64_t seal_next_number(seal *s);
uint8_t seal_epoch(const seal *s);
size_t seal_protect(seal *s, aead_cache *cache, uint8_t *packet, size_t header, size_t size,
                    uint64_t number);
seal_verdict seal_open(seal *s, aead_cache *cache, uint8_t *packet, size_t header, size_t size,
                       uint64_t number, uint8_t epoch, uint64_t now, size_t *plain);
void seal_acknowledged(seal *s, uint64_t number, uint64_t now);
void seal_tick(seal *s, uint64_t now, uint64_t keep_previous);
uint64_t seal_deadline(const seal *s);
void seal_wipe(seal *s);
void seal_forget(const seal *s, aead_cache *cache);

const char *trapped_seal_protect(seal *s, aead_cache *cache, uint8_t *packet, uint64_t number);
