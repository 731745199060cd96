/* outbox.c - the queues of a session, and the packets made of them. */
#include "engine/outbox.h"

#include "engine/lane.h"
#include "engine/pulse.h"
#include "engine/recovery.h"
#include "engine/route.h"
#include "engine/state.h"

#define LAST_CLASS_EVERY 8u /* packets of which at least one begins with requests (P9) */
#define PACE_RTT         (2 * NS_PER_MS) /* shorter round trips are not paced (P8) */

/* ---- messages: what each kind is made of ---- */

typedef struct {
    message_queue queue;
    size_t (*size)(engine *e, const message *m);
    bool (*write)(engine *e, uint64_t now, session *s, message *m, writer *w);
    void (*acked)(engine *e, uint64_t now, session *s, message *m);
} message_row;

static const message_row rows[MESSAGE_KINDS] = {
    [MESSAGE_REQUEST] = {QUEUE_REQUEST, call_request_size, call_request_write, call_request_acked},
    [MESSAGE_CANCEL] = {QUEUE_CONTROL, call_cancel_size, call_cancel_write, call_cancel_acked},
    [MESSAGE_REPLY] = {QUEUE_REPLY, serve_reply_size, serve_reply_write, serve_reply_acked},
    [MESSAGE_OFFER] = {QUEUE_REQUEST, transfer_message_size, transfer_message_write,
                       transfer_message_acked},
    [MESSAGE_QUERY] = {QUEUE_CONTROL, transfer_message_size, transfer_message_write,
                       transfer_message_acked},
    [MESSAGE_ABANDON] = {QUEUE_CONTROL, transfer_message_size, transfer_message_write,
                         transfer_message_acked},
    [MESSAGE_WORD] = {QUEUE_CONTROL, transfer_message_size, transfer_message_write,
                      transfer_message_acked},
};

void outbox_wake(engine *e, session *s)
{
    if (!link_linked(&s->sending))
        list_push_back(&e->sending, &s->sending);
}

static void enqueue(session *s, message *m, message_queue queue)
{
    if (m->place == MESSAGE_FLYING)
        list_remove(&m->at);
    else if (m->place == MESSAGE_QUEUED)
        return;
    m->place = MESSAGE_QUEUED;
    list_push_back(&s->queues[queue], &m->at);
    s->queued++;
}

void outbox_ride(session *s, message *m)
{
    ENSURE(m->kind != 0 && m->kind < MESSAGE_KINDS);
    if (m->place != MESSAGE_QUEUED)
        m->times = 0; /* it says something new: only what loss sends again counts as such */
    enqueue(s, m, rows[m->kind].queue);
}

void outbox_push(engine *e, session *s, message *m)
{
    outbox_ride(s, m);
    outbox_wake(e, s);
}

void outbox_again(engine *e, session *s, message *m)
{
    enqueue(s, m, QUEUE_RESEND);
    outbox_wake(e, s);
}

void outbox_drop(session *s, message *m)
{
    if (m->place == MESSAGE_IDLE)
        return;
    list_remove(&m->at);
    if (m->place == MESSAGE_QUEUED)
        s->queued--;
    m->place = MESSAGE_IDLE;
}

void outbox_acked(engine *e, uint64_t now, session *s, message *m)
{
    rows[m->kind].acked(e, now, s, m);
}

void outbox_control(engine *e, session *s, uint32_t controls)
{
    s->controls |= controls;
    if (controls != 0)
        outbox_wake(e, s);
}

/* ---- one packet ---- */

/* A packet being made. */
typedef struct {
    writer w;
    record *record;
    uint8_t *out;
    bool eliciting;
    bool close;                /* it says CLOSE */
    bool asks, answers, again; /* messages in it: of which half, and any that were sent before */
} draft;

static bool open_draft(engine *e, session *s, draft *d, uint8_t *out)
{
    *d = (draft){.out = out};
    d->record = recovery_record(e, s);
    d->w = writer_of(out + PACKET_HEADER + PACKET_PROLOGUE, PACKET_ROOM);
    return d->record != NULL;
}

