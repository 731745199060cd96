/* after: engine_engine.h base_address.h */
#define UDP_BATCH  ...
#define UDP_FAULTS ...

typedef enum { SEND_REFUSED, SEND_UNREACHABLE, SEND_TOO_BIG, ... } send_fault;

typedef struct {
    address remote;
    send_fault fault;
} udp_fault;

typedef struct {
    int fd;
    uint8_t family;
    bool wildcard;
    bool full;
    address local;
    uint64_t drops;
    uint32_t out_first;
    uint32_t out_count;
    uint32_t fault_count;
    udp_fault faults[...];
    datagram datagrams[...];
    ...;
} udp;

int udp_open(udp *u, const address *listen, const char **what);
void udp_close(udp *u);
size_t udp_receive(udp *u);
uint8_t *udp_slot(udp *u);
void udp_push(udp *u, const address *local, const address *remote, const uint8_t *bytes,
              size_t size);
bool udp_flush(udp *u);
bool udp_drain_errors(udp *u);
void kernel_takes(int packets);
