/* transfer_receive.c - the receiver of a big message: admit, allocate, read, tell how far, end. */
#include "base/serial.h"
#include "engine/outbox.h"
#include "engine/state.h"
#include "engine/transfer.h"

#define SMALL_MOST   (UINT64_C(1) << 20) /* bytes: larger ones come on the lane of class 2 (T9) */
#define REPORT_AFTER (10 * NS_PER_MS)    /* T1: so long a position may wait to be told */
#define RIDE_AFTER   (5 * NS_PER_MS)     /* so long a word may wait for another's packet */
#define COMING_MIN   2u                  /* large ones under way: a further GRANTED has time */
#define CORRUPT_MOST 2u                  /* failures at one offset: the memory changed (T6) */

/* A slot's value once its transfer is over: a mark, the final word, the status (T4). */
#define ENDED UINT32_C(0x80000000)

/* ---- slots ---- */

static slot_entry *entry_of(engine *e, session *s, uint16_t slot)
{
    return slot_table_reach(&s->receives, &e->cells, slot);
}

/* The transfer that lives in the entry. */
static transfer *live_in(engine *e, const slot_entry *entry)
{
    bool live = entry->value != 0 && (entry->value & ENDED) == 0;
    return live ? &e->transfers[entry->value - 1] : NULL;
}

void transfer_slot_ended(session *s, transfer *t)
{
    if (!t->slot_held)
        return;
    slot_entry *entry = slot_table_at(&s->receives, t->slot);
    t->slot_held = false;
    if (entry->sequence == t->sequence)
        entry->value = ENDED | (uint32_t)t->word_state << 8 | t->status;
}

/* ---- the word ---- */

static void say(engine *e, transfer *t)
{
    t->reported = t->position;
    timer_disarm(&e->timers, &t->timer);
    transfer_message_drop(t, &t->word);
    outbox_push(e, t->session, &t->word);
}

/* T1: what is told is only looked at for signs of life, and where to resume is asked (T3). A packet
 * per MiB would wake the sender's application 5,000 times a second, for each of them 0.1 ms. */
static void report(engine *e, uint64_t now, transfer *t)
{
    bool told_before = t->position - t->read_length <= t->reported;
    if (told_before || !timer_armed(&t->timer))
        timer_arm(&e->timers, &t->timer, time_after(now, REPORT_AFTER));
}

/* Each packet wakes the sender's application, which has nothing to do for it: so what can wait for
 * a packet that is expected soon does. Well before the sender would ask (T4). */
static void say_along(engine *e, uint64_t now, transfer *t)
{
    t->reported = t->position;
    transfer_message_drop(t, &t->word);
    outbox_ride(t->session, &t->word);
    timer_arm(&e->timers, &t->timer, time_after(now, RIDE_AFTER));
}

static bool word_waits(const transfer *t)
{
    return t->word.place == MESSAGE_QUEUED;
}

/* A GRANTED is in no hurry while the lane has enough to do, by what was told already. */
static bool much_is_coming(const session *s, const transfer *but)
{
    uint32_t count = 0;
    for (list_link *at = list_first(&s->transfers); at != NULL; at = list_next(&s->transfers, at)) {
        const transfer *t = CONTAINER_OF(at, transfer, at);
        bool coming = t->state == RECEIVE_ACTIVE && t->lane_class == 2 && !word_waits(t);
        count += t != but && coming;
        if (count >= COMING_MIN)
            return true;
    }
    return false;
}

/* One less is under way: those that were not in a hurry may be now. */
static void hurry_grants(engine *e, session *s)
{
    if (s->queued == 0 || much_is_coming(s, NULL))
        return;
    for (list_link *at = list_first(&s->transfers); at != NULL; at = list_next(&s->transfers, at)) {
        const transfer *t = CONTAINER_OF(at, transfer, at);
        if (t->state == RECEIVE_ACTIVE && word_waits(t)) {
            outbox_wake(e, s);
            return;
        }
    }
}

void transfer_receive_expired(engine *e, uint64_t now, transfer *t)
{
    if (t->session == NULL)
        return;
    if (t->state == RECEIVE_ACTIVE && t->position > t->reported) {
        say(e, t);
    } else if (t->read_busy && t->state == RECEIVE_LEAVING) {
        /* T5: a READ that never ends keeps the memory */
        connection *c = lane_by_id(e, t->read_connection);
        if (c != NULL)
            lane_drop(e, now, c);
    } else if (word_waits(t)) {
        outbox_wake(e, t->session);
    }
}

