/* engine.c - routes each input to its machine and asks each for what is due; decides nothing. */
#include "engine/engine.h"

#include "engine/incoming.h"
#include "engine/layout.h"
#include "engine/outbox.h"
#include "engine/pulse.h"
#include "engine/recovery.h"
#include "engine/state.h"

size_t engine_size(const config *c)
{
    /* One page more, so that the block may begin anywhere. */
    return layout_cut(NULL, NULL, c) + 65536;
}

static void init_lists(engine *e)
{
    list_link *heads[] = {
        &e->live,
        &e->sending,
        &e->telling_peers,
        &e->telling_calls,
        &e->orphans,
        &e->telling_serves,
        &e->leaving,
        &e->allocs,
        &e->acting,
        &e->strangers,
        &e->answers_due,
        &e->answers_free,
        &e->pools[CREDIT_REQUESTS].line,
        &e->pools[CREDIT_REPLIES].line,
        &e->pools[CREDIT_EAGER].line,
        &e->half_open,
        &e->waiting_serves,
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        list_init(heads[i]);
    for (size_t i = 0; i < ANSWERS; i++)
        list_push_back(&e->answers_free, &e->answers[i].at);
}

engine *engine_init(void *memory, const config *c, const hello_keys *keys,
                    const uint8_t seed[ENGINE_SEED], uint64_t now)
{
    ENSURE(config_fault(c) == NULL);
    uint8_t *start = (uint8_t *)(((uintptr_t)memory + 65535) & ~(uintptr_t)65535);
    engine *e = (engine *)(void *)start;
    memset(e, 0, sizeof *e);
    e->config = *c;
    e->keys = *keys;
    e->now = now;
    random_init(&e->random, seed);
    (void)layout_cut(e, start, c);
    init_lists(e);
    do
        e->incarnation = random_u64(&e->random);
    while (e->incarnation == 0);
    e->hellos_left = c->hellos_per_turn;
    e->pools[CREDIT_REQUESTS].limit = c->request_credit;
    e->pools[CREDIT_REPLIES].limit = c->reply_credit;
    e->pools[CREDIT_EAGER].limit = c->eager_credit;
    e->seal_limits = seal_limits_default;
    e->seal_limits.packets = c->rekey_packets;
    e->seal_limits.age = c->rekey_after;
    return e;
}

void engine_free(engine *e)
{
    aead_cache_drop(&e->aead);
    list_link *at = list_first(&e->live);
    for (; at != NULL; at = list_next(&e->live, at))
        seal_wipe(&CONTAINER_OF(at, session, listed)->seal);
    for (uint32_t i = 0; i < e->config.connections; i++) {
        if (!slots_used(&e->connection_slots, i))
            continue;
        lane_cipher_wipe(&e->connections[i].send);
        lane_cipher_wipe(&e->connections[i].receive);
    }
    hello_keys_set(&e->keys, NULL, NULL);
}

/* ---- entropy ---- */

uint32_t engine_entropy_room(const engine *e)
{
    return ENTROPY_ROOM - e->entropy_count;
}

void engine_entropy(engine *e, const uint8_t bytes[ENGINE_ENTROPY])
{
    if (e->entropy_count < ENTROPY_ROOM)
        memcpy(e->entropy[e->entropy_count++], bytes, ENGINE_ENTROPY);
}

bool engine_draw_entropy(engine *e, uint8_t out[ENGINE_ENTROPY])
{
    if (e->entropy_count == 0)
        return false;
    memcpy(out, e->entropy[--e->entropy_count], ENGINE_ENTROPY);
    aead_wipe(e->entropy[e->entropy_count], ENGINE_ENTROPY);
    return true;
}

/* ---- inputs ---- */

/* Every verb comes through here: time never goes back (L5), a late turn is our own stall (L3). */
uint64_t engine_enter(engine *e, uint64_t now)
{
    if (now < e->now)
        now = e->now;
    uint64_t due = timers_earliest(&e->timers);
    if (due < e->now)
        due = e->now; /* it should have been looked at again at once (E5) */
    if (now > due && now - due > e->config.own_stall)
        pulse_own_stall(e, now, now - due);
    e->now = now;
    return now;
}

void engine_datagrams(engine *e, uint64_t now, const datagram *batch, size_t count,
                      uint64_t kernel_drops)
{
    now = engine_enter(e, now);
    e->hellos_left = e->config.hellos_per_turn;
    if (kernel_drops > e->kernel_drops) {
        e->counters.dropped[DROP_KERNEL] += kernel_drops - e->kernel_drops;
        e->kernel_drops = kernel_drops;
    }
    for (size_t i = 0; i < count; i++) {
        path from = {batch[i].local, batch[i].remote};
        incoming_datagram(e, now, &from, batch[i].bytes, batch[i].size);
    }
}

void engine_send_failed(engine *e, uint64_t now, const address *remote, send_fault fault)
{
    now = engine_enter(e, now);
    if (fault == SEND_TOO_BIG)
        return;
    peer *p = peer_at(e, remote);
    if (p == NULL)
        return;
    if (p->dialling != NULL)
        dial_refused(p->dialling);
    if (p->session != NULL && address_equal(&p->session->route.now.remote, remote))
        pulse_hint(e, now, p->session, fault == SEND_REFUSED);
}

uint32_t engine_accept(engine *e, uint64_t now, const address *local, const address *remote)
{
    return lane_accept(e, engine_enter(e, now), local, remote);
}

void engine_witness(engine *e, uint32_t id, uint64_t witness)
{
    lane_witness(e, id, witness);
}

void engine_connection(engine *e, uint64_t now, uint32_t id, connection_news news)
{
    lane_news(e, engine_enter(e, now), id, news);
}

size_t engine_room(const engine *e, uint32_t id)
{
    return lane_room(e, id);
}

void engine_bytes(engine *e, uint64_t now, uint32_t id, uint8_t *bytes, size_t size)
{
    now = engine_enter(e, now);
    e->hellos_left = e->config.hellos_per_turn;
    lane_bytes(e, now, id, bytes, size);
}

void engine_unsent(engine *e, uint32_t id, size_t bytes)
{
    lane_unsent(e, id, bytes);
}

void engine_segment(engine *e, uint64_t now, uint32_t id, const segment *s)
{
    lane_segment(e, engine_enter(e, now), id, s);
}

void engine_done(engine *e, uint64_t now, uint64_t token, done_result result, uint64_t memory)
{
    lane_done(e, engine_enter(e, now), token, result, memory);
}

/* ---- the application ---- */

uint32_t engine_peer(engine *e, uint64_t now, const address *remote)
{
    (void)engine_enter(e, now);
    peer *p = peer_make(e, remote, true);
    return p == NULL ? 0 : peer_id(p);
}

void engine_peer_watch(engine *e, uint64_t now, uint32_t id, bool watch)
{
    now = engine_enter(e, now);
    peer *p = peer_by_id(e, id);
    if (p == NULL || (!watch && p->watchers == 0))
        return;
    p->watchers += watch ? 1 : (uint32_t)-1;
    if (p->session != NULL)
        session_watch(e, now, p->session);
    else if (watch)
        dial_start(e, now, p);
}

bool engine_call(engine *e, uint64_t now, const call_command *command)
{
    return call_submit(e, engine_enter(e, now), command);
}

void engine_cancel(engine *e, uint64_t now, uint64_t handle)
{
    call_cancel(e, engine_enter(e, now), handle);
}

void engine_taken(engine *e, uint64_t now, uint64_t handle)
{
    call_taken(e, engine_enter(e, now), handle);
}

void engine_reply(engine *e, uint64_t now, const reply_command *command)
{
    serve_reply(e, engine_enter(e, now), command);
}

void engine_refuse(engine *e, uint64_t now, uint64_t request, status why)
{
    serve_refuse(e, engine_enter(e, now), request, why);
}

void engine_request_taken(engine *e, uint64_t now, uint64_t request)
{
    serve_taken(e, engine_enter(e, now), request);
}

void engine_progress(engine *e, uint64_t now, uint32_t queued)
{
    e->progress_at = engine_enter(e, now);
    e->progress_queued = queued;
}

bool engine_coming(const engine *e)
{
    return e->coming;
}

void engine_waited(engine *e)
{
    e->coming = false;
}

uint64_t engine_small_at(const engine *e)
{
    return e->small_at;
}

/* ---- time ---- */

typedef void (*expired)(engine *e, uint64_t now, timer *t);

#define EXPIRES(name, type, member, function)                                                      \
    static void name(engine *e, uint64_t now, timer *t)                                            \
    {                                                                                              \
        function(e, now, CONTAINER_OF(t, type, member));                                           \
    }

/* Armed for an acknowledgement that left with another packet since: the next has its own time. */
static void ack_expired(engine *e, uint64_t now, session *s)
{
    outbox_wake(e, s); /* also when the pacer had armed it (P8) */
    if (s->acks.due > now)
        timer_arm(&e->timers, &s->ack, s->acks.due);
}

static void peer_dial_expired(engine *e, uint64_t now, peer *p)
{
    if (p->session == NULL && peer_wanted(p))
        dial_start(e, now, p);
}

EXPIRES(on_loss, session, loss, recovery_expired)
EXPIRES(on_ack, session, ack, ack_expired)
EXPIRES(on_pace, session, pace, pulse_expired)
EXPIRES(on_life, session, life, session_expired)
EXPIRES(on_dial, peer, dial, peer_dial_expired)
EXPIRES(on_call, call, deadline, call_expired)
EXPIRES(on_serve, serve, deadline, serve_expired)
EXPIRES(on_transfer, transfer, timer, transfer_expired)
EXPIRES(on_connection, connection, timer, lane_expired)

static const expired expiries[TIMER_KINDS] = {
    [TIMER_SESSION_LOSS] = on_loss,     [TIMER_SESSION_ACK] = on_ack,
    [TIMER_SESSION_PACE] = on_pace,     [TIMER_SESSION_LIFE] = on_life,
    [TIMER_PEER_DIAL] = on_dial,        [TIMER_CALL] = on_call,
    [TIMER_SERVE] = on_serve,           [TIMER_TRANSFER] = on_transfer,
    [TIMER_CONNECTION] = on_connection,
};

void engine_tick(engine *e, uint64_t now)
{
    now = engine_enter(e, now);
    for (uint32_t i = 0; i < ENGINE_BATCH; i++) {
        timer *t = timers_take(&e->timers, now);
        if (t == NULL)
            return;
        ENSURE(t->kind < TIMER_KINDS);
        expiries[t->kind](e, now, t);
    }
}

uint64_t engine_deadline(const engine *e)
{
    return timers_earliest(&e->timers);
}