static size_t draft_used(const draft *d)
{
    return PACKET_ROOM - writer_left(&d->w);
}

static void write_frame(draft *d, const frame *f, uint32_t bit)
{
    if (!frame_write(&d->w, f))
        return;
    d->record->controls |= (uint16_t)bit;
    d->eliciting = d->eliciting || frame_elicits(f->type);
}

/* Fills a control frame; the order of the table is the order of leaving (P9). */
static const struct {
    uint32_t bit;
    uint8_t type;
} control_rows[] = {
    {CONTROL_CLOSE, FRAME_CLOSE},    {CONTROL_PONG, FRAME_PONG},
    {CONTROL_PROBE, FRAME_PROBE},    {CONTROL_CONFIRM, FRAME_PROBE},
    {CONTROL_GRANTS, FRAME_GRANTS},  {CONTROL_DRAIN, FRAME_DRAIN},
    {CONTROL_ASK_0, FRAME_LANE_ASK}, {CONTROL_ASK_1, FRAME_LANE_ASK},
    {CONTROL_ASK_2, FRAME_LANE_ASK}, {CONTROL_PARK, FRAME_LANE_PARK},
};

static void write_control(engine *e, uint64_t now, session *s, draft *d, size_t row)
{
    uint32_t bit = control_rows[row].bit;
    frame f = {.type = control_rows[row].type, .status = s->reason};
    f.calls = s->granted_calls;
    f.transfers = s->granted_transfers;
    f.eager = s->eager_told;
    f.lane_class = bit == CONTROL_ASK_2 ? 2 : bit == CONTROL_ASK_1 ? 1 : 0;
    f.lane_class |= s->route.narrow || s->segment_size != 0 ? LANE_ASK_SMALL : 0;
    if (f.type == FRAME_PROBE || f.type == FRAME_PONG)
        pulse_beat(e, now, &f.beat);
    if (f.type == FRAME_PONG) {
        f.number = s->pong_number;
        f.sent_us = s->pong_sent_us;
        f.held_us = (uint32_t)((now - s->pong_got) / NS_PER_US);
        e->counters.pongs_sent++;
    }
    e->counters.probes_sent += f.type == FRAME_PROBE;
    write_frame(d, &f, bit);
    s->controls &= ~bit;
}

static void write_controls(engine *e, uint64_t now, session *s, draft *d, uint32_t allowed)
{
    for (size_t i = 0; i < sizeof control_rows / sizeof control_rows[0]; i++)
        if ((s->controls & allowed & control_rows[i].bit) != 0)
            write_control(e, now, s, d, i);
}

/* Messages that need room at the other side, to be answered from there. */
static bool is_asking(const message *m)
{
    return m->kind == MESSAGE_REQUEST || m->kind == MESSAGE_CANCEL || m->kind == MESSAGE_OFFER;
}

/* P2: a packet whose request finds no room is not acknowledged, and neither are the answers in it.
 * Two full nodes that sent such mixtures would wait for each other's acknowledgements for ever, so
 * what is sent again travels with its like: answers are always taken, and that makes room. */
static bool may_share(const draft *d, const message *m)
{
    bool mixed = is_asking(m) ? d->answers : d->asks;
    return !mixed || (m->times == 0 && !d->again);
}

/* False: the packet is full. */
static bool write_queue(engine *e, uint64_t now, session *s, draft *d, message_queue queue)
{
    list_link *at;
    while ((at = list_first(&s->queues[queue])) != NULL) {
        message *m = CONTAINER_OF(at, message, at);
        if (rows[m->kind].size(e, m) > writer_left(&d->w) || !may_share(d, m))
            return false;
        outbox_drop(s, m);
        if (!rows[m->kind].write(e, now, s, m, &d->w))
            continue; /* no longer needed */
        m->place = MESSAGE_FLYING;
        list_push_back(&d->record->carried, &m->at);
        e->counters.messages_resent += m->times > 0;
        d->again = d->again || m->times > 0;
        d->asks = d->asks || is_asking(m);
        d->answers = d->answers || !is_asking(m);
        if (m->times < UINT8_MAX)
            m->times++;
        d->eliciting = true;
    }
    return true;
}

