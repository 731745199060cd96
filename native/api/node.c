/* node.c - "what does opening a node make, and in which order does closing undo it?"
 *
 *   open    memory -> sockets (now the port is known) -> engine -> the standby's set, then the
 *           loop's -> thread
 *   close   drain -> CLOSE to everybody -> nobody waits any more -> thread ends -> memory
 *
 * Two mappings. One is wiped in a forked child (K2): the word `alive`, the lanes' keys, the engine
 * with its session keys. The other is what threads and Python share: events, cells, submissions.
 * Both are reserved, and touched when used. */
#define _GNU_SOURCE
#include "api/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "io/clock.h"
#include "io/tcp.h"

#define PAGE ((size_t)4096)

static size_t pages(size_t size)
{
    return (size + PAGE - 1) & ~(PAGE - 1);
}

/* ---- options ---- */

_Static_assert(sizeof(rudp_address) == sizeof(address), "the same layout on both sides");

static address address_from(const rudp_address *a)
{
    address out;
    memcpy(&out, a, sizeof out);
    return out;
}

static rudp_address address_to(const address *a)
{
    rudp_address out;
    memcpy(&out, a, sizeof out);
    return out;
}

static uint8_t ciphers_of(const rudp_options *o)
{
    if (o->key == NULL)
        return 1u << CIPHER_PLAIN;
    if (o->cipher != 0)
        return (uint8_t)(1u << o->cipher);
    return (1u << CIPHER_AES_256_GCM) | (1u << CIPHER_CHACHA20_POLY1305);
}

static void times_from(config *c, uint64_t lost_after)
{
    /* The other silences keep their proportion to it: 4 s and 1 s, 2 s; parked 5 s, 7 s, 9 s. */
    c->lost_after = lost_after;
    c->suspect_after = lost_after / 2;
    c->probe_after = lost_after / 4;
    c->parked_probe_after = lost_after * 5 / 4;
    c->parked_suspect_after = lost_after * 7 / 4;
    c->parked_lost_after = lost_after * 9 / 4;
    if (c->lane_progress > c->suspect_after) /* a lane is doubted before its peer is given up */
        c->lane_progress = c->suspect_after;
}

/* Half of what this process may have at all: of the machine, or of its control group (A1). */
static uint64_t half_of_memory(void)
{
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    if (file != NULL) {
        char text[32];
        uint64_t limit = fgets(text, sizeof text, file) != NULL ? strtoull(text, NULL, 10) : 0;
        if (limit != 0 && limit < all) /* "max" reads as 0 */
            all = limit;
        fclose(file);
    }
    return all / 2;
}

static config config_from(const rudp_options *o)
{
    config c = config_default();
    uint64_t most = half_of_memory();
    c.max_message = o->max_message != 0 ? o->max_message : c.max_message;
    if (c.max_message > most)
        c.max_message = most;
    if (o->request_credit != 0)
        c.request_credit = o->request_credit;
    if (o->reply_credit != 0)
        c.reply_credit = o->reply_credit;
    if (o->arena != 0)
        c.arena = o->arena;
    if (o->lost_after_us != 0)
        times_from(&c, o->lost_after_us * NS_PER_US);
    if (o->calls != 0)
        c.calls = o->calls;
    if (o->serves != 0)
        c.serves = o->serves;
    if (o->peers != 0)
        c.peers = o->peers;
    c.udp = o->no_udp == 0;
    c.tcp = o->no_tcp == 0;
    c.ciphers = ciphers_of(o);
    return c;
}

/* ---- memory ---- */

static void *node_map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static bool node_map_shared(node *n)
{
    size_t events = pages(RUDP_EVENTS * sizeof(rudp_event));
    size_t cells = pages(n->config.calls * sizeof(call_cell));
    n->mapped_size = events + cells + ring_size(SUBMIT_COUNT, sizeof(submission));
    n->mapped = node_map(n->mapped_size);
    if (n->mapped == NULL)
        return false;
    n->ring.events = n->mapped;
    n->cells = (call_cell *)(void *)((uint8_t *)n->mapped + events);
    ring_init(&n->submissions, (uint8_t *)n->mapped + events + cells, SUBMIT_COUNT,
              sizeof(submission));
    return true;
}

static bool node_map_wiped(node *n)
{
    size_t keys = pages(n->config.connections * sizeof(lane_keys));
    n->wiped_size = PAGE + keys + pages(engine_size(&n->config));
    n->wiped = node_map(n->wiped_size);
    if (n->wiped == NULL || madvise(n->wiped, n->wiped_size, MADV_WIPEONFORK) != 0)
        return false;
    _Atomic uint32_t *alive = n->wiped;
    atomic_store(alive, NODE_ALIVE);
    n->alive = alive;
    return lanes_open(&n->lanes, (lane_keys *)(void *)((uint8_t *)n->wiped + PAGE),
                      n->config.connections);
}

/* ---- opening ---- */

static bool core_watch(const node *n, int fd)
{
    struct epoll_event watch = {.events = EPOLLIN};
    return epoll_ctl(n->core_fd, EPOLL_CTL_ADD, fd, &watch) == 0;
}

