/* transfer_send.c - the sender of a big message: offer, write, listen for the position, move. */
#include "engine/outbox.h"
#include "engine/recovery.h"
#include "engine/route.h"
#include "engine/state.h"
#include "engine/transfer.h"

#define SMALL_MOST (UINT64_C(1) << 20) /* bytes: larger ones go on the lane of class 2 (T9) */
#define LOOK_AGAIN (250 * NS_PER_MS)   /* without a lane */
#define LOOK_LEAST NS_PER_MS

bool transfer_sending(const transfer *t)
{
    return t->state == SEND_ACTIVE || t->state == SEND_ASSIGNING || t->state == SEND_ASKING;
}

/* ---- beginning ---- */

static transfer *begin(engine *e, uint64_t now, session *s, carries what, uint64_t size)
{
    uint16_t slot;
    if (!slot_table_take(&s->sends, &e->cells, &slot))
        return NULL;
    transfer *t = transfer_new(e, s, DO_OFFER, what);
    if (t == NULL) {
        slot_table_untake(&s->sends, slot);
        return NULL;
    }
    slot_entry *entry = slot_table_at(&s->sends, slot);
    entry->value = t->index + 1;
    t->slot = slot;
    t->sequence = entry->sequence;
    t->slot_held = true;
    t->total = size;
    t->lane_class = size <= SMALL_MOST ? 1 : 2;
    trace_entry *traced = trace_add(&e->trace, now, TRACE_TRANSFER_OFFER, s->index);
    traced->id = size;
    traced->slot = slot;
    traced->sequence = t->sequence;
    lane_want(e, now, s, t->lane_class); /* it opens while the OFFER is on its way */
    timer_arm(&e->timers, &t->timer, time_after(now, LOOK_AGAIN));
    return t;
}

transfer *transfer_send_request(engine *e, uint64_t now, session *s, struct call *c)
{
    transfer *t = begin(e, now, s, CARRIES_REQUEST, c->memory_size);
    if (t == NULL)
        return NULL;
    t->call = c;
    t->memory = c->memory;
    c->memory = 0;
    outbox_push(e, s, &t->offer);
    session_watch(e, now, s);
    return t;
}

transfer *transfer_send_reply(engine *e, uint64_t now, session *s, struct serve *v, uint64_t memory,
                              uint64_t size)
{
    transfer *t = begin(e, now, s, CARRIES_REPLY, size);
    if (t == NULL)
        return NULL;
    t->serve = v;
    t->status = v->status;
    t->memory = memory;
    outbox_push(e, s, &t->offer);
    session_watch(e, now, s);
    return t;
}

/* ---- ending ---- */

/* It is LEAVING now: off the lane, and the slot is kept only until ABANDON is acknowledged. */
static void leave(engine *e, uint64_t now, transfer *t, bool abandon)
{
    session *s = t->session;
    lane_unlist(t);
    transfer_eager_back(t);
    transfer_message_drop(t, &t->query);
    bool never_left = t->offer.times == 0;
    transfer_message_drop(t, &t->offer);
    if (abandon && !never_left) {
        t->offer.kind = MESSAGE_ABANDON;
        outbox_push(e, s, &t->offer);
    } else if (t->slot_held) {
        slot_table_give(&s->sends, t->slot);
        t->slot_held = false;
    }
    trace_entry *traced = trace_add(&e->trace, now, TRACE_TRANSFER_END, s->index);
    traced->id = t->position;
    traced->slot = t->slot;
    traced->sequence = t->sequence;
    /* T5: a lane that does not let go of the memory is shut down. */
    timer_arm(&e->timers, &t->timer,
              t->operations > 0 ? time_after(now, e->config.lane_progress) : TIME_NEVER);
}

static void tell_failed(engine *e, uint64_t now, transfer *t, status why)
{
    call *c = t->call;
    serve *v = t->serve;
    t->call = NULL;
    t->serve = NULL;
    if (c != NULL)
        call_send_failed(e, now, c, why);
    if (v != NULL)
        serve_send_failed(e, now, v, why);
}

static void fail(engine *e, uint64_t now, transfer *t, status why)
{
    transfer_input_apply(t, DO_LEAVE);
    leave(e, now, t, true);
    tell_failed(e, now, t, why);
    transfer_settle(e, now, t);
}

static void tell_complete(engine *e, uint64_t now, transfer *t)
{
    call *c = t->call;
    serve *v = t->serve;
    t->call = NULL;
    t->serve = NULL;
    e->counters.transfers_sent++;
    /* C6: the peer may have had it by another way before our last byte left. */
    if (c != NULL && !t->whole)
        call_sent_whole(e, now, c);
    if (c != NULL)
        call_sent_complete(e, now, c);
    if (v != NULL)
        serve_sent_complete(e, now, v);
}

