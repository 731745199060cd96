/* after: seal_noise.h */
#define HELLO_ROOM               ...
#define HELLO_FIRST_HEADER       ...
#define HELLO_SECOND_HEADER      ...
#define HELLO_FIRST_PAYLOAD_MAX  ...
#define HELLO_SECOND_PAYLOAD_MAX ...

typedef struct {
    uint8_t count;
    uint8_t offered;
    uint64_t name[2];
    ...;
} hello_keys;

typedef struct {
    noise noise;
    uint64_t session_dialler;
    uint64_t session_acceptor;
    uint64_t key_name;
    uint8_t pattern;
    ...;
} hello_state;

typedef enum { HELLO_OK, HELLO_MALFORMED, HELLO_VERSION, HELLO_UNVERIFIED, ... } hello_verdict;

typedef struct {
    uint8_t send[32];
    uint8_t receive[32];
    uint8_t lane[32];
} session_secrets;

void hello_keys_set(hello_keys *keys, const uint8_t *key0_or_null, const uint8_t *key1_or_null);
bool hello_keys_hold(const hello_keys *keys, uint64_t name);
size_t hello_write_first(hello_state *h, const hello_keys *keys, const uint8_t *entropy,
                         uint64_t session, const uint8_t *payload, size_t size, uint8_t *out,
                         size_t room);
hello_verdict hello_check_first(const hello_keys *keys, const uint8_t *in, size_t size);
hello_verdict hello_read_first(hello_state *h, const hello_keys *keys, const uint8_t *in,
                               size_t size, uint64_t *session, uint8_t *payload,
                               size_t *payload_size);
size_t hello_write_second(hello_state *h, const uint8_t *entropy, uint64_t session_dialler,
                          uint64_t session_acceptor, const uint8_t *payload, size_t size,
                          uint8_t *out, size_t room);
hello_verdict hello_read_second(hello_state *h, const hello_keys *keys, const uint8_t *in,
                                size_t size, uint64_t *session_acceptor, uint8_t *payload,
                                size_t *payload_size);
void hello_split(hello_state *h, bool dialler, session_secrets *out);
void hello_wipe(hello_state *h);
