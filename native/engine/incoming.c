/* incoming.c - from bytes to changes: open, acknowledge, hand each frame to its machine. */
#include "engine/incoming.h"

#include "engine/lane.h"
#include "engine/outbox.h"
#include "engine/pulse.h"
#include "engine/recovery.h"
#include "engine/route.h"
#include "engine/state.h"

#define TOMBSTONE_SAYS_EVERY NS_PER_S /* S7: at most one CLOSE a second */

/* What a frame handler may need to know of the packet around it. */
typedef struct {
    const path *from;
    uint32_t connection; /* 0: UDP */
    uint64_t number;
    uint32_t sent_us;
} context;

typedef applied (*handler)(engine *e, uint64_t now, session *s, const context *c, const frame *f);

/* Most machines need only the frame. */
#define PLAIN(name, function)                                                                      \
    static applied name(engine *e, uint64_t now, session *s, const context *c, const frame *f)     \
    {                                                                                              \
        (void)c;                                                                                   \
        return function(e, now, s, f);                                                             \
    }

PLAIN(on_pong, pulse_got_pong)
PLAIN(on_request, serve_got_request)
PLAIN(on_reply, call_got_reply)
PLAIN(on_refused, call_got_refused)
PLAIN(on_cancel, serve_got_cancel)
PLAIN(on_offer, transfer_got_offer)
PLAIN(on_word, transfer_got_word)
PLAIN(on_query, transfer_got_query)
PLAIN(on_abandon, transfer_got_abandon)
PLAIN(on_lane_ask, lane_got_ask)
PLAIN(on_lane_gone, lane_got_gone)
PLAIN(on_lane_park, lane_got_park)

static applied on_probe(engine *e, uint64_t now, session *s, const context *c, const frame *f)
{
    s->route.pong_by_udp = c->connection == 0;
    return pulse_got_probe(e, now, s, c->number, c->sent_us, f);
}

static applied on_lane_hello(engine *e, uint64_t now, session *s, const context *c, const frame *f)
{
    return lane_got_hello(e, now, s, c->connection, f);
}

static applied on_lane_welcome(engine *e, uint64_t now, session *s, const context *c,
                               const frame *f)
{
    return lane_got_welcome(e, now, s, c->connection, f);
}

static applied on_challenge(engine *e, uint64_t now, session *s, const context *c, const frame *f)
{
    return c->connection != 0 ? APPLIED : route_got_challenge(e, now, s, c->from, f);
}

static applied on_response(engine *e, uint64_t now, session *s, const context *c, const frame *f)
{
    return c->connection != 0 ? APPLIED : route_got_response(e, now, s, c->from, f);
}

/* C1: the peer has reserved more slots; those only ever grow. Eager credit comes and goes (A1). */
static applied on_grants(engine *e, uint64_t now, session *s, const context *c, const frame *f)
{
    (void)c;
    if (f->calls > s->call_slots.count && f->calls <= e->config.call_slots_max)
        (void)slot_table_grow(&s->call_slots, &e->cells, f->calls);
    if (f->transfers > s->sends.count && f->transfers <= e->config.transfer_slots_max)
        (void)slot_table_grow(&s->sends, &e->cells, f->transfers);
    s->eager_theirs = f->eager;
    list_link *at = list_first(&s->peers);
    for (; at != NULL; at = list_next(&s->peers, at))
        call_dispatch(e, now, CONTAINER_OF(at, peer, in_session));
    return APPLIED;
}

/* S6: the peer starts nothing new here. Neither do we; our calls move to the chosen session. */
static applied on_drain(engine *e, uint64_t now, session *s, const context *c, const frame *f)
{
    (void)c;
    (void)f;
    s->theirs_drained = true;
    session_drain(e, now, s);
    session_maybe_empty(e, now, s);
    return APPLIED;
}

static applied on_close(engine *e, uint64_t now, session *s, const context *c, const frame *f)
{
    (void)c;
    status why = f->status == STATUS_CLOSED   ? STATUS_CLOSED
                 : f->status == STATUS_FAILED ? STATUS_FAILED
                 : f->status == STATUS_BROKEN ? STATUS_FAILED
                                              : STATUS_DISMISSED;
    session_end(e, now, s, why, false);
    return APPLIED;
}

static const handler handlers[] = {
    [FRAME_PROBE] = on_probe,
    [FRAME_PONG] = on_pong,
    [FRAME_REQUEST] = on_request,
    [FRAME_REPLY] = on_reply,
    [FRAME_REFUSED] = on_refused,
    [FRAME_CANCEL] = on_cancel,
    [FRAME_GRANTS] = on_grants,
    [FRAME_OFFER] = on_offer,
    [FRAME_TRANSFER] = on_word,
    [FRAME_QUERY] = on_query,
    [FRAME_ABANDON] = on_abandon,
    [FRAME_LANE_HELLO] = on_lane_hello,
    [FRAME_LANE_WELCOME] = on_lane_welcome,
    [FRAME_LANE_ASK] = on_lane_ask,
    [FRAME_LANE_GONE] = on_lane_gone,
    [FRAME_LANE_PARK] = on_lane_park,
    [FRAME_DRAIN] = on_drain,
    [FRAME_CLOSE] = on_close,
    [FRAME_CHALLENGE] = on_challenge,
    [FRAME_RESPONSE] = on_response,
};

/* What the frames of one packet amounted to. */
typedef struct {
    applied worst;
    bool eliciting;
    bool at_once; /* a probe: acknowledge without waiting (P3) */
} outcome_of_frames;

