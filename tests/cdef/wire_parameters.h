/* after: base_bytes.h */
#define PARAMETERS_SIZE ...

typedef enum { DOUBT_NONE, DOUBT_ALIVE, DOUBT_UNKNOWN, ... } doubt_verdict;

typedef struct {
    uint64_t incarnation;
    uint64_t counter;
    uint64_t doubted;
    uint64_t max_message;
    uint32_t max_ack_delay_us;
    uint32_t lost_ms;
    uint16_t port;
    uint16_t budget;
    uint16_t calls;
    uint16_t transfers;
    uint8_t ciphers;
    uint8_t verdict;
} parameters;

void parameters_write(writer *w, const parameters *p);
bool parameters_read(reader *r, parameters *out);
