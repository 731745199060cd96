/* dial.c - the handshake, both roles: who dials when, what is believed, what is answered. */
#include "engine/lane.h"
#include "engine/outbox.h"
#include "engine/peer.h"
#include "engine/pulse.h"
#include "engine/route.h"
#include "engine/state.h"

#define DIAL_LIFE         (5 * NS_PER_S) /* without an answer: calls end UNREACHABLE */
#define DIAL_REFUSED_LIFE NS_PER_S       /* refused all the while: nothing listens there */
#define DIAL_AGAIN        NS_PER_S       /* between dials while somebody watches */
#define DIAL_TABLE_FULL   (100 * NS_PER_MS)
#define TRIES             4u /* hello states kept, so that late answers still fit */

/* One message 1 that may still be answered. */
typedef struct {
    hello_state state;
    uint64_t sent; /* ns, 0: none */
    uint64_t counter;
} dial_try;

_Static_assert(sizeof(dial_try) * TRIES <= CELL_LARGEST, "the tries of a dial share one cell");

static dial_try *tries_of(session *s)
{
    return (dial_try *)(void *)s->hello;
}

void dial_forget(engine *e, session *s)
{
    if (s->hello == NULL)
        return;
    aead_wipe(s->hello, sizeof(dial_try) * TRIES);
    cells_give(&e->cells, s->hello);
    s->hello = NULL;
}

/* ---- dialling ---- */

static uint64_t retry_pause(engine *e, const session *s)
{
    uint64_t pause = e->config.hello_retry << (s->attempt < 2 ? s->attempt : 2);
    if (pause > e->config.hello_retry_max)
        pause = e->config.hello_retry_max;
    return pause * (90 + random_below(&e->random, 21)) / 100;
}

static session *dial_new(engine *e, uint64_t now, const address *remote)
{
    session *s = session_new(e, now, SESSION_DIALLING, true);
    if (s == NULL)
        return NULL;
    s->hello = cells_take(&e->cells, sizeof(dial_try) * TRIES);
    if (s->hello == NULL) {
        session_free(e, now, s);
        return NULL;
    }
    memset(s->hello, 0, sizeof(dial_try) * TRIES);
    s->route.now.remote = s->dialled = *remote;
    s->hello_due = e->config.udp;
    timer_arm(&e->timers, &s->life, now + retry_pause(e, s));
    outbox_wake(e, s);
    if (!e->config.udp) {
        s->handshake_tcp = true;
        lane_dial(e, now, s, remote);
    }
    return s;
}

static void dial_for(peer *p, session *s)
{
    p->dialling = s;
    list_push_back(&s->dialling_peers, &p->in_dial);
}

void dial_start(engine *e, uint64_t now, peer *p)
{
    if (e->closed || p->session != NULL || p->dialling != NULL)
        return;
    if (p->remote.port == 0) {
        call_fail_waiting(e, now, p, STATUS_UNREACHABLE);
        return;
    }
    session *s = dial_new(e, now, &p->remote);
    if (s == NULL) {
        timer_arm(&e->timers, &p->dial, now + DIAL_TABLE_FULL);
        return;
    }
    p->unverified_at = 0;
    dial_for(p, s);
    peer_changed(e, now, p);
}

/* What was dialled; the route may have moved to where meanwhile somebody else is (S4). The acceptor
 * tries where its application looks for the peer: a restarted node behind a NAT dials anew from
 * elsewhere, and S4 forbids to take that for the end of the old one. */
static const address *doubt_address(const session *s)
{
    if (s->dialler)
        return &s->dialled;
    list_link *at = list_first(&s->peers);
    for (; at != NULL; at = list_next(&s->peers, at)) {
        const peer *p = CONTAINER_OF(at, peer, in_session);
        if (peer_wanted(p) && p->remote.port != 0)
            return &p->remote;
    }
    return NULL;
}

void dial_doubt(engine *e, uint64_t now, session *s)
{
    const address *remote = doubt_address(s);
    if (remote == NULL || s->doubted_by != NULL || e->closed)
        return;
    session *fresh = dial_new(e, now, remote);
    if (fresh == NULL)
        return;
    fresh->doubts = s;
    s->doubted_by = fresh;
}

void dial_renew(engine *e, uint64_t now, session *s)
{
    uint64_t offered = e->keys.count == 0 ? 0 : e->keys.name[e->keys.offered];
    bool serves = s->state == SESSION_UP && session_takes_new(s);
    if (s->dialler && serves && s->key_name != offered && !e->closed)
        (void)dial_new(e, now, doubt_address(s));
}

