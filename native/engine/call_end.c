/* call_end.c - what may be said of a call that ends, and what becomes of its slot?
 *
 * O1: `no` if nothing of it left or the answerer said so, `yes` if anything of an answer was
 * verified, `unknown` for all else. The slot of a call that left is free only when the answerer
 * says that no handler runs for it (C3). */
#include "engine/call_parts.h"
#include "engine/outbox.h"
#include "engine/state.h"

outcome call_outcome(const call *c)
{
    if (c->proved)
        return RAN_YES;
    return c->left ? RAN_UNKNOWN : RAN_NO;
}

void call_end(engine *e, uint64_t now, call *c, call_app_event by, status why, outcome ran)
{
    bool open = c->app == APP_OPEN;
    call_app_step(c, by);
    if (!open) {
        /* Too late for the result, in time for the truth about the handler. */
        if (c->app == APP_READY && c->outcome == RAN_UNKNOWN)
            c->outcome = (uint8_t)ran;
        return;
    }
    c->status = (uint8_t)why;
    c->outcome = (uint8_t)ran;
    if (c->peer != NULL)
        c->peer->calls--;
    e->counters.calls_done++;
    e->counters.calls_ok += why == STATUS_OK;
    list_push_back(&e->telling_calls, &c->telling);
    trace_entry *entry = trace_add(&e->trace, now, TRACE_CALL_DONE,
                                   c->session == NULL ? UINT32_MAX : c->session->index);
    entry->id = c->handle;
    entry->detail = (uint32_t)why;
    entry->slot = c->slot;
    entry->sequence = c->sequence;
}

void call_maybe_free(engine *e, call *c)
{
    if (c->app != APP_GONE || c->wire != WIRE_NONE)
        return;
    call_app_step(c, CALL_FORGOTTEN);
    timer_disarm(&e->timers, &c->deadline);
    call_free_body(e, c);
    slots_give(&e->call_slots, c->index);
}

bool call_take_back(call *c)
{
    transfer *t = c->sending;
    bool used = t != NULL && t->written != 0 && t->state != SEND_LEAVING;
    if (t == NULL || t->operations != 0 || used || t->memory == 0)
        return false;
    c->memory = t->memory;
    t->memory = 0;
    return true;
}

/* Nothing will be sent of it any more. */
static void forget_request(engine *e, call *c)
{
    call_free_body(e, c);
    if (c->memory != 0)
        transfer_release_memory(e, c->memory);
    c->memory = 0;
}

void call_fail(engine *e, uint64_t now, call *c, status why)
{
    if (link_linked(&c->at)) /* not while a busy peer is left in peace */
        list_remove(&c->at);
    call_wire_step(e, c, WIRE_LEFT);
    timer_disarm(&e->timers, &c->deadline);
    forget_request(e, c);
    call_end(e, now, c, CALL_GIVEN_UP, why, RAN_NO);
}

/* ---- the slot ---- */

static void drop_messages(call *c)
{
    outbox_drop(c->session, &c->request);
    outbox_drop(c->session, &c->cancel);
}

/* The transfers go on without the call, to their own end. */
static void part_transfers(engine *e, uint64_t now, call *c)
{
    transfer *sending = c->sending, *receiving = c->receiving;
    bool live = session_live(c->session);
    c->sending = c->receiving = NULL;
    if (sending != NULL) {
        sending->call = NULL;
        if (live)
            transfer_abandon(e, now, sending);
    }
    if (receiving != NULL) {
        receiving->call = NULL;
        if (live)
            transfer_refuse(e, now, receiving, STATUS_CANCELLED);
    }
}

void call_leave_session(engine *e, uint64_t now, call *c)
{
    drop_messages(c);
    part_transfers(e, now, c);
    list_remove(&c->at);
    slot_table_give(&c->session->call_slots, c->slot);
    c->session = NULL;
}

void call_slots_changed(engine *e, uint64_t now, session *s)
{
    call_dispatch_session(e, now, s);
    if (list_empty(&s->calls))
        session_watch(e, now, s);
    session_maybe_empty(e, now, s);
}

