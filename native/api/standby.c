/* standby.c - the node's one C thread: moves the bytes of all lanes, and stands by (Rules 4 to 6).
 *
 *   PARKED   sleeps for ever; the sockets wake it once. Then: somebody drives? WATCH: TAKEOVER
 *   WATCH    naps of 5 ms; while turns happen it only naps. Work waiting at two looks in a row and
 *            no turn between: TAKEOVER. Nothing waiting: longer naps, after 1 s PARKED
 *   TAKEOVER runs turns, until somebody else makes one
 *
 *              LOOP (a loop drives)   LEADER (a blocking caller does)   NOBODY
 *   patience   two naps               for ever: it cannot stall         none
 *
 * So a Python that computes for ten seconds answers probes and acknowledges all the while, and
 * nobody takes it for dead; and under load this thread wakes 200 times a second, not per packet.
 *
 * The thread never enters Python, masks all signals, and has a small stack. The trap: its
 * registration of the sockets must be older than the loop's, so that the kernel wakes the loop
 * first (measured: 27 to 82 us per call otherwise, 27 to 30 so). */
#define _GNU_SOURCE
#include "api/node.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#include "io/clock.h"
#include "io/pool.h"

#define NAP        (5 * NS_PER_MS)
#define NAP_MOST   (50 * NS_PER_MS)
#define PARK_AFTER NS_PER_S

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK ((size_t)2 << 20)
#else
#define STACK ((size_t)128 << 10)
#endif

enum { TAG_UDP = 1, TAG_TIMER, TAG_CONNECTIONS };

typedef enum { PARKED, WATCH, TAKEOVER } standby_state;

typedef struct {
    node *node;
    standby_state state;
    uint64_t seen;  /* moves at the last look */
    uint64_t quiet; /* since when no turn happened and nothing waited */
    uint64_t look;  /* when to look next, in WATCH */
    uint64_t nap;
    bool suspicious; /* something waited at the last look already */
} watchman;

/* ---- descriptors ---- */

static bool standby_watch(node *n, int operation, uint32_t events)
{
    const int fds[] = {n->loop.udp.fd, n->loop.timer_fd, n->loop.connections.epfd};
    bool ok = true;
    for (uint32_t i = 0; i < 3; i++) {
        struct epoll_event watch = {.events = events, .data.u64 = TAG_UDP + i};
        ok &= epoll_ctl(n->lanes.streams.epfd, operation, fds[i], &watch) == 0;
    }
    return ok;
}

bool standby_prepare(node *n)
{
    return standby_watch(n, EPOLL_CTL_ADD, EPOLLIN | EPOLLONESHOT);
}

bool node_has_work(const node *n)
{
    struct pollfd fds[] = {{.fd = n->loop.udp.fd, .events = POLLIN},
                           {.fd = n->loop.timer_fd, .events = POLLIN},
                           {.fd = n->loop.connections.epfd, .events = POLLIN}};
    return poll(fds, 3, 0) > 0;
}

/* ---- standing by ---- */

static bool nobody_drives(const node *n)
{
    return atomic_load(&n->driver) == 0 && atomic_load(&n->leader) == 0;
}

static void watch_begin(watchman *w, uint64_t now)
{
    w->state = WATCH;
    w->seen = atomic_load(&w->node->moves);
    w->quiet = now;
    w->nap = NAP;
    w->look = now + NAP;
    w->suspicious = false;
}

/* A6: what nobody has needed for a second goes back to the system. */
static void idle_slabs_work(node *n, void *argument)
{
    uint8_t *slab;
    (void)argument;
    while (engine_idle_slab(n->engine, &slab))
        madvise(slab, 64 << 10, MADV_DONTNEED);
}

static void park(watchman *w)
{
    node *n = w->node;
    w->state = PARKED;
    pool_trim();
    if (pthread_mutex_trylock(&n->lock) == 0) {
        node_guard(n, idle_slabs_work, NULL);
        node_unlock(n);
    }
    standby_watch(n, EPOLL_CTL_MOD, EPOLLIN | EPOLLONESHOT);
}