parameters dial_parameters(const engine *e)
{
    return (parameters){.incarnation = e->incarnation,
                        .max_message = e->config.max_message,
                        .max_ack_delay_us = (uint32_t)(e->config.max_ack_delay / NS_PER_US),
                        .lost_ms = (uint32_t)(e->config.lost_after / NS_PER_MS),
                        .port = e->config.port,
                        .budget = PACKET_BUDGET,
                        .calls = e->config.call_slots,
                        .transfers = e->config.transfer_slots};
}

/* Bit per cipher: all we have when there is a key, else only plaintext (K3, K11). */
static uint8_t offers(const engine *e)
{
    if (e->keys.count == 0)
        return 1u << CIPHER_PLAIN;
    uint8_t bits = 0;
    for (unsigned kind = CIPHER_AES_256_GCM; kind < CIPHER_COUNT; kind++)
        if (aead_available((cipher)kind) && (e->config.ciphers >> kind & 1u) != 0)
            bits |= (uint8_t)(1u << kind);
    return bits;
}

size_t dial_write(engine *e, uint64_t now, session *s, uint8_t *out)
{
    uint8_t entropy[ENGINE_ENTROPY];
    if (s->state != SESSION_DIALLING || !engine_draw_entropy(e, entropy))
        return 0;
    s->attempt++;
    dial_try *t = &tries_of(s)[s->attempt % TRIES];
    t->sent = now;
    t->counter = ++e->counter;
    parameters ours = dial_parameters(e);
    ours.counter = t->counter;
    ours.ciphers = offers(e);
    ours.doubted = s->doubts == NULL ? 0 : s->doubts->peer_id;
    uint8_t payload[PARAMETERS_SIZE];
    writer w = writer_of(payload, sizeof payload);
    parameters_write(&w, &ours);
    uint64_t id = s->id | (uint64_t)(s->attempt % TRIES) << 26;
    e->counters.hellos_sent++;
    trace_add(&e->trace, now, TRACE_HELLO_SENT, s->index)->id = id;
    size_t size = hello_write_first(&t->state, &e->keys, entropy, id, payload, sizeof payload, out,
                                    PACKET_BUDGET);
    aead_wipe(entropy, sizeof entropy);
    return size;
}

status dial_verdict(const peer *p)
{
    if (p->unverified_at != 0)
        return STATUS_UNVERIFIED;
    return p->dialling->refusals > 0 ? STATUS_REFUSED_BY_HOST : STATUS_UNREACHABLE;
}

void dial_stop(engine *e, uint64_t now, session *s)
{
    list_link *at;
    while ((at = list_first(&s->dialling_peers)) != NULL) {
        list_remove(at);
        CONTAINER_OF(at, peer, in_dial)->dialling = NULL;
    }
    lane_session_ended(e, now, s, false);
    session_free(e, now, s);
}

static void dial_fail(engine *e, uint64_t now, session *s)
{
    list_link *at;
    while ((at = list_first(&s->dialling_peers)) != NULL) {
        peer *p = CONTAINER_OF(at, peer, in_dial);
        status why = dial_verdict(p);
        list_remove(at);
        p->dialling = NULL;
        p->reason = (uint8_t)why;
        call_fail_waiting(e, now, p, why);
        peer_changed(e, now, p);
        if (p->watchers > 0)
            timer_arm(&e->timers, &p->dial, now + DIAL_AGAIN);
    }
    dial_stop(e, now, s);
}

void dial_expired(engine *e, uint64_t now, session *s)
{
    uint64_t since = now - s->began;
    if (since >= DIAL_LIFE || (s->refusals > 2 && since >= DIAL_REFUSED_LIFE)) {
        dial_fail(e, now, s);
        return;
    }
    s->hello_due = e->config.udp;
    if (s->hello_due)
        outbox_wake(e, s);
    if (e->config.tcp) { /* each time anew: the last connection may have failed (M2) */
        s->handshake_tcp = true;
        lane_dial(e, now, s, &s->route.now.remote);
    }
    timer_arm(&e->timers, &s->life, now + retry_pause(e, s));
}

void dial_refused(session *s)
{
    if (s->state == SESSION_DIALLING && s->refusals < UINT8_MAX)
        s->refusals++;
}

/* ---- message 2: the dialler learns whom it reached ---- */

void dial_accepted(uint64_t now, session *s)
{
    list_link *at = list_first(&s->dialling_peers);
    for (; at != NULL; at = list_next(&s->dialling_peers, at))
        CONTAINER_OF(at, peer, in_dial)->unverified_at = now;
}

