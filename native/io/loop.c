/* loop.c - the turn. Readable from the bottom up: loop_turn is the whole story. */
#define _GNU_SOURCE
#include "io/loop.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/ensure.h"
#include "io/clock.h"
#include "io/pool.h"

enum {
    DRAIN_MOST = 4096,    /* actions per turn */
    SEND_MOST = 128,      /* packets per turn */
    LANE_ROUNDS = 32,     /* of quick lanes per turn, of which a message takes two ... */
    LANE_BYTES = 1 << 20, /* ... and bytes: 0.2 ms of copying, then others have their turn */
    LOOK_EVERY = 16,      /* turns */
    STALL_BATCHES = 256,  /* emptied before timers run, after a stall of ours (L3) */
    PORT_TRIES = 32,
};

#define RECEIVED_FRESH (200 * NS_PER_US) /* as long the socket counts as just emptied */
#define STALL_AFTER    (200 * NS_PER_MS)
#define RETRY_AFTER    NS_PER_MS

/* ---- opening ---- */

/* A free UDP port may be taken in TCP: then the next one is tried. */
static int loop_bind(loop *l, const loop_options *o, int *listener, const char **what)
{
    int error = 0;
    for (int i = 0; i < PORT_TRIES; i++) {
        error = udp_open(&l->udp, &o->listen, what);
        if (error != 0 || !o->config->tcp)
            break;
        *listener = tcp_listen(&l->udp.local, what);
        if (*listener >= 0)
            return 0;
        error = -*listener;
        if (error != EADDRINUSE || o->listen.port != 0)
            break;
        udp_close(&l->udp);
    }
    return error;
}

int loop_open(loop *l, const loop_options *o, const char **what)
{
    int listener = -1;
    l->udp.fd = l->timer_fd = -1;
    l->connections.epfd = l->connections.listener = -1;
    l->owner = o->owner;
    l->lanes = o->lanes;
    l->armed = l->retry = TIME_NEVER;
    int error = loop_bind(l, o, &listener, what);
    if (error != 0)
        return error;
    *what = "epoll_create";
    if (!connections_open(&l->connections, NULL, o->lanes, listener, o->config->connections))
        return errno;
    l->connections.family = l->udp.family;
    l->connections.patience = o->config->lost_after;
    if (o->direct)
        l->connections.here = witness_here();
    *what = "timerfd_create";
    l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    return l->timer_fd < 0 ? errno : 0;
}

void loop_attach(loop *l, engine *e)
{
    l->engine = e;
    l->connections.engine = e;
}

void loop_close(loop *l)
{
    connections_close(&l->connections);
    udp_close(&l->udp);
    if (l->timer_fd >= 0)
        close(l->timer_fd);
}

uint64_t loop_now(loop *l)
{
    uint64_t now = clock_now();
    if (now > l->now)
        l->now = now;
    return l->now;
}

/* ---- out ---- */

static void loop_tell_faults(loop *l, uint64_t now)
{
    for (uint32_t i = 0; i < l->udp.fault_count; i++)
        engine_send_failed(l->engine, now, &l->udp.faults[i].remote, l->udp.faults[i].fault);
    l->udp.fault_count = 0;
}

static void loop_flush(loop *l, uint64_t now)
{
    if (l->udp.out_count > 0)
        l->retry = udp_flush(&l->udp) ? TIME_NEVER : now + RETRY_AFTER;
    loop_tell_faults(l, now);
}

static void loop_alloc(loop *l, uint64_t now, const action *a)
{
    block *b = a->length <= SIZE_MAX ? pool_take((size_t)a->length) : NULL;
    engine_done(l->engine, now, a->token, b != NULL ? DONE_OK : DONE_FAILED, memory_handle(b));
}

static void loop_release(loop *l, const action *a)
{
    if (memory_kind(a->memory) == MEMORY_BLOCK)
        pool_give((block *)(uintptr_t)a->memory);
    else
        l->owner.released(l->owner.context, (parcel *)(uintptr_t)a->memory);
}

static void loop_obey(loop *l, uint64_t now, const action *a)
{
    switch (a->kind) {
    case ACTION_SEND: udp_push(&l->udp, &a->local, &a->remote, a->bytes, a->size); break;
    case ACTION_PUT: connections_put(&l->connections, a); break;
    case ACTION_OPEN: connections_open_to(&l->connections, now, a); break;
    case ACTION_SHUT: connections_shut(&l->connections, now, a->connection); break;
    case ACTION_BULK: connections_bulk(&l->connections, now, a); break;
    case ACTION_WRITE:
    case ACTION_READ: connections_move(&l->connections, now, a); break;
    case ACTION_ALLOC: loop_alloc(l, now, a); break;
    case ACTION_RELEASE: loop_release(l, a); break;
    case ACTION_EVENT: l->owner.event(l->owner.context, now, &a->event); break;
    case ACTION_ALL: ENSURE(!"an action of every kind"); break;
    }
}

