/* after: base_bytes.h */
#define FRAME_SKIPPABLE        ...
#define FRAME_HEAD             ...
#define FRAME_REQUEST_OVERHEAD ...
#define FRAME_REPLY_OVERHEAD   ...

typedef enum {
    FRAME_PROBE,
    FRAME_PONG,
    FRAME_REQUEST,
    FRAME_REPLY,
    FRAME_REFUSED,
    FRAME_CANCEL,
    FRAME_GRANTS,
    FRAME_OFFER,
    FRAME_TRANSFER,
    FRAME_QUERY,
    FRAME_ABANDON,
    FRAME_LANE_HELLO,
    FRAME_LANE_WELCOME,
    FRAME_LANE_ASK,
    FRAME_LANE_GONE,
    FRAME_LANE_PARK,
    FRAME_DRAIN,
    FRAME_CLOSE,
    FRAME_CHALLENGE,
    FRAME_RESPONSE,
    FRAME_PADDING,
    ...
} frame_type;

typedef enum { CARRIES_REQUEST, CARRIES_REPLY, ... } carries;

typedef enum {
    TRANSFER_WAITING,
    TRANSFER_GRANTED,
    TRANSFER_COMPLETE,
    TRANSFER_REJECTED,
    TRANSFER_UNKNOWN,
    TRANSFER_AGAIN,
    ...
} transfer_word;

typedef struct {
    uint32_t idle_ms;
    uint32_t oldest_ms;
    uint32_t queued;
    uint32_t drops;
} beat;

typedef struct {
    uint8_t type;
    uint8_t status;
    uint8_t flags;
    uint8_t what;
    uint8_t state;
    uint8_t lane_class;
    uint16_t slot;
    uint32_t sequence;
    uint16_t transfer_slot;
    uint32_t transfer_sequence;
    uint32_t remaining_ms;
    uint32_t lane;
    uint16_t calls;
    uint16_t transfers;
    uint32_t eager;
    uint64_t total;
    uint64_t position;
    uint64_t number;
    uint32_t sent_us;
    uint32_t held_us;
    beat beat;
    uint8_t nonce[16];
    const uint8_t *method;
    uint8_t method_size;
    const uint8_t *extension;
    uint16_t extension_size;
    const uint8_t *body;
    uint32_t body_size;
    ...;
} frame;

typedef enum { FRAME_READ, FRAME_END, FRAME_BAD, ... } frame_result;

frame_result frame_read(reader *r, frame *out);
bool frame_write(writer *w, const frame *f);
size_t frame_size(const frame *f);
bool frame_elicits(uint8_t type);
const char *frame_name(uint8_t type);