static void note_unverified(engine *e, uint64_t now, session *s)
{
    engine_drop(e, now, DROP_HELLO_STRAY, s->index);
    dial_accepted(now, s);
}

/* S3: what message 2 says of the session in doubt. False: the new dial has done its duty. */
static bool settle_doubt(engine *e, uint64_t now, session *s, const parameters *theirs)
{
    session *old = s->doubts;
    if (old == NULL)
        return true;
    bool same = theirs->incarnation == old->incarnation;
    if (same && theirs->verdict == DOUBT_ALIVE)
        return false;
    list_link *at = list_first(&old->peers);
    for (; at != NULL; at = list_next(&old->peers, at)) {
        peer *p = CONTAINER_OF(at, peer, in_session);
        if (p->dialling == NULL)
            dial_for(p, s);
    }
    session_end(e, now, old, same ? STATUS_DISMISSED : STATUS_RESTARTED, false);
    return true;
}

static void attach_diallers(engine *e, uint64_t now, session *s)
{
    list_link *at;
    while ((at = list_first(&s->dialling_peers)) != NULL) {
        peer *p = CONTAINER_OF(at, peer, in_dial);
        list_remove(at);
        p->dialling = NULL;
        p->unverified_at = 0;
        if (p->session == NULL)
            peer_attach(e, now, p, s);
    }
}

static void dialled(engine *e, uint64_t now, session *s, dial_try *t, const path *from,
                    uint32_t over, const parameters *theirs)
{
    session_secrets secrets;
    uint64_t sent = t->sent;
    hello_split(&t->state, true, &secrets);
    s->id |= (uint64_t)(t - tries_of(s)) << 26;
    s->rank = t->counter;
    s->key_name = t->state.key_name;
    s->hello_due = false;
    if (over == 0)
        s->route.now = *from;
    s->route.mode = over == 0 ? PATH_UDP : PATH_LANE0;
    s->route.udp_since = now;
    session_keyed(e, now, s, &secrets, theirs); /* gives the tries back */
    aead_wipe(&secrets, sizeof secrets);
    /* An answer that took longer lay in a buffer while one of the two was stopped. */
    uint64_t took = now - sent;
    rtt_sample(&s->rtt, took < e->config.pto_initial ? took : e->config.pto_initial, 0);
    lane_adopt(e, now, over, s);
    attach_diallers(e, now, s);
}

void dial_got_second(engine *e, uint64_t now, const path *from, uint32_t over, uint8_t *bytes,
                     size_t size)
{
    e->counters.hellos_received++;
    session *s = size < HELLO_SECOND_HEADER ? NULL : session_find(e, load_u64(bytes + 4));
    if (s == NULL || s->state != SESSION_DIALLING || e->hellos_left == 0) {
        engine_drop(e, now, DROP_HELLO_STRAY, 0);
        return;
    }
    dial_try *t = &tries_of(s)[load_u64(bytes + 4) >> 26 & (TRIES - 1)];
    uint8_t payload[HELLO_ROOM];
    size_t payload_size;
    uint64_t theirs_id;
    if (t->sent == 0 || hello_read_second(&t->state, &e->keys, bytes, size, &theirs_id, payload,
                                          &payload_size) != HELLO_OK) {
        note_unverified(e, now, s);
        return;
    }
    e->hellos_left--;
    parameters theirs;
    reader r = reader_of(payload, payload_size);
    if (!parameters_read(&r, &theirs) || theirs.ciphers >= CIPHER_COUNT ||
        ((unsigned)offers(e) >> theirs.ciphers & 1u) == 0 || theirs.incarnation == 0 ||
        theirs.calls == 0) {
        engine_drop(e, now, DROP_FRAME, s->index);
        return;
    }
    trace_add(&e->trace, now, TRACE_HELLO_GOT, s->index)->id = theirs.incarnation;
    s->peer_id = theirs_id;
    s->cipher = theirs.ciphers;
    uint64_t id = s->id;
    bool serves = settle_doubt(e, now, s, &theirs);
    if (s->id != id || s->state != SESSION_DIALLING)
        return; /* the peers of the old one had another session: this dial was dropped with them */
    if (serves) {
        dialled(e, now, s, t, from, over, &theirs);
        return;
    }
    /* It lives, but where its packets go nobody answers: perhaps both have moved (S8), or it has
     * lost the connection that it was made over (M2). */
    if (s->doubts != NULL) {
        route_heard(e, now, s->doubts, from, over, size);
        if (over != 0)
            lane_want(e, now, s->doubts, 0);
    }
    dial_stop(e, now, s);
}