/* ---- ending ---- */

static void tell_failed(engine *e, uint64_t now, transfer *t, status why)
{
    call *c = t->call;
    serve *v = t->serve;
    t->call = NULL;
    t->serve = NULL;
    if (c != NULL)
        call_receive_failed(e, now, c, why);
    if (v != NULL)
        serve_receive_failed(e, now, v, why);
}

/* T5: a READ that is outstanding keeps the memory, but not longer than a lane may stand still. */
static void until_read_done(engine *e, uint64_t now, transfer *t)
{
    uint64_t end = t->read_busy ? time_after(now, e->config.lane_progress) : TIME_NEVER;
    timer_arm(&e->timers, &t->timer, end);
}

static void end(engine *e, uint64_t now, transfer *t, transfer_word word, status why)
{
    credit_withdraw(e, t);
    t->word_state = (uint8_t)word;
    if (word == TRANSFER_REJECTED)
        t->status = (uint8_t)why;
    t->word_due = false;
    trace_entry *traced = trace_add(&e->trace, now, TRACE_TRANSFER_END, t->session->index);
    traced->id = t->position;
    traced->slot = t->slot;
    traced->sequence = t->sequence;
    traced->detail = (uint32_t)why;
    /* A quick handler's reply follows, and so does the credit of an eager one (A1). */
    bool reply_follows = word == TRANSFER_COMPLETE && t->what == CARRIES_REQUEST && t->position > 0;
    if (reply_follows)
        say_along(e, now, t);
    else
        say(e, t);
    hurry_grants(e, t->session);
    if (t->read_busy)
        until_read_done(e, now, t);
}

/* REJECTED, and whose it was is told. */
static void reject(engine *e, uint64_t now, transfer *t, status why)
{
    transfer_input_apply(t, DO_LEAVE);
    end(e, now, t, TRANSFER_REJECTED, why);
    tell_failed(e, now, t, why);
    transfer_settle(e, now, t);
}

void transfer_refuse(engine *e, uint64_t now, transfer *t, status why)
{
    t->call = NULL;
    t->serve = NULL;
    if (t->session == NULL || t->state == RECEIVE_LEAVING)
        return;
    transfer_input_apply(t, DO_LEAVE);
    end(e, now, t, TRANSFER_REJECTED, why);
    transfer_settle(e, now, t);
}

/* All of it is verified: the memory changes hands, and the credit with it (A4). */
static void complete(engine *e, uint64_t now, transfer *t)
{
    call *c = t->call;
    serve *v = t->serve;
    uint64_t memory = t->memory, credit = v != NULL ? t->credit : 0;
    t->serve = NULL;
    t->memory = 0;
    t->credit -= credit;
    transfer_input_apply(t, DO_LEAVE);
    end(e, now, t, TRANSFER_COMPLETE, STATUS_OK);
    e->counters.transfers_received++;
    e->coming = false;
    if (c != NULL)
        call_reply_complete(e, now, c, memory, t->total); /* takes status and credit from here */
    if (v != NULL)
        serve_request_complete(e, now, v, memory, t->total, credit);
    transfer_settle(e, now, t);
}

/* The sender has no more interest: nothing more is said of it. */
static void burn(engine *e, uint64_t now, session *s, transfer *t)
{
    bool known = t->state != RECEIVE_LEAVING;
    transfer_input_apply(t, HEARD_BURN);
    credit_withdraw(e, t);
    transfer_message_drop(t, &t->word);
    until_read_done(e, now, t);
    t->word_state = known ? TRANSFER_UNKNOWN : t->word_state;
    t->word_due = false;
    transfer_slot_ended(s, t);
    hurry_grants(e, s);
    if (known)
        tell_failed(e, now, t,
                    t->what == CARRIES_REPLY ? STATUS_LANE_UNAVAILABLE : STATUS_CANCELLED);
    transfer_settle(e, now, t);
}

/* ---- the offer ---- */

/* Whose is it? None: *why, OK for a copy. */
static bool own(engine *e, uint64_t now, transfer *t, const frame *f, status *why)
{
    session *s = t->session;
    *why = STATUS_OK;
    if (t->what == CARRIES_REQUEST && t->total > e->config.max_message) {
        *why = STATUS_TOO_LARGE;
        return false;
    }
    if (t->what == CARRIES_REQUEST) {
        t->serve = serve_offered(e, now, s, f, why);
        if (t->serve != NULL)
            t->serve->receiving = t;
        return t->serve != NULL;
    }
    t->call = call_offered(e, now, s, f, why); /* C7: proves that the handler ran */
    if (t->call != NULL)
        t->call->receiving = t;
    return t->call != NULL;
}