void call_slot_over(engine *e, uint64_t now, call *c, call_wire_event by)
{
    session *s = c->session;
    call_leave_session(e, now, c);
    call_wire_step(e, c, by);
    timer_disarm(&e->timers, &c->deadline);
    forget_request(e, c);
    call_maybe_free(e, c);
    call_slots_changed(e, now, s);
}

/* C2, C3: CANCEL is resent until acknowledged; the slot waits for the answerer's word. */
static void withdraw(engine *e, uint64_t now, call *c)
{
    session *s = c->session;
    outbox_drop(s, &c->request);
    part_transfers(e, now, c);
    forget_request(e, c);
    call_wire_step(e, c, WIRE_CANCEL);
    c->cancelled_at = now;
    list_remove(&c->at);
    list_push_back(&s->calls, &c->at);
    timer_arm(&e->timers, &c->deadline, time_after(now, CALL_STUCK_AFTER));
    outbox_push(e, s, &c->cancel);
    trace_entry *entry = trace_add(&e->trace, now, TRACE_CANCEL, s->index);
    entry->id = c->handle;
    entry->slot = c->slot;
    entry->sequence = c->sequence;
}

void call_give_up(engine *e, uint64_t now, call *c, status why)
{
    if (c->wire == WIRE_WAITING) {
        call_fail(e, now, c, why);
        return;
    }
    call_end(e, now, c, CALL_GIVEN_UP, why, call_outcome(c));
    /* Nothing left: its sequence is burnt and nobody knows it. A reply offered: it has finished. */
    if (!c->left || c->proved)
        call_slot_over(e, now, c, WIRE_LEFT);
    else
        withdraw(e, now, c);
}

/* ---- endings from outside ---- */

void call_expired(engine *e, uint64_t now, call *c)
{
    if (c->wire == WIRE_CANCELLING) {
        call_dispatch_session(e, now, c->session); /* whoever waits may learn that all is stuck */
        return;
    }
    if (c->app != APP_OPEN)
        return;
    bool busy = c->wire == WIRE_WAITING && c->busy_tries > 0; /* Rule 10 */
    if (c->due <= now)
        call_give_up(e, now, c, busy ? STATUS_BUSY : STATUS_DEADLINE);
    else if (c->retry_at != 0)
        call_retry_due(e, now, c);
}

/* O2: it has not left and goes by the next session. A big one whose OFFER left does not: the rule
 * speaks of calls without a packet. */
static bool movable(call *c)
{
    if (c->app != APP_OPEN || c->left || c->wire != WIRE_SENT)
        return false;
    if (!c->big)
        return true;
    return c->sending != NULL && c->sending->offer.times == 0 && call_take_back(c);
}

static void move_on(engine *e, uint64_t now, session *s, call *c)
{
    call_leave_session(e, now, c);
    call_wire_step(e, c, WIRE_REQUEUED);
    peer *p = c->peer;
    list_push_front(&p->waiting, &c->at);
    if (p->session == NULL)
        dial_start(e, now, p);
    else if (p->session != s)
        call_dispatch(e, now, p); /* else peer_detach finds it another */
}

void call_session_ended(engine *e, uint64_t now, session *s, status why)
{
    list_link *at;
    while ((at = list_first(&s->calls)) != NULL) {
        call *c = CONTAINER_OF(at, call, at);
        if (movable(c)) {
            move_on(e, now, s, c);
            continue;
        }
        if (c->app == APP_OPEN)
            call_end(e, now, c, CALL_GIVEN_UP, why, call_outcome(c));
        call_leave_session(e, now, c);
        call_wire_step(e, c, WIRE_LEFT);
        timer_disarm(&e->timers, &c->deadline);
        forget_request(e, c);
        call_maybe_free(e, c);
    }
}

void call_end_all(engine *e, uint64_t now, status why)
{
    for (uint32_t i = 0; i < e->calls_room; i++) {
        call *c = &e->calls[i];
        if (!slots_used(&e->call_slots, i) || c->app != APP_OPEN)
            continue;
        if (c->wire == WIRE_WAITING)
            call_fail(e, now, c, why);
        else /* its slot goes with the session */
            call_end(e, now, c, CALL_GIVEN_UP, why, call_outcome(c));
    }
}
