/* after: base_address.h */
typedef struct {
    uint8_t boot[...];
    bool known;
} witness_host;

witness_host witness_here(void);
uint64_t witness_of(const witness_host *h, int fd, const address *dialler, const address *acceptor);
