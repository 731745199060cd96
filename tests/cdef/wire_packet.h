/* after: base_bytes.h */
#define PACKET_BUDGET   ...
#define PACKET_HEADER   ...
#define PACKET_PROLOGUE ...
#define PACKET_KIND     ...
#define PACKET_TAG_MAX  ...
#define PACKET_ROOM     ...

typedef struct {
    uint8_t epoch;
    uint64_t session;
    uint64_t number;
} packet_header;

typedef struct {
    uint32_t sent_us;
    uint32_t ack_delay_us;
    uint64_t ack_largest;
    uint64_t ack_bits;
} packet_prologue;

bool packet_header_read(const uint8_t *bytes, size_t size, packet_header *out);
void packet_header_write(uint8_t *out, const packet_header *header);
bool packet_prologue_read(reader *r, packet_prologue *out);
void packet_prologue_write(uint8_t *out, const packet_prologue *prologue);
bool packet_acknowledges(const packet_prologue *ack, uint64_t number);