/* E3, E4: what there is no place for is not asked for; it stays due. */
static unsigned loop_wanted(loop *l, unsigned wanted, uint32_t sent)
{
    if (l->udp.full || sent >= SEND_MOST)
        wanted &= ~(unsigned)ACTION_SEND;
    if (!l->owner.room(l->owner.context))
        wanted &= ~(unsigned)(ACTION_EVENT | ACTION_RELEASE);
    if (!lanes_room(l->lanes))
        wanted &= ~(unsigned)(ACTION_WRITE | ACTION_READ | ACTION_BULK | ACTION_SHUT);
    return wanted;
}

static void loop_act(loop *l, uint64_t now, unsigned kinds)
{
    uint32_t sent = 0, count = 0;
    action a;
    for (; count < DRAIN_MOST; count++) {
        uint8_t *slot = udp_slot(&l->udp);
        if (slot == NULL) {
            loop_flush(l, now);
            slot = l->udp.full ? l->spare : udp_slot(&l->udp);
        }
        if (!engine_next(l->engine, now, loop_wanted(l, kinds, sent), &a, slot))
            break;
        sent += a.kind == ACTION_SEND;
        loop_obey(l, now, &a);
    }
    l->more = sent >= SEND_MOST || count == DRAIN_MOST;
    connections_flush(&l->connections, now);
    loop_flush(l, now);
}

static void loop_drain(loop *l, uint64_t now)
{
    loop_act(l, now, ACTION_ALL);
}

/* ---- in ---- */

static size_t loop_receive(loop *l, uint64_t now)
{
    size_t count = udp_receive(&l->udp);
    if (count > 0)
        engine_datagrams(l->engine, now, l->udp.datagrams, count, l->udp.drops);
    loop_tell_faults(l, now);
    return count;
}

/* L3: nobody is judged by what lay unread in our own buffers while we were away. */
static void loop_catch_up(loop *l, uint64_t now)
{
    for (int i = 0; i < STALL_BATCHES; i++)
        if (loop_receive(l, now) < UDP_BATCH)
            return;
}

static void loop_take_in(loop *l, uint64_t now, turn_kind kind)
{
    bool fresh = l->received != 0 && now - l->received < RECEIVED_FRESH;
    l->looks++;
    if (kind == TURN_FLUSH && fresh) {
        l->received = 0; /* once: the next turn asks the socket again */
        return;
    }
    uint64_t deadline = engine_deadline(l->engine);
    if (deadline < now && now - deadline > STALL_AFTER)
        loop_catch_up(l, now);
    size_t count = loop_receive(l, now);
    l->received = count < UDP_BATCH ? now : 0;
    if (count == 0 || l->looks >= LOOK_EVERY) {
        l->looks = 0;
        connections_look(&l->connections, now);
    }
}

static void loop_feed_entropy(loop *l)
{
    uint8_t bytes[ENGINE_ENTROPY];
    while (engine_entropy_room(l->engine) > 0) {
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            return; /* a signal: the next turn brings it */
        engine_entropy(l->engine, bytes);
    }
    explicit_bzero(bytes, sizeof bytes);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void loop_arm(loop *l, uint64_t now)
{
    uint64_t due = earlier(engine_deadline(l->engine), l->retry);
    if (l->connections.paused != 0)
        due = earlier(due, l->connections.paused);
    if (l->more)
        due = now;
    if (due >= l->armed && l->armed > now)
        return;
    if (due == TIME_NEVER && l->armed == TIME_NEVER)
        return;
    struct itimerspec when = {0};
    if (due != TIME_NEVER) {
        due = due > 0 ? due : 1; /* zero would switch it off */
        when.it_value.tv_sec = (time_t)(due / NS_PER_S);
        when.it_value.tv_nsec = (long)(due % NS_PER_S);
    }
    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    l->armed = due;
}

/* A message that comes takes two rounds: its head, then its body to where the engine wants it.
 * What is to be said of all of them leaves together, behind the last. */
static void loop_move_lanes(loop *l, uint64_t now)
{
    lanes_owner owner = connections_own(&l->connections);
    bool more = l->more;
    uint64_t moved = 0;
    int i = 0;
    for (; i < LANE_ROUNDS && moved < LANE_BYTES && lanes_quick(l->lanes); i++) {
        moved += lanes_move_quick(l->lanes, l->engine, now, LANE_BYTES - moved, &owner);
        loop_act(l, now, ACTION_ALL & ~(unsigned)ACTION_SEND);
        more |= l->more;
    }
    if (i > 0)
        loop_drain(l, now);
    l->more |= more || lanes_quick(l->lanes);
}

void loop_turn(loop *l, uint64_t now, turn_kind kind)
{
    loop_feed_entropy(l);
    if (l->udp.full)
        loop_flush(l, now); /* E3: what is left goes first */
    if (kind != TURN_OUT)
        loop_take_in(l, now, kind);
    if (engine_deadline(l->engine) <= now)
        engine_tick(l->engine, now);
    loop_drain(l, now);
    if (engine_coming(l->engine)) /* most often it is there already, and saves a turn */
        connections_look(&l->connections, now);
    loop_move_lanes(l, now);
    if (!list_empty(&l->connections.held))
        connections_release_held(&l->connections);
    loop_arm(l, now);
}