static bool node_open_descriptors(node *n)
{
    if (!doorbell_open(&n->bell) || !doorbell_open(&n->kick) || !standby_prepare(n))
        return false;
    n->core_fd = epoll_create1(EPOLL_CLOEXEC);
    return n->core_fd >= 0 && core_watch(n, n->loop.udp.fd) && core_watch(n, n->loop.timer_fd) &&
           core_watch(n, n->loop.connections.epfd) && core_watch(n, n->bell.fd);
}

static bool node_start_engine(node *n, const rudp_options *o)
{
    uint8_t seed[ENGINE_SEED];
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return false;
    hello_keys keys;
    hello_keys_set(&keys, o->key, o->other_key);
    size_t keys_size = pages(n->config.connections * sizeof(lane_keys));
    n->engine = engine_init((uint8_t *)n->wiped + PAGE + keys_size, &n->config, &keys, seed,
                            loop_now(&n->loop));
    hello_keys_set(&keys, NULL, NULL);
    explicit_bzero(seed, sizeof seed);
    size_t arena_size;
    n->arena = engine_arena(n->engine, &arena_size);
    loop_attach(&n->loop, n->engine);
    return true;
}

static void node_init(node *n, const rudp_options *o)
{
    pthread_mutexattr_t spinning;
    pthread_mutexattr_init(&spinning);
    pthread_mutexattr_settype(&spinning, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&n->lock, &spinning);
    pthread_mutexattr_destroy(&spinning);
    pthread_mutex_init(&n->followers_lock, NULL);
    list_init(&n->followers);
    list_init(&n->outgoing);
    events_open(n);
    n->config = config_from(o);
    n->core_fd = n->bell.fd = n->kick.fd = -1;
    n->lanes.streams.epfd = n->lanes.wake_fd = -1;
    n->loop.udp.fd = n->loop.timer_fd = -1;
    n->loop.connections.epfd = n->loop.connections.listener = -1;
}