void transfer_abandon(engine *e, uint64_t now, transfer *t)
{
    if (!transfer_is_sender(t)) {
        transfer_refuse(e, now, t, STATUS_CANCELLED);
        return;
    }
    t->call = NULL;
    t->serve = NULL;
    if (t->state == SEND_LEAVING || t->session == NULL)
        return;
    transfer_input_apply(t, DO_LEAVE);
    leave(e, now, t, true);
    transfer_settle(e, now, t);
}

/* ---- lanes ---- */

void transfer_assign(engine *e, uint64_t now, transfer *t)
{
    connection *c = lane_usable(e, t->session, t->lane_class);
    if (c == NULL) {
        lane_want(e, now, t->session, t->lane_class);
        timer_arm(&e->timers, &t->timer, time_after(now, LOOK_AGAIN));
        return;
    }
    t->lane = c->lane;
    t->progress_at = t->quiet_since = now;
    if (t->state == SEND_ASSIGNING) { /* T3: the receiver's word counts */
        transfer_message_drop(t, &t->query);
        outbox_push(e, t->session, &t->query);
    } else {
        lane_enlist(e, t);
    }
}

void transfer_lane_lost(engine *e, uint64_t now, transfer *t)
{
    lane_unlist(t);
    t->lane = 0;
    if (t->peak > 0) { /* else nothing was written on any lane, and the first is still free */
        transfer_input_apply(t, DO_MOVE);
        t->eager = false; /* the receiver's word counts from here on (T3) */
    }
    transfer_assign(e, now, t);
}

void transfer_wrote(engine *e, uint64_t now, transfer *t, uint32_t length)
{
    uint64_t end = t->written + length;
    if (t->written == t->position)
        t->progress_at = now;
    e->counters.bulk_bytes_sent += length;
    if (t->written < t->peak)
        e->counters.bulk_bytes_again += (end < t->peak ? end : t->peak) - t->written;
    t->written = end;
    if (end > t->peak)
        t->peak = end;
    t->operations++;
    t->quiet_since = now;
    if (end == t->total)
        timer_arm(&e->timers, &t->timer, time_after(now, recovery_pto(e, t->session)));
    if (end < t->total || t->whole)
        return;
    t->whole = true;
    if (t->call != NULL)
        call_sent_whole(e, now, t->call); /* O1 */
}

void transfer_write_done(engine *e, uint64_t now, transfer *t)
{
    t->operations--;
    t->quiet_since = now;
    transfer_settle(e, now, t);
}

/* ---- the receiver's word ---- */

static bool heard_granted(engine *e, uint64_t now, transfer *t, const frame *f)
{
    if (f->position > t->peak || f->position > t->total)
        return false;
    bool first = t->state == SEND_OFFERING;
    /* A late first grant names lane 0 too, as if it answered where no lane is assigned yet. */
    if (t->state == SEND_ASSIGNING && t->lane != 0 && f->lane == t->lane) {
        transfer_input_apply(t, HEARD_RESUME);
        trace_add(&e->trace, now, TRACE_TRANSFER_RESUME, t->session->index)->id = f->position;
        t->position = t->written = f->position;
        t->progress_at = now;
        lane_enlist(e, t);
        return true;
    }
    transfer_input_apply(t, HEARD_GRANTED);
    if (f->position > t->position && t->state == SEND_ACTIVE) {
        lane_progressed(e, now, t->session, t->lane, f->position - t->position);
        t->position = f->position;
        t->progress_at = now;
    }
    if (f->state == TRANSFER_AGAIN && t->eager && t->state == SEND_ACTIVE)
        transfer_eager_again(e, now, t);
    if (first) {
        trace_add(&e->trace, now, TRACE_TRANSFER_GRANT, t->session->index)->slot = t->slot;
        transfer_assign(e, now, t);
    }
    return true;
}

/* P7: refused as busy, to be tried again with the same memory, which a WRITE still names (A1). */
static bool keeps_memory(const transfer *t, const frame *f)
{
    return f->status == STATUS_BUSY && t->call != NULL && t->operations > 0;
}

void transfer_tell_busy(engine *e, uint64_t now, transfer *t)
{
    tell_failed(e, now, t, STATUS_BUSY);
}

static void heard_final(engine *e, uint64_t now, transfer *t, const frame *f)
{
    bool known = t->state != SEND_LEAVING;
    session *s = t->session;
    uint32_t lane = t->lane;
    uint64_t moved = t->total - t->position;
    transfer_input_apply(t, HEARD_FINAL);
    leave(e, now, t, false);
    if (known && f->state == TRANSFER_COMPLETE) {
        lane_progressed(e, now, s, lane, moved);
        tell_complete(e, now, t);
    } else if (known && !keeps_memory(t, f)) {
        tell_failed(e, now, t, f->status < STATUS_COUNT ? (status)f->status : STATUS_FAILED);
    }
    if (t->operations > 0)
        transfer_room(e, now, s); /* the slot is free before the memory is */
    transfer_settle(e, now, t);
}

