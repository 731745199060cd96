/* after: base_address.h */
#define TCP_BACKLOG ...
#define TCP_UNSENT  ...

typedef struct {
    address local;
    address remote;
    uint8_t family;
    uint16_t segment_size;
    uint64_t patience;
} tcp_dial;

int tcp_listen(const address *listen, const char **what);
int tcp_accept(int listener, uint64_t patience, address *local, address *remote);
bool tcp_ends(int fd, address *local, address *remote);
int tcp_connect(const tcp_dial *dial);
int tcp_error(int fd);
void tcp_close(int fd);