static void write_messages(engine *e, uint64_t now, session *s, draft *d)
{
    bool last_first = ++s->served_low >= LAST_CLASS_EVERY;
    if (last_first || list_empty(&s->queues[QUEUE_REQUEST]))
        s->served_low = 0;
    if (last_first && !write_queue(e, now, s, d, QUEUE_REQUEST))
        return;
    for (message_queue queue = QUEUE_RESEND; queue < QUEUES; queue++)
        if (!write_queue(e, now, s, d, queue))
            return;
}

/* Prologue, header and tag around what the draft holds; the packet then has its number. */
static size_t finish(engine *e, uint64_t now, session *s, draft *d)
{
    packet_prologue prologue = {.sent_us = (uint32_t)(now / NS_PER_US),
                                .ack_largest = s->acks.largest,
                                .ack_bits = s->acks.bits};
    if (s->acks.largest != 0)
        prologue.ack_delay_us = (uint32_t)((now - s->acks.at) / NS_PER_US);
    packet_prologue_write(d->out + PACKET_HEADER, &prologue);
    packet_header header = {.epoch = seal_epoch(&s->seal), .session = s->peer_id};
    header.number = seal_next_number(&s->seal);
    packet_header_write(d->out, &header);
    size_t size = seal_protect(&s->seal, &e->aead, d->out, PACKET_HEADER,
                               PACKET_PROLOGUE + draft_used(d), header.number);
    acks_sent(&s->acks);
    s->packets_sent++;
    e->counters.packets_sent++;
    e->counters.bytes_sent += size;
    e->counters.acks_alone += !d->eliciting;
    trace_entry *t = trace_add(&e->trace, now, TRACE_PACKET_SENT, s->index);
    t->id = header.number;
    t->detail = (uint32_t)size;
    d->record->number = header.number;
    d->record->size = (uint16_t)size;
    return size;
}

static size_t leave(engine *e, uint64_t now, session *s, draft *d, path_kind kind)
{
    size_t size = finish(e, now, s, d);
    d->record->path = (uint8_t)kind;
    if (d->eliciting && kind == PATH_LANE0)
        route_put(s, now);
    if (d->eliciting)
        recovery_sent(e, now, s, d->record);
    else
        recovery_unused(e, d->record);
    return size;
}

size_t outbox_single(engine *e, uint64_t now, session *s, const frame *f,
                     uint8_t out[PACKET_BUDGET])
{
    draft d;
    if (!open_draft(e, s, &d, out))
        return 0;
    write_frame(&d, f, 0);
    size_t size = finish(e, now, s, &d);
    recovery_unused(e, d.record);
    return size;
}

/* ---- which packet ---- */

/* S8: one frame to a path that is not the session's, or not yet. */
static size_t path_packet(engine *e, uint64_t now, session *s, uint8_t *out, path *over)
{
    bool respond = (s->controls & CONTROL_RESPONSE) != 0;
    s->controls &= ~(uint32_t)(respond ? CONTROL_RESPONSE : CONTROL_CHALLENGE);
    frame f = {.type = respond ? FRAME_RESPONSE : FRAME_CHALLENGE};
    const detour *d = s->route.detour; /* there, or neither control would be due */
    f.number = respond ? d->response : d->token;
    *over = respond ? d->response_to : d->candidate;
    return outbox_single(e, now, s, &f, out);
}

