/* after: base_address.h engine_config.h engine_counters.h seal_hello.h seal_segment.h */
/* after: wire_status.h */
#define ENGINE_SEED    ...
#define ENGINE_ENTROPY ...
#define ACTION_BUFFER  ...
#define REQUEST_ROOM   ...
#define REPLY_ROOM     ...

typedef struct engine engine;

typedef struct {
    address local;
    address remote;
    uint8_t *bytes;
    size_t size;
} datagram;

typedef enum {
    CONNECTION_OPENED,
    CONNECTION_REFUSED,
    CONNECTION_TIMEOUT,
    CONNECTION_ENDED,
    CONNECTION_BROKE,
    CONNECTION_GONE,
    ...
} connection_news;

typedef enum { DONE_OK, DONE_FAILED, DONE_CORRUPT, ... } done_result;

typedef struct {
    uint64_t handle;
    uint32_t peer;
    uint8_t owner;
    uint64_t deadline;
    const uint8_t *method;
    uint8_t method_size;
    const uint8_t *extension;
    uint16_t extension_size;
    const uint8_t *body;
    size_t size;
    uint64_t memory;
    ...;
} call_command;

typedef struct {
    uint64_t request;
    uint8_t status;
    const uint8_t *body;
    size_t size;
    uint64_t memory;
} reply_command;

typedef enum {
    ACTION_SEND,
    ACTION_PUT,
    ACTION_OPEN,
    ACTION_SHUT,
    ACTION_BULK,
    ACTION_WRITE,
    ACTION_READ,
    ACTION_ALLOC,
    ACTION_RELEASE,
    ACTION_EVENT,
    ACTION_ALL,
    ...
} action_kind;

typedef enum {
    EVENT_DONE,
    EVENT_REQUEST,
    EVENT_CANCEL,
    EVENT_PEER,
    EVENT_STRANGER,
    ...
} event_kind;

typedef enum { PEER_IDLE, PEER_DIALLING, PEER_UP, PEER_SUSPECT, PEER_LOST, ... } peer_state;

typedef struct {
    event_kind kind;
    uint8_t status;
    uint8_t outcome;
    uint8_t owner;
    uint8_t state;
    bool same_life;
    bool stalled;
    uint8_t method_size;
    uint16_t extension_size;
    uint32_t peer;
    uint64_t id;
    uint64_t deadline;
    const uint8_t *method;
    const uint8_t *body;
    uint64_t size;
    uint64_t memory;
    address remote;
} event;

typedef struct {
    action_kind kind;
    uint32_t connection;
    uint64_t token;
    uint64_t memory;
    uint64_t length;
    address local;
    address remote;
    segment segment;
    const uint8_t *bytes;
    size_t size;
    uint16_t segment_size;
    uint8_t lane_class;
    event event;
    ...;
} action;

typedef struct {
    uint8_t state;
    bool stalled;
    uint8_t path;
    uint8_t reason;
    uint32_t calls;
    uint32_t lanes;
    uint32_t stuck;
    uint64_t stuck_since;
    uint64_t incarnation;
    uint64_t rtt;
    uint64_t sent;
    uint64_t lost;
    ...;
} peer_view;

size_t engine_size(const config *c);
engine *engine_init(void *memory, const config *c, const hello_keys *keys, const uint8_t *seed,
                    uint64_t now);
void engine_free(engine *e);
uint32_t engine_entropy_room(const engine *e);
void engine_entropy(engine *e, const uint8_t *bytes);
void engine_rotate(engine *e, uint64_t now, const hello_keys *keys);
void engine_datagrams(engine *e, uint64_t now, const datagram *batch, size_t count,
                      uint64_t kernel_drops);
void engine_connection(engine *e, uint64_t now, uint32_t connection, connection_news news);
uint32_t engine_accept(engine *e, uint64_t now, const address *local, const address *remote);
void engine_witness(engine *e, uint32_t connection, uint64_t witness);
size_t engine_room(const engine *e, uint32_t connection);
void engine_bytes(engine *e, uint64_t now, uint32_t connection, uint8_t *bytes, size_t size);
void engine_unsent(engine *e, uint32_t connection, size_t bytes);
void engine_segment(engine *e, uint64_t now, uint32_t connection, const segment *s);
void engine_done(engine *e, uint64_t now, uint64_t token, done_result result, uint64_t memory);
uint32_t engine_peer(engine *e, uint64_t now, const address *remote);
void engine_peer_watch(engine *e, uint64_t now, uint32_t peer, bool watch);
bool engine_call(engine *e, uint64_t now, const call_command *command);
void engine_cancel(engine *e, uint64_t now, uint64_t handle);
void engine_taken(engine *e, uint64_t now, uint64_t handle);
void engine_reply(engine *e, uint64_t now, const reply_command *command);
void engine_refuse(engine *e, uint64_t now, uint64_t request, status why);
void engine_request_taken(engine *e, uint64_t now, uint64_t request);
void engine_progress(engine *e, uint64_t now, uint32_t queued);
uint64_t engine_small_at(const engine *e);
bool engine_coming(const engine *e);
void engine_waited(engine *e);
void engine_drain(engine *e, uint64_t now);
bool engine_idle(const engine *e);
void engine_close(engine *e, uint64_t now);
bool engine_next(engine *e, uint64_t now, unsigned wanted, action *out, uint8_t *buffer);
void engine_tick(engine *e, uint64_t now);
uint64_t engine_deadline(const engine *e);
bool engine_peer_view(const engine *e, uint64_t now, uint32_t peer, peer_view *out);
const counters *engine_counters(const engine *e);
bool engine_all_free(const engine *e);
