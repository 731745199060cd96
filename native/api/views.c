/* views.c - "what is going on in there?" Copies taken under the lock, and names for numbers. */
#define _GNU_SOURCE
#include "api/node.h"

#include <string.h>

#include "base/bytes.h"

typedef struct {
    uint32_t peer;
    bool found;
    rudp_peer_view *out;
} view_query;

typedef struct {
    uint64_t *out;
    uint32_t count;
} counters_query;

typedef struct {
    uint8_t *out;
    size_t size;
    int count;
} trace_query;

/* Looking does not wait for a sound node: the trace is kept for the broken ones (E10). */
static void look(node *n, void (*work)(node *, void *), void *argument)
{
    atomic_fetch_add(&n->users, 1); /* a close in another thread waits for us */
    pthread_mutex_lock(&n->lock);
    work(n, argument);
    node_unlock(n);
    atomic_fetch_sub(&n->users, 1);
}

static void view_work(node *n, void *argument)
{
    view_query *q = argument;
    peer_view v;
    uint64_t now = loop_now(&n->loop);
    q->found = engine_peer_view(n->engine, now, q->peer, &v);
    if (!q->found)
        return;
    *q->out = (rudp_peer_view){.state = v.state,
                               .stalled = v.stalled,
                               .path = v.path,
                               .reason = v.reason,
                               .calls = v.calls,
                               .lanes = v.lanes,
                               .stuck = v.stuck,
                               .incarnation = v.incarnation,
                               .rtt_us = v.rtt / NS_PER_US,
                               .rtt_variance_us = v.rtt_variance / NS_PER_US,
                               .sent = v.sent,
                               .lost = v.lost,
                               .clock_offset_us = v.clock_offset_us};
    if (v.stalled_since != 0 && now > v.stalled_since)
        q->out->stalled_us = (now - v.stalled_since) / NS_PER_US;
    if (v.stuck > 0)
        q->out->stuck_us = (now - v.stuck_since) / NS_PER_US;
    memcpy(&q->out->remote, &v.remote, sizeof q->out->remote);
}

int rudp_peer_view_wait(rudp_node *n, uint32_t peer, rudp_peer_view *out)
{
    int forked = node_forked(n);
    if (forked != 0)
        return forked;
    view_query q = {.peer = peer, .out = out};
    look(n, view_work, &q);
    return q.found ? 0 : RUDP_INVALID;
}

#define COUNTER_NAME(name, text) #name,
static const char *const counter_names[] = {COUNTER_LIST(COUNTER_NAME)};
#define COUNTER_DROP(name, text) "dropped_" #name,
static const char *const drop_counter_names[] = {DROP_LIST(COUNTER_DROP)};

enum { COUNTERS_PLAIN = sizeof counter_names / sizeof counter_names[0] };

_Static_assert(sizeof(counters) == (COUNTERS_PLAIN + DROP_COUNT) * sizeof(uint64_t),
               "counters are numbers and nothing else");

const char *rudp_counter_name(uint32_t index)
{
    if (index < COUNTERS_PLAIN)
        return counter_names[index];
    return index < COUNTERS_PLAIN + DROP_COUNT ? drop_counter_names[index - COUNTERS_PLAIN] : NULL;
}

static void counters_work(node *n, void *argument)
{
    const counters_query *q = argument;
    memcpy(q->out, engine_counters(n->engine), q->count * sizeof *q->out);
}

int rudp_counters_wait(rudp_node *n, uint64_t *out, uint32_t count)
{
    int forked = node_forked(n);
    if (forked != 0)
        return forked;
    uint32_t all = COUNTERS_PLAIN + DROP_COUNT;
    counters_query q = {.out = out, .count = count < all ? count : all};
    look(n, counters_work, &q);
    return (int)all;
}

enum { TRACE_RECORD = 40 };

/* at:8 id:8 session:4 detail:4 kind:2 slot:2 sequence:4 number:8, little endian. */
static void trace_store(uint8_t *out, const trace_entry *e, uint64_t number)
{
    store_u64(out, e->at);
    store_u64(out + 8, e->id);
    store_u32(out + 16, e->session);
    store_u32(out + 20, e->detail);
    store_u16(out + 24, e->kind);
    store_u16(out + 26, e->slot);
    store_u32(out + 28, e->sequence);
    store_u64(out + 32, number);
}

static void trace_work(node *n, void *argument)
{
    trace_query *q = argument;
    const trace *t = engine_trace(n->engine);
    uint64_t count = t->count < TRACE_ENTRIES ? t->count : TRACE_ENTRIES;
    if (count > q->size / TRACE_RECORD)
        count = q->size / TRACE_RECORD;
    for (uint64_t i = t->count - count; i < t->count; i++, q->out += TRACE_RECORD)
        trace_store(q->out, &t->entries[i % TRACE_ENTRIES], i);
    q->count = (int)count;
}

int rudp_trace_wait(rudp_node *n, uint8_t *out, size_t size)
{
    int forked = node_forked(n);
    if (forked != 0)
        return forked;
    trace_query q = {.out = out, .size = size};
    look(n, trace_work, &q);
    return q.count;
}

const char *rudp_trace_name(uint32_t kind)
{
    return trace_kind_name(kind);
}

static void rotate_work(node *n, void *argument)
{
    engine_rotate(n->engine, loop_now(&n->loop), argument);
}

int rudp_rotate_wait(rudp_node *n, const uint8_t *key, const uint8_t *other)
{
    int gate = node_gate(n);
    if (gate != 0)
        return gate;
    hello_keys keys;
    hello_keys_set(&keys, key, other);
    atomic_fetch_add(&n->users, 1);
    pthread_mutex_lock(&n->lock);
    bool sound = node_guard(n, rotate_work, &keys);
    node_unlock(n);
    node_turn(n, TURN_FLUSH, false); /* what it made due is neither sent nor in the timer yet */
    atomic_fetch_sub(&n->users, 1);
    hello_keys_set(&keys, NULL, NULL);
    return sound ? 0 : RUDP_BROKEN;
}

const char *rudp_status_name(uint32_t number)
{
    return status_name(number);
}

const char *rudp_status_text(uint32_t number)
{
    return status_text(number);
}

const char *rudp_code_text(int code)
{
    static const char *const texts[] = {
        [0] = "ok",
        [-RUDP_FORKED] = "the node belongs to the process that opened it, and this is a fork of it",
        [-RUDP_CLOSED] = "the node is closed",
        [-RUDP_BROKEN] = "the node stopped after an internal error",
        [-RUDP_FULL] = "a table of the node is full",
        [-RUDP_TIMEOUT] = "the wait ended without result",
        [-RUDP_SIGNAL] = "a signal arrived",
        [-RUDP_INVALID] = "an argument is out of range",
        [-RUDP_MEMORY] = "no memory",
        [-RUDP_SYSTEM] = "a system call failed",
    };
    unsigned index = code <= 0 ? (unsigned)-code : UINT32_MAX;
    return index < sizeof texts / sizeof texts[0] ? texts[index] : "unknown code";
}