/* M2: is UDP back? Asked at full size (P10), unless lane 0 is silent too. */
static size_t test_packet(engine *e, uint64_t now, session *s, uint8_t *out)
{
    draft d;
    if (!open_draft(e, s, &d, out))
        return 0;
    frame probe = {.type = FRAME_PROBE};
    pulse_beat(e, now, &probe.beat);
    write_frame(&d, &probe, 0);
    size_t left = route_test_full(s) ? writer_left(&d.w) - FRAME_HEAD : 0;
    write_u8(&d.w, FRAME_PADDING);
    write_u16(&d.w, (uint16_t)left);
    memset(write_gap(&d.w, left), 0, left);
    return leave(e, now, s, &d, PATH_UDP);
}

/* P8: bursts of at most 16 packets, the rest spread over the round trip. */
static bool paced_out(engine *e, uint64_t now, session *s)
{
    if (s->rtt.smoothed < PACE_RTT)
        return false;
    uint64_t span = s->rtt.smoothed * WINDOW_BURST * WINDOW_PACKET / s->window.size;
    if (now - s->pace_from >= span) {
        s->pace_from = now;
        s->pace_sent = 0;
    }
    if (s->pace_sent < WINDOW_BURST * WINDOW_PACKET)
        return false;
    uint64_t due = s->pace_from + span;
    if (!timer_armed(&s->ack) || s->ack.due > due)
        timer_arm(&e->timers, &s->ack, due);
    return true;
}

/* May ordinary messages leave now? Acknowledgements and probes always may (P6, P8). */
static bool may_send(engine *e, uint64_t now, session *s, path_kind kind)
{
    if (s->quiet || s->state == SESSION_TOMBSTONE)
        return false;
    if (kind == PATH_LANE0)
        return true;
    if (!window_open(&s->window, WINDOW_PACKET)) {
        s->window.limited = true;
        return false;
    }
    return !paced_out(e, now, s);
}

static path_kind kind_now(const engine *e, const session *s)
{
    bool lane0 = s->route.mode == PATH_LANE0 && lane_zero(e, s) != NULL;
    return lane0 || !e->config.udp ? PATH_LANE0 : PATH_UDP;
}

/* M2: we are on lane 0, and who asks by UDP wants to know whether that works, both ways. Lane 0 may
 * have died without a word; or UDP may reach us and not them: so the pong goes by both. */
static size_t pong_by_udp(engine *e, uint64_t now, session *s, uint8_t *out)
{
    draft d;
    s->route.pong_by_udp = false;
    if (!open_draft(e, s, &d, out))
        return 0;
    write_controls(e, now, s, &d, CONTROL_PONG);
    outbox_control(e, s, CONTROL_PONG);
    return leave(e, now, s, &d, PATH_UDP);
}

static bool pong_detours(const engine *e, const session *s)
{
    return s->route.pong_by_udp && (s->controls & CONTROL_PONG) != 0 &&
           (e->wanted & ACTION_SEND) != 0 && e->config.udp && kind_now(e, s) == PATH_LANE0;
}

static size_t ordinary_packet(engine *e, uint64_t now, session *s, uint8_t *out, path_kind kind)
{
    bool messages = may_send(e, now, s, kind);
    uint32_t allowed = messages ? UINT32_MAX : CONTROL_EXEMPT;
    if ((s->controls & allowed) == 0 && s->acks.due > now && (!messages || s->queued == 0))
        return 0;
    /* P10: small frames go by themselves where a large packet may be swallowed with them. */
    bool apart = kind == PATH_UDP && route_narrow(s) && (s->controls & allowed) != 0;
    draft d;
    if (!open_draft(e, s, &d, out))
        return 0;
    write_controls(e, now, s, &d, allowed);
    if (messages && !apart)
        write_messages(e, now, s, &d);
    if (draft_used(&d) == 0 && s->acks.due > now) {
        recovery_unused(e, d.record);
        return 0;
    }
    size_t size = leave(e, now, s, &d, kind);
    s->pace_sent += (uint32_t)size;
    return size;
}

