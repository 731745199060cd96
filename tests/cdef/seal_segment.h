/* after: seal_aead.h */
#define SEGMENT_HEADER  ...
#define SEGMENT_TRAILER ...
#define SEGMENT_RATCHET ...

typedef struct {
    uint8_t kind;
    uint8_t flags;
    uint16_t slot;
    uint32_t sequence;
    uint64_t offset;
    uint32_t length;
} segment;

typedef struct {
    uint8_t key[32];
    uint64_t counter;
    uint64_t bytes;
    uint64_t ratchet_bytes;
    bool direct;
    ...;
} lane_cipher;

void lane_cipher_start(lane_cipher *c, cipher kind, const uint8_t *lane_secret, uint32_t lane,
                       const uint8_t *nonce_dialler, const uint8_t *nonce_acceptor,
                       bool from_dialler);
void lane_cipher_wipe(lane_cipher *c);
uint64_t segment_wire_size(uint32_t length);
void segment_protect_header(lane_cipher *c, const segment *s, uint8_t *out);
bool segment_open_header(lane_cipher *c, const uint8_t *in, segment *out);
void segment_seal_update(lane_cipher *c, const uint8_t *in, uint8_t *out, size_t size);
void segment_seal_finish(lane_cipher *c, uint8_t *trailer);
void segment_open_update(lane_cipher *c, uint8_t *inout, size_t size);
bool segment_open_finish(lane_cipher *c, const uint8_t *trailer);