static void admit(engine *e, uint64_t now, transfer *t, const frame *f)
{
    status why;
    t->pool = t->what == CARRIES_REPLY ? CREDIT_REPLIES : CREDIT_REQUESTS;
    if (own(e, now, t, f, &why)) {
        if (t->total == 0)
            complete(e, now, t);
        else
            credit_ask(e, t);
        return;
    }
    if (why != STATUS_OK) {
        reject(e, now, t, why);
        return;
    }
    /* C6: it is here already by another way; the sender may stop. */
    transfer_input_apply(t, DO_LEAVE);
    end(e, now, t, TRANSFER_COMPLETE, STATUS_OK);
    transfer_settle(e, now, t);
}

applied transfer_got_offer(engine *e, uint64_t now, session *s, const frame *f)
{
    if (f->what != CARRIES_REQUEST && f->what != CARRIES_REPLY)
        return VIOLATION;
    slot_entry *entry = entry_of(e, s, f->transfer_slot);
    if (entry == NULL)
        return f->transfer_slot < s->receives.count ? UNABLE : VIOLATION;
    if (!serial_before32(entry->sequence, f->transfer_sequence)) {
        e->counters.dropped[DROP_COPY]++; /* what had to be said is a message of its own */
        return APPLIED;
    }
    if (f->what == CARRIES_REQUEST && !serve_can_note(e, s, f->slot))
        return UNABLE; /* P2 */
    transfer *t = transfer_new(e, s, DO_ADMIT, (carries)f->what);
    if (t == NULL)
        return UNABLE;
    t->slot = f->transfer_slot;
    t->sequence = f->transfer_sequence;
    t->slot_held = true;
    t->status = f->status;
    t->total = f->total;
    t->eager = (f->flags & OFFER_EAGER) != 0;
    t->missed = t->eager && transfer_eager_missed(e, s, t->slot, t->sequence);
    t->lane_class = f->total <= SMALL_MOST ? 1 : 2;
    t->word_state = TRANSFER_WAITING;
    transfer *before = live_in(e, entry);
    entry->sequence = t->sequence;
    entry->value = t->index + 1;
    if (before != NULL)
        burn(e, now, s, before);
    trace_entry *traced = trace_add(&e->trace, now, TRACE_TRANSFER_OFFER, s->index);
    traced->id = f->total;
    traced->slot = t->slot;
    traced->sequence = t->sequence;
    admit(e, now, t, f);
    credit_promise(e, s);
    return APPLIED;
}

void transfer_allocated(engine *e, uint64_t now, transfer *t, done_result result, uint64_t memory)
{
    t->operations--;
    t->memory = result == DONE_OK ? memory : 0;
    if (t->state == RECEIVE_LEAVING) {
        transfer_settle(e, now, t);
        return;
    }
    if (result != DONE_OK) {
        reject(e, now, t, STATUS_NO_MEMORY);
        return;
    }
    transfer_input_apply(t, DO_FILL);
    t->word_state = t->missed ? TRANSFER_AGAIN : TRANSFER_GRANTED;
    trace_add(&e->trace, now, TRACE_TRANSFER_GRANT, t->session->index)->slot = t->slot;
    if (t->eager && !t->missed && t->lane == 0) {
        e->coming = true; /* the bytes are on their way already (A1) */
        return;
    }
    if (t->lane == 0 && t->lane_class == 2 && much_is_coming(t->session, t))
        say_along(e, now, t);
    else
        say(e, t);
}

/* ---- reading (T2) ---- */

/* A1: it came before its OFFER. */
static bool overtook(const session *s, const slot_entry *entry, const segment *g)
{
    if ((g->flags & SEGMENT_EAGER) == 0 || g->slot >= s->receives.count)
        return false;
    return serial_before32(entry == NULL ? 0 : entry->sequence, g->sequence);
}

/* A1: memory is on its way, or the message stands in line for credit, and the lane must not. */
static read_target without_memory(transfer *t)
{
    if (t->alloc_due || t->operations > 0)
        return READ_WAIT;
    t->missed = true;
    return READ_SINK;
}

