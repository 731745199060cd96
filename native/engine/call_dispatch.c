/* call_dispatch.c - how does a waiting call come to a slot, and when is a busy peer asked again?
 *
 * C1: the caller takes the lowest free slot of those the peer granted. A call that waits has sent
 * nothing, so it may still go by any session (O2). */
#include "engine/call_parts.h"
#include "engine/outbox.h"
#include "engine/state.h"

#define PASSED_MOST 64u /* big calls without a transfer slot that smaller ones may pass at a time */

/* Rule 10: 4 ms, doubling to 512 ms, each within half and one and a half of that. */
#define BUSY_PAUSE     (4 * NS_PER_MS)
#define BUSY_DOUBLINGS 7u

/* P7: retries are limited to a fifth of all calls and ten a second beside; tenths of a retry. */
#define RETRY_PER_CALL 2u
#define RETRY_PER_S    100u
#define RETRY_MOST     1000u

typedef enum { SENT_OFF, ENDED, NO_SLOT, NO_TRANSFER } dispatched;

/* Cells that come free are no news to anybody: who finds none for the slots must not wait (Q19). */
static dispatched without_slot(engine *e, uint64_t now, call *c, const slot_table *t,
                               dispatched otherwise)
{
    if (!slot_table_starved(t))
        return otherwise;
    call_fail(e, now, c, STATUS_NO_MEMORY);
    return ENDED;
}

/* C3: every slot is held by a handler that does not stop. New ones are at the front of the list,
 * cancelled ones at the back in order, so two looks are enough. */
static bool all_stuck(const session *s, uint64_t now)
{
    if (list_empty(&s->calls) || s->call_slots.used_count < s->call_slots.count)
        return false;
    const call *first = CONTAINER_OF(s->calls.next, call, at);
    const call *last = CONTAINER_OF(s->calls.prev, call, at);
    return first->wire == WIRE_CANCELLING && now - last->cancelled_at >= CALL_STUCK_AFTER;
}

uint32_t call_stuck(const session *s, uint64_t now, uint64_t *since)
{
    uint32_t count = 0;
    const list_link *at = s->calls.prev;
    for (; at != &s->calls; at = at->prev) {
        const call *c = CONTAINER_OF(at, call, at);
        if (c->wire != WIRE_CANCELLING)
            break;
        if (now - c->cancelled_at < CALL_STUCK_AFTER)
            continue;
        if (count++ == 0 || c->cancelled_at < *since)
            *since = c->cancelled_at;
    }
    return count;
}

static bool take_slot(engine *e, session *s, call *c)
{
    if (!slot_table_take(&s->call_slots, &e->cells, &c->slot))
        return false;
    slot_entry *entry = slot_table_at(&s->call_slots, c->slot);
    entry->value = c->index + 1;
    c->sequence = entry->sequence;
    c->session = s;
    return true;
}

static dispatched send_big(engine *e, uint64_t now, session *s, call *c)
{
    if (c->memory_size > s->theirs_max_message || lane_unavailable(e, now, s)) {
        bool too_large = c->memory_size > s->theirs_max_message;
        call_fail(e, now, c, too_large ? STATUS_TOO_LARGE : STATUS_LANE_UNAVAILABLE);
        return ENDED;
    }
    if (!take_slot(e, s, c))
        return without_slot(e, now, c, &s->call_slots, NO_SLOT);
    c->sending = transfer_send_request(e, now, s, c);
    if (c->sending == NULL) {
        slot_table_untake(&s->call_slots, c->slot);
        c->session = NULL;
        return without_slot(e, now, c, &s->sends, NO_TRANSFER);
    }
    c->memory = 0; /* the transfer's from now on */
    return SENT_OFF;
}

static dispatched send_one(engine *e, uint64_t now, session *s, call *c)
{
    if (c->big) {
        dispatched how = send_big(e, now, s, c);
        if (how != SENT_OFF)
            return how;
    } else if (!take_slot(e, s, c)) {
        return without_slot(e, now, c, &s->call_slots, NO_SLOT);
    }
    list_remove(&c->at);
    list_push_front(&s->calls, &c->at);
    call_wire_step(e, c, WIRE_DISPATCHED);
    if (!c->big)
        outbox_push(e, s, &c->request);
    return SENT_OFF;
}

void call_dispatch(engine *e, uint64_t now, peer *p)
{
    session *s = p->session;
    if (s == NULL || !session_takes_new(s))
        return;
    bool idle = list_empty(&s->calls);
    uint32_t passed = 0;
    list_link *at = list_first(&p->waiting);
    while (at != NULL && passed < PASSED_MOST) {
        list_link *next = list_next(&p->waiting, at);
        dispatched how = send_one(e, now, s, CONTAINER_OF(at, call, at));
        if (how == NO_SLOT)
            break;
        passed += how == NO_TRANSFER;
        at = next;
    }
    if (!list_empty(&p->waiting) && all_stuck(s, now))
        call_fail_waiting(e, now, p, STATUS_BUSY);
    if (idle && !list_empty(&s->calls))
        session_watch(e, now, s);
}

void call_dispatch_session(engine *e, uint64_t now, session *s)
{
    list_link *at = list_first(&s->peers);
    while (at != NULL) {
        list_link *next = list_next(&s->peers, at);
        call_dispatch(e, now, CONTAINER_OF(at, peer, in_session));
        at = next;
    }
}

void call_fail_waiting(engine *e, uint64_t now, peer *p, status why)
{
    list_link *at;
    while ((at = list_first(&p->waiting)) != NULL)
        call_fail(e, now, CONTAINER_OF(at, call, at), why);
}

void call_wait_for_slot(engine *e, uint64_t now, call *c)
{
    if (c->busy_tries == 0 && e->retry_tenths < RETRY_MOST)
        e->retry_tenths += RETRY_PER_CALL;
    peer *p = c->peer;
    list_push_back(&p->waiting, &c->at);
    if (p->session == NULL)
        dial_start(e, now, p);
    else
        call_dispatch(e, now, p);
}

/* ---- a busy peer (Rule 10) ---- */

static bool take_retry(engine *e, uint64_t now)
{
    uint64_t tenths = (now - e->retry_filled) / (NS_PER_S / RETRY_PER_S);
    if (tenths > 0) {
        e->retry_tenths += tenths < RETRY_MOST ? (uint32_t)tenths : RETRY_MOST;
        e->retry_filled = now;
    }
    if (e->retry_tenths > RETRY_MOST)
        e->retry_tenths = RETRY_MOST;
    if (e->retry_tenths < 10)
        return false;
    e->retry_tenths -= 10;
    return true;
}

void call_try_later(engine *e, uint64_t now, call *c)
{
    uint32_t doublings = c->busy_tries < BUSY_DOUBLINGS ? c->busy_tries : BUSY_DOUBLINGS;
    uint64_t pause = BUSY_PAUSE << doublings;
    if (c->busy_tries < UINT8_MAX)
        c->busy_tries++;
    c->retry_at = time_after(now, pause / 2 + random_below(&e->random, pause));
    timer_arm(&e->timers, &c->deadline, c->retry_at < c->due ? c->retry_at : c->due);
}

/* The budget being empty only lengthens the pause: nothing but the deadline makes it an error. */
void call_retry_due(engine *e, uint64_t now, call *c)
{
    if (!take_retry(e, now)) {
        call_try_later(e, now, c);
        return;
    }
    c->retry_at = 0;
    e->counters.busy_retries++;
    timer_arm(&e->timers, &c->deadline, c->due);
    call_wait_for_slot(e, now, c);
}