static void heard_missing(engine *e, uint64_t now, transfer *t)
{
    if (t->state == SEND_LEAVING)
        return;
    if (t->state == SEND_OFFERING) {
        if (t->offer.place == MESSAGE_IDLE)
            outbox_push(e, t->session, &t->offer);
        return;
    }
    transfer_input_apply(t, HEARD_MISSING);
    leave(e, now, t, false);
    tell_failed(e, now, t, STATUS_FAILED);
    transfer_settle(e, now, t);
}

applied transfer_got_word(engine *e, uint64_t now, session *s, const frame *f)
{
    slot_entry *entry = slot_table_at(&s->sends, f->transfer_slot);
    if (entry == NULL)
        return VIOLATION;
    if (entry->sequence != f->transfer_sequence || entry->value == 0)
        return APPLIED; /* late */
    transfer *t = &e->transfers[entry->value - 1];
    t->quiet_since = now;
    t->asks = 0;
    switch ((transfer_word)f->state) {
    case TRANSFER_WAITING: return APPLIED;
    case TRANSFER_AGAIN:
    case TRANSFER_GRANTED: return heard_granted(e, now, t, f) ? APPLIED : VIOLATION;
    case TRANSFER_COMPLETE:
    case TRANSFER_REJECTED: heard_final(e, now, t, f); return APPLIED;
    case TRANSFER_UNKNOWN: heard_missing(e, now, t); return APPLIED;
    }
    return VIOLATION;
}

/* ---- time ---- */

/* One probe that is on its way is no doubt yet: it may have left this very moment. */
static bool peer_doubtful(const session *s)
{
    return s->pulse.unanswered > 1 || s->pulse.suspect || s->quiet;
}

/* T7: no position for 2 s while bytes are out and probes are answered: the lane is bad. What the
 * lane did for others counts. The moment at which to look again. */
static uint64_t check_progress(engine *e, uint64_t now, transfer *t, uint64_t late)
{
    session *s = t->session;
    connection *c = lane_by_number(e, s, t->lane);
    if (c == NULL || t->written == t->position)
        return time_after(now, e->config.lane_progress);
    if (late > e->config.own_stall || peer_doubtful(s))
        c->progress_at = now; /* we slept (L3), or the verdict is on the peer */
    uint64_t since = t->progress_at > c->progress_at ? t->progress_at : c->progress_at;
    uint64_t doubt = e->config.lane_progress / 4;
    if (now - since < doubt)
        return time_after(since, doubt);
    if (now - since < e->config.lane_progress) { /* perhaps the path swallows full segments (T8) */
        route_doubt_full(e, s, since);
        return time_after(now, doubt / 2);
    }
    lane_suspect(e, now, c);
    return time_after(now, LOOK_AGAIN);
}

/* T4: all is written and nothing is heard: ask, in growing pauses. */
static uint64_t check_asking(engine *e, uint64_t now, transfer *t)
{
    if (t->written < t->total || t->operations > 0)
        return TIME_NEVER;
    uint64_t pause = recovery_pto(e, t->session) << t->asks;
    if (pause > e->config.pto_max)
        pause = e->config.pto_max;
    if (now - t->quiet_since < pause)
        return time_after(t->quiet_since, pause);
    transfer_input_apply(t, DO_ASK);
    t->quiet_since = now;
    if (t->asks < 6)
        t->asks++;
    if (t->query.place == MESSAGE_IDLE)
        outbox_push(e, t->session, &t->query);
    return time_after(now, pause);
}

/* No lane: is there any hope (M5)? */
static void without_lane(engine *e, uint64_t now, transfer *t)
{
    if (lane_unavailable(e, now, t->session)) {
        fail(e, now, t, STATUS_LANE_UNAVAILABLE);
        return;
    }
    if (t->state == SEND_OFFERING) {
        lane_want(e, now, t->session, t->lane_class);
        timer_arm(&e->timers, &t->timer, time_after(now, LOOK_AGAIN));
    } else {
        transfer_assign(e, now, t);
    }
}

void transfer_send_expired(engine *e, uint64_t now, transfer *t)
{
    uint64_t late = now - t->timer.due;
    if (t->session == NULL)
        return;
    connection *c = lane_by_number(e, t->session, t->lane);
    if (t->state == SEND_LEAVING) {
        if (t->operations > 0 && c != NULL)
            lane_drop(e, now, c); /* T5: a stuck lane lets go of the memory */
        return;
    }
    if (c == NULL || (c->bad && lane_unavailable(e, now, t->session))) {
        without_lane(e, now, t);
        return;
    }
    if (!transfer_sending(t))
        return;
    uint64_t look = check_progress(e, now, t, late);
    uint64_t ask = t->state == SEND_ASSIGNING ? TIME_NEVER : check_asking(e, now, t);
    if (ask < look)
        look = ask;
    timer_arm(&e->timers, &t->timer, look > now ? look : time_after(now, LOOK_LEAST));
}