static void node_free(node *n)
{
    if (n->engine != NULL)
        engine_free(n->engine);
    if (n->lanes.commands != NULL)
        lanes_close(&n->lanes);
    loop_close(&n->loop);
    const int fds[] = {n->core_fd, n->bell.fd, n->kick.fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (n->wiped != NULL)
        munmap(n->wiped, n->wiped_size);
    if (n->mapped != NULL)
        munmap(n->mapped, n->mapped_size);
    pthread_mutex_destroy(&n->lock);
    pthread_mutex_destroy(&n->followers_lock);
    free(n);
}

/* 0, or a code with *what naming the step and errno telling why. */
static int node_open(node *n, const rudp_options *o, const char **what)
{
    *what = "memory";
    if (!node_map_shared(n) || !node_map_wiped(n))
        return RUDP_MEMORY;
    loop_options options = {.config = &n->config,
                            .listen = address_from(&o->listen),
                            .lanes = &n->lanes,
                            .direct = o->key == NULL && o->no_direct == 0,
                            .owner = events_owner(n)};
    errno = loop_open(&n->loop, &options, what);
    if (errno != 0)
        return RUDP_SYSTEM;
    n->config.port = n->loop.udp.local.port;
    *what = "getrandom";
    if (!node_start_engine(n, o))
        return RUDP_SYSTEM;
    *what = "epoll";
    if (!node_open_descriptors(n))
        return RUDP_SYSTEM;
    *what = "pthread_create";
    return standby_start(n) ? 0 : RUDP_SYSTEM;
}

/* What to say about options that make no node; NULL: nothing. */
static const char *options_fault(const rudp_options *o, const config *c)
{
    if (o->listen.family != 4 && o->listen.family != 6)
        return "the address is neither IPv4 nor IPv6";
    if (o->no_udp != 0 && o->no_tcp != 0)
        return "UDP and TCP cannot both be off";
    if (o->cipher > CIPHER_CHACHA20_POLY1305)
        return "no such cipher";
    return config_fault(c);
}

int rudp_open_wait(const rudp_options *options, rudp_node **out, char *error, size_t error_size)
{
    /* Aligned for the lines inside that threads share. */
    node *n = aligned_alloc(64, (sizeof *n + 63) & ~(size_t)63);
    *out = NULL;
    if (n == NULL) {
        snprintf(error, error_size, "no memory for a node");
        return RUDP_MEMORY;
    }
    memset(n, 0, sizeof *n);
    node_init(n, options);
    const char *what = options_fault(options, &n->config);
    int result = RUDP_INVALID;
    if (what != NULL) {
        snprintf(error, error_size, "option out of range: %s", what);
    } else {
        result = node_open(n, options, &what);
        if (result != 0)
            snprintf(error, error_size, "%s: %s", what, strerror(errno));
    }
    if (result != 0) {
        node_free(n);
        return result;
    }
    *out = n;
    return 0;
}

/* ---- closing ---- */

static void drain_work(node *n, void *argument)
{
    (void)argument;
    engine_drain(n->engine, loop_now(&n->loop));
}

/* The word of CLOSE leaves at once, as far as the sockets take it. */
static void close_work(node *n, void *argument)
{
    (void)argument;
    uint64_t now = loop_now(&n->loop);
    events_discard(n, now);
    submissions_take(n, now);
    engine_close(n->engine, now);
    loop_turn(&n->loop, now, TURN_OUT);
}

static void locked(node *n, void (*work)(node *, void *), void *argument)
{
    pthread_mutex_lock(&n->lock);
    node_guard(n, work, argument);
    node_unlock(n);
}

/* Events are discarded: who closes has stopped reading. */
static void idle_work(node *n, void *argument)
{
    events_discard(n, loop_now(&n->loop));
    *(bool *)argument = engine_idle(n->engine);
}

static bool node_is_idle(node *n, void *context)
{
    bool idle = true; /* a broken node has nothing to wait for */
    (void)context;
    locked(n, idle_work, &idle);
    return idle;
}

/* Those inside a _wait function see the status and leave. False: one of them did not. */
static bool node_wait_for_users(node *n)
{
    for (int i = 0; atomic_load(&n->users) > 0 && i < 10000; i++) {
        waiters_wake_all(n);
        usleep(100);
    }
    return atomic_load(&n->users) == 0;
}

int rudp_close_wait(rudp_node *n, uint32_t taken, uint64_t timeout_us)
{
    int forked = node_forked(n);
    if (forked != 0)
        return forked;
    events_leave(n, taken);
    locked(n, drain_work, NULL);
    _Atomic uint32_t word = 0;
    uint64_t deadline = time_after(clock_now(), timeout_us * NS_PER_US);
    int result;
    do { /* a signal does not end a close: it is bounded by itself */
        result = waiter_wait(n, &word, node_is_idle, NULL, deadline);
    } while (result == RUDP_SIGNAL);
    locked(n, close_work, NULL);
    if (atomic_load(&n->status) == RUDP_BROKEN)
        result = RUDP_BROKEN;
    int open = NODE_OPEN;
    atomic_compare_exchange_strong(&n->status, &open, RUDP_CLOSED);
    bool alone = node_wait_for_users(n);
    standby_stop(n);
    if (!alone)
        return RUDP_TIMEOUT; /* who stands in there would look at what was freed: it is not */
    events_close(n);
    for (list_link *at; (at = list_first(&n->outgoing)) != NULL;) {
        list_remove(at);
        parcel_free(CONTAINER_OF(at, parcel, link));
    }
    node_free(n);
    return result;
}

/* Only closes what the child has copies of; locks and memory may be in any state. */
int rudp_forget(rudp_node *n)
{
    const int fds[] = {n->loop.udp.fd,
                       n->loop.timer_fd,
                       n->loop.connections.epfd,
                       n->loop.connections.listener,
                       n->lanes.streams.epfd,
                       n->lanes.wake_fd,
                       n->core_fd,
                       n->bell.fd,
                       n->kick.fd};
    if (node_forked(n) == 0)
        return RUDP_INVALID;
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    for (uint32_t i = 0; i < n->config.connections; i++)
        if (n->loop.connections.table[i].fd >= 0)
            close(n->loop.connections.table[i].fd);
    return 0;
}

/* ---- facts ---- */

void rudp_listening(rudp_node *n, rudp_address *out)
{
    *out = address_to(&n->loop.udp.local);
}

int rudp_descriptor(rudp_node *n)
{
    return n->core_fd;
}

rudp_event *rudp_events(rudp_node *n)
{
    return n->ring.events;
}

uint8_t *rudp_arena(rudp_node *n, size_t *size)
{
    return engine_arena(n->engine, size);
}

int rudp_driver(rudp_node *n, int has_loop)
{
    int forked = node_forked(n);
    if (forked != 0)
        return forked;
    atomic_store(&n->driver, has_loop != 0);
    if (has_loop == 0) /* what its thread submits from now on, nobody flushes */
        atomic_store(&n->reader_thread, 0);
    /* The thread may be asleep with its look at this behind it. */
    lanes_wake(&n->lanes);
    return 0;
}

/* ---- peers ---- */

typedef struct {
    address remote;
    uint32_t id;
} peer_query;

static void peer_work(node *n, void *argument)
{
    peer_query *q = argument;
    q->id = engine_peer(n->engine, loop_now(&n->loop), &q->remote);
}

int64_t rudp_peer_wait(rudp_node *n, const rudp_address *at)
{
    int gate = node_gate(n);
    if (gate != 0)
        return gate;
    peer_query q = {.remote = address_from(at)};
    if ((q.remote.family != 4 && q.remote.family != 6) || q.remote.port == 0)
        return RUDP_INVALID;
    atomic_fetch_add(&n->users, 1);
    locked(n, peer_work, &q);
    gate = node_gate(n);
    atomic_fetch_sub(&n->users, 1);
    return gate != 0 ? gate : q.id != 0 ? (int64_t)q.id : RUDP_FULL;
}