size_t outbox_packet(engine *e, uint64_t now, session *s, uint8_t out[PACKET_BUDGET], path *over,
                     path_kind *kind)
{
    *over = s->route.now;
    *kind = PATH_UDP;
    if (s->state == SESSION_DIALLING) {
        bool due = s->hello_due && e->config.udp;
        s->hello_due = false;
        return due ? dial_write(e, now, s, out) : 0;
    }
    if (s->state == SESSION_HALF_OPEN || s->state == SESSION_FREE)
        return 0;
    if ((s->controls & (CONTROL_RESPONSE | CONTROL_CHALLENGE)) != 0)
        return path_packet(e, now, s, out, over);
    if ((e->wanted & ACTION_SEND) != 0 && route_test_due(e, now, s))
        return test_packet(e, now, s, out);
    if (pong_detours(e, s))
        return pong_by_udp(e, now, s, out);
    *kind = kind_now(e, s);
    return ordinary_packet(e, now, s, out, *kind);
}

/* ---- of all sessions ---- */

static bool next_answer(engine *e, action *out, uint8_t *buffer)
{
    list_link *at = list_first(&e->answers_due);
    if (at == NULL)
        return false;
    answer *a = CONTAINER_OF(at, answer, at);
    list_remove(at);
    memcpy(buffer, a->bytes, a->size);
    cells_give(&e->cells, a->bytes);
    list_push_back(&e->answers_free, &a->at);
    out->kind = ACTION_SEND;
    out->local = a->to.local;
    out->remote = a->to.remote;
    out->bytes = buffer;
    out->size = a->size;
    return true;
}

static void fill_send(action *out, const path *over, const uint8_t *bytes, size_t size)
{
    out->kind = ACTION_SEND;
    out->local = over->local;
    out->remote = over->remote;
    out->bytes = bytes;
    out->size = size;
}

static bool fill_put(engine *e, session *s, action *out, uint8_t *buffer, size_t size)
{
    connection *c = lane_zero(e, s);
    if (c == NULL)
        return false; /* lost in the same turn: as good as a lost packet */
    store_u16(buffer, (uint16_t)size);
    out->kind = ACTION_PUT;
    out->connection = c->id;
    out->bytes = buffer;
    out->size = size + RECORD_PREFIX;
    lane_put(c, out->size);
    return true;
}

/* True: this session cannot be asked now, because the loop or its lane 0 takes no packet. */
static bool blocked(engine *e, uint64_t now, session *s, unsigned wanted)
{
    bool off_path =
        s->state == SESSION_DIALLING || (s->controls & (CONTROL_RESPONSE | CONTROL_CHALLENGE)) != 0;
    path_kind kind = off_path || pong_detours(e, s) ? PATH_UDP : kind_now(e, s);
    if (kind == PATH_LANE0 && lane_zero(e, s) == NULL && s->state != SESSION_TOMBSTONE)
        lane_want(e, now, s, 0);
    if (kind == PATH_LANE0)
        return (wanted & ACTION_PUT) == 0 || !lane_can_put(e, s);
    return (wanted & ACTION_SEND) == 0;
}

bool outbox_next(engine *e, uint64_t now, unsigned wanted, action *out,
                 uint8_t buffer[ACTION_BUFFER])
{
    if ((wanted & ACTION_SEND) != 0 && next_answer(e, out, buffer))
        return true;
    list_link *at = list_first(&e->sending);
    while (at != NULL) {
        session *s = CONTAINER_OF(at, session, sending);
        at = list_next(&e->sending, at);
        if (blocked(e, now, s, wanted))
            continue;
        path over;
        path_kind kind;
        size_t size = outbox_packet(e, now, s, buffer + RECORD_PREFIX, &over, &kind);
        list_remove(&s->sending);
        if (size == 0)
            continue;
        list_push_back(&e->sending, &s->sending);
        if (kind == PATH_UDP) {
            fill_send(out, &over, buffer + RECORD_PREFIX, size);
            return true;
        }
        if (fill_put(e, s, out, buffer, size))
            return true;
    }
    return false;
}