read_target transfer_read_target(engine *e, session *s, uint32_t lane, const segment *g,
                                 transfer **into)
{
    slot_entry *entry = s == NULL ? NULL : slot_table_at(&s->receives, g->slot);
    if (s != NULL && overtook(s, entry, g))
        return READ_HOLD;
    transfer *t = entry == NULL || entry->sequence != g->sequence ? NULL : live_in(e, entry);
    if (t == NULL || (t->lane != lane && t->lane != 0))
        return READ_SINK;
    if (t->state == RECEIVE_WAITING && t->eager)
        return without_memory(t);
    if (t->state != RECEIVE_ACTIVE)
        return READ_SINK;
    if (g->offset < t->position || g->offset > t->total || g->length > t->total - g->offset)
        return READ_SINK;
    if (t->read_busy)
        return READ_WAIT; /* what it will be worth depends on the READ before it */
    if (g->offset != t->position)
        return READ_SINK;
    *into = t;
    return READ_INTO;
}

/* T6: in plaintext the bytes are read twice, for the sum and by the kernel. If they fail again on
 * another lane it is not the lane's fault. Sealing reads them once: there only the net fails. */
static bool changed(transfer *t)
{
    if (t->session->cipher != CIPHER_PLAIN)
        return false;
    if (t->corrupt_at_same == 0 || t->corrupt_offset != t->position)
        t->corrupt_at_same = 0;
    t->corrupt_offset = t->position;
    return ++t->corrupt_at_same >= CORRUPT_MOST;
}

void transfer_read_done(engine *e, uint64_t now, transfer *t, done_result result)
{
    t->operations--;
    t->read_busy = false;
    if (t->state != RECEIVE_ACTIVE) {
        transfer_settle(e, now, t);
        return;
    }
    if (result == DONE_OK) {
        t->position += t->read_length;
        t->word_state = TRANSFER_GRANTED; /* no longer AGAIN */
        e->counters.bulk_bytes_received += t->read_length;
        if (t->position == t->total) {
            complete(e, now, t);
            return;
        }
        report(e, now, t);
    } else if (result == DONE_CORRUPT && changed(t)) {
        reject(e, now, t, STATUS_BUFFER_CHANGED);
        return;
    }
    if (t->word_due) {
        t->word_due = false;
        say(e, t);
    }
}

/* ---- asked ---- */

/* T3: another lane from now on. The answer must be firm, so a READ from the old one has to end
 * first; the sender has left that lane, and so do we. */
static void assign(engine *e, uint64_t now, transfer *t, uint32_t lane)
{
    t->lane = lane;
    if (!t->read_busy) {
        say(e, t);
        return;
    }
    connection *c = lane_by_id(e, t->read_connection);
    t->word_due = true;
    timer_disarm(&e->timers, &t->timer); /* a report would name the new lane, and be taken for it */
    transfer_message_drop(t, &t->word);
    if (c != NULL && c->session == t->session && c->lane != lane)
        lane_drop(e, now, c);
}

applied transfer_got_query(engine *e, uint64_t now, session *s, const frame *f)
{
    slot_entry *entry = entry_of(e, s, f->transfer_slot);
    if (entry == NULL)
        return f->transfer_slot < s->receives.count ? UNABLE : VIOLATION;
    transfer *t = live_in(e, entry);
    if (entry->sequence != f->transfer_sequence || t == NULL)
        return APPLIED; /* late: the final word was acknowledged */
    bool moves = t->state == RECEIVE_ACTIVE || t->state == RECEIVE_WAITING; /* eager: A1 */
    if (moves && serial_before32(t->lane, f->lane))
        assign(e, now, t, f->lane);
    else if (!t->word_due)
        say(e, t);
    return APPLIED;
}

applied transfer_got_abandon(engine *e, uint64_t now, session *s, const frame *f)
{
    slot_entry *entry = entry_of(e, s, f->transfer_slot);
    if (entry == NULL)
        return f->transfer_slot < s->receives.count ? UNABLE : VIOLATION;
    if (serial_before32(f->transfer_sequence, entry->sequence))
        return APPLIED;
    transfer *t = live_in(e, entry);
    if (entry->sequence != f->transfer_sequence) {
        entry->sequence = f->transfer_sequence; /* it overtook its OFFER, which is burnt so */
        entry->value = ENDED | (uint32_t)TRANSFER_UNKNOWN << 8;
    }
    if (t != NULL)
        burn(e, now, s, t);
    return APPLIED;
}