static void take_over(watchman *w)
{
    w->state = TAKEOVER;
    w->seen = atomic_load(&w->node->moves);
    standby_watch(w->node, EPOLL_CTL_MOD, EPOLLIN);
    node_turn(w->node, TURN_ALL, false);
}

static void watch_look(watchman *w, uint64_t now)
{
    node *n = w->node;
    uint64_t moves = atomic_load(&n->moves);
    w->look = now + w->nap;
    if (moves != w->seen) {
        watch_begin(w, now);
    } else if (atomic_load(&n->leader) == 0 && node_has_work(n)) {
        if (w->suspicious || nobody_drives(n)) {
            take_over(w);
            return;
        }
        w->suspicious = true;
        w->nap = NAP;
        w->look = now + NAP;
    } else {
        w->suspicious = false;
        if (!nobody_drives(n)) /* else what comes next waits for this thread alone (Rule 5) */
            w->nap = w->nap * 3 / 2 < NAP_MOST ? w->nap * 3 / 2 : NAP_MOST;
        if (now - w->quiet > PARK_AFTER)
            park(w);
    }
}

static void stand_by(watchman *w, int events)
{
    node *n = w->node;
    uint64_t now = clock_now();
    switch (w->state) {
    case PARKED:
        if (events > 0 && nobody_drives(n))
            take_over(w);
        else if (events > 0)
            watch_begin(w, now);
        break;
    case WATCH:
        if (now >= w->look)
            watch_look(w, now);
        break;
    case TAKEOVER:
        if (atomic_load(&n->moves) != w->seen || atomic_load(&n->leader) != 0) {
            /* No interest at all still means errors, again and again: once is enough. */
            standby_watch(n, EPOLL_CTL_MOD, EPOLLONESHOT);
            watch_begin(w, now);
        } else if (events > 0) {
            node_turn(n, TURN_ALL, false);
        }
        break;
    }
}

static int watch_timeout(const watchman *w)
{
    if (w->state != WATCH)
        return -1;
    uint64_t now = clock_now();
    return w->look > now ? (int)((w->look - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

/* ---- lanes ---- */

static void lanes_work(node *n, void *argument)
{
    (void)argument;
    uint64_t now = loop_now(&n->loop);
    submissions_take(n, now);
    lanes_owner owner = connections_own(&n->loop.connections);
    lanes_tell(&n->lanes, n->engine, now, &owner);
    loop_turn(&n->loop, now, TURN_OUT);
    lanes_take_in(&n->lanes);
}

/* One round: bytes, then a word with the engine. False: the node has stopped. */
static bool move_bytes(node *n)
{
    jmp_buf trap;
    if (setjmp(trap) != 0) {
        pthread_mutex_lock(&n->lock);
        node_break(n);
        pthread_mutex_unlock(&n->lock);
        return false;
    }
    ensure_trap = &trap;
    lanes_step(&n->lanes);
    ensure_trap = NULL;
    if (!lanes_have_news(&n->lanes))
        return true;
    pthread_mutex_lock(&n->lock);
    bool sound = node_guard(n, lanes_work, NULL);
    node_unlock(n);
    return sound;
}

static void *standby_main(void *argument)
{
    watchman w = {.node = argument, .state = PARKED};
    node *n = w.node;
    struct epoll_event events[LANES_EVENTS];
    while (!atomic_load(&n->standby.stop)) {
        int timeout = lanes_busy(&n->lanes) ? 0 : watch_timeout(&w);
        int others = lanes_wait(&n->lanes, timeout, events);
        if (!move_bytes(n))
            break;
        stand_by(&w, others);
        way_make(n);
    }
    return NULL;
}

/* ---- life ---- */

/* Rule 6: signals are for Python's threads. */
bool standby_start(node *n)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&n->standby.thread, &attributes, standby_main, n);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0)
        pthread_setname_np(n->standby.thread, "rudp");
    n->standby.started = error == 0;
    return n->standby.started;
}

void standby_stop(node *n)
{
    if (!n->standby.started)
        return;
    atomic_store(&n->standby.stop, true);
    lanes_wake(&n->lanes);
    pthread_join(n->standby.thread, NULL);
    n->standby.started = false;
}