static outcome_of_frames apply_frames(engine *e, uint64_t now, session *s, const context *c,
                                      reader *r)
{
    outcome_of_frames got = {.worst = APPLIED};
    frame f = {0};
    for (;;) {
        frame_result result = frame_read(r, &f);
        if (result == FRAME_END)
            return got;
        if (result == FRAME_BAD) {
            got.worst = VIOLATION;
            return got;
        }
        got.eliciting = got.eliciting || frame_elicits(f.type);
        got.at_once = got.at_once || f.type == FRAME_PROBE || f.type == FRAME_PONG;
        got.worst = handlers[f.type](e, now, s, c, &f);
        if (got.worst != APPLIED || !session_live(s))
            return got;
    }
}

/* P2: only now is the packet one that we have. */
static void note_received(engine *e, uint64_t now, session *s, uint64_t number,
                          const outcome_of_frames *got)
{
    acks_got(&s->acks, number, now, got->eliciting, got->at_once, e->config.max_ack_delay);
    if (s->acks.due <= now)
        outbox_wake(e, s);
    else if (s->acks.due != TIME_NEVER && (!timer_armed(&s->ack) || s->ack.due > s->acks.due))
        timer_arm(&e->timers, &s->ack, s->acks.due);
}

/* S7: a packet of an ended session earns a word, unless it is itself the last word. */
static void answer_late(engine *e, uint64_t now, session *s, reader *r)
{
    frame f = {0};
    while (frame_read(r, &f) == FRAME_READ)
        if (f.type == FRAME_CLOSE)
            return;
    if (now - s->began < TOMBSTONE_SAYS_EVERY)
        return;
    s->began = now;
    outbox_control(e, s, CONTROL_CLOSE);
}

static void confirm_if_new(engine *e, uint64_t now, session *s)
{
    if (s->state == SESSION_HALF_OPEN || s->state == SESSION_UNCONFIRMED)
        session_confirm(e, now, s);
}

static void apply_packet(engine *e, uint64_t now, session *s, const context *c, reader *r,
                         size_t size)
{
    packet_prologue prologue;
    if (!packet_prologue_read(r, &prologue)) {
        engine_drop(e, now, DROP_FRAME, s->index);
        return;
    }
    if (s->state == SESSION_TOMBSTONE) {
        answer_late(e, now, s, r);
        return;
    }
    confirm_if_new(e, now, s);
    bool newest = c->number > s->acks.largest;
    s->pulse.heard = now;
    s->pulse.refused = 0;
    uint64_t late = age_packet(&s->age, now, prologue.sent_us);
    e->packet_sent_at = now - late;
    pulse_aged(e, now, s, late);
    if (newest)
        route_heard(e, now, s, c->from, c->connection, size);
    if (session_live(s))
        recovery_acknowledged(e, now, s, &prologue);
    if (!session_live(s))
        return;
    context with_time = *c;
    with_time.sent_us = prologue.sent_us;
    outcome_of_frames got = apply_frames(e, now, s, &with_time, r);
    if (got.worst == VIOLATION)
        engine_drop(e, now, DROP_FRAME, s->index);
    else if (got.worst == UNABLE)
        engine_drop(e, now, DROP_NO_ROOM, s->index);
    else if (session_live(s))
        note_received(e, now, s, c->number, &got);
}

static drop drop_for(seal_verdict verdict)
{
    switch (verdict) {
    case SEAL_REPLAY: return DROP_REPLAY;
    case SEAL_LATE: return DROP_LATE;
    case SEAL_SHORT: return DROP_SHORT;
    case SEAL_OK:
    case SEAL_EPOCH:
    case SEAL_TAG: break;
    }
    return DROP_TAG;
}

bool incoming_packet(engine *e, uint64_t now, const path *from, uint32_t connection_id,
                     uint8_t *bytes, size_t size)
{
    packet_header header;
    if (!packet_header_read(bytes, size, &header)) {
        engine_drop(e, now, size < PACKET_HEADER + PACKET_PROLOGUE ? DROP_SHORT : DROP_KIND, 0);
        return false;
    }
    session *s = session_find(e, header.session);
    if (s == NULL || s->id != header.session || s->state == SESSION_DIALLING) {
        engine_drop(e, now, DROP_SESSION, 0);
        return false;
    }
    size_t plain;
    seal_verdict verdict = seal_open(&s->seal, &e->aead, bytes, PACKET_HEADER, size, header.number,
                                     header.epoch, now, &plain);
    if (verdict != SEAL_OK) {
        engine_drop(e, now, drop_for(verdict), s->index);
        return false;
    }
    e->counters.packets_received++;
    e->counters.bytes_received += size;
    trace_entry *t = trace_add(&e->trace, now, TRACE_PACKET_GOT, s->index);
    t->id = header.number;
    t->detail = (uint32_t)size;
    reader r = reader_of(bytes + PACKET_HEADER, plain);
    context c = {.from = from, .connection = connection_id, .number = header.number};
    apply_packet(e, now, s, &c, &r, size);
    return true;
}

void incoming_datagram(engine *e, uint64_t now, const path *from, uint8_t *bytes, size_t size)
{
    if (!e->config.udp) {
        engine_drop(e, now, DROP_STATE, 0);
        return;
    }
    uint8_t kind = size == 0 ? 0 : bytes[0];
    if ((kind & 0xf0u) == PACKET_KIND)
        (void)incoming_packet(e, now, from, 0, bytes, size);
    else if (kind == HELLO_FIRST && size >= HELLO_ROOM) /* padded: UDP works at full size (P10) */
        (void)dial_got_first(e, now, from, 0, bytes, size);
    else if (kind == HELLO_SECOND)
        dial_got_second(e, now, from, 0, bytes, size);
    else
        engine_drop(e, now, size < PACKET_HEADER ? DROP_SHORT : DROP_KIND, 0);
}
