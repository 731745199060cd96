/* recovery.c - acknowledgements in, losses and resends out. */
#include "engine/recovery.h"

#include "engine/outbox.h"
#include "engine/pulse.h"
#include "engine/route.h"
#include "engine/state.h"

#define REORDER_MAX       64u /* packets: highest loss threshold (P5) */
#define QUIET_PTOS        3u  /* PTOs in a row without any answer (P6) */
#define QUIET_LEAST       (300 * NS_PER_MS)
#define SESSIONS_SEARCHED 64u /* for a record that can be spared */
#define LINGER            64u /* numbers behind the largest acknowledged: beyond the bitmap */

/* ---- records ---- */

static void take_off(session *s, record *r)
{
    if (r->flying)
        s->window.flying -= r->size;
    r->flying = false;
}

static void forget(engine *e, session *s, record *r)
{
    take_off(s, r);
    list_remove(&r->in_session);
    recovery_unused(e, r);
}

static bool forget_given_up(engine *e, session *s)
{
    list_link *at = list_first(&s->records);
    for (; at != NULL; at = list_next(&s->records, at)) {
        record *r = CONTAINER_OF(at, record, in_session);
        if (r->given_up) {
            forget(e, s, r);
            return true;
        }
    }
    return false;
}

/* Records of lost packets stay only to notice a spurious loss. Where nobody answers they would stay
 * for ever, and with the table full of them not even a probe could leave (Q19). */
static bool make_room(engine *e, session *s)
{
    if (forget_given_up(e, s))
        return true;
    list_link *at = list_first(&e->live);
    for (unsigned i = 0; at != NULL && i < SESSIONS_SEARCHED; i++, at = list_next(&e->live, at))
        if (forget_given_up(e, CONTAINER_OF(at, session, listed)))
            return true;
    return false;
}

record *recovery_record(engine *e, session *s)
{
    uint32_t index;
    if (e->free_record_count == 0 && e->fresh_records == e->config.records && !make_room(e, s))
        return NULL;
    if (e->free_record_count > 0)
        index = e->free_records[--e->free_record_count];
    else
        index = e->fresh_records++;
    record *r = &e->records[index];
    memset(r, 0, sizeof *r);
    r->index = index;
    list_init(&r->carried);
    return r;
}

void recovery_unused(engine *e, record *r)
{
    ENSURE(list_empty(&r->carried));
    e->free_records[e->free_record_count++] = r->index;
}

void recovery_sent(engine *e, uint64_t now, session *s, record *r)
{
    r->sent = now;
    r->eliciting = true;
    list_push_back(&s->records, &r->in_session);
    if (r->path == PATH_UDP) {
        r->flying = true;
        s->window.flying += r->size;
    }
    s->eliciting_sent = now;
    recovery_arm(e, now, s);
}

static message *pop_message(record *r)
{
    list_link *at = list_first(&r->carried);
    if (at == NULL)
        return NULL;
    list_remove(at);
    message *m = CONTAINER_OF(at, message, at);
    m->place = MESSAGE_IDLE;
    return m;
}

void recovery_clear(engine *e, session *s)
{
    list_link *at;
    while ((at = list_first(&s->records)) != NULL) {
        record *r = CONTAINER_OF(at, record, in_session);
        while (pop_message(r) != NULL)
            continue;
        forget(e, s, r);
    }
    for (size_t i = 0; i < QUEUES; i++) {
        while ((at = list_first(&s->queues[i])) != NULL)
            outbox_drop(s, CONTAINER_OF(at, message, at));
    }
    s->controls = 0;
}

void recovery_reset(engine *e, uint64_t now, session *s)
{
    uint64_t flying = s->window.flying;
    s->rtt = (rtt){0};
    window_init(&s->window, e->config.window_initial, e->config.window_max);
    s->window.flying = flying;
    s->pto_count = 0;
    recovery_arm(e, now, s);
}

/* ---- time ---- */

uint64_t recovery_pto(const engine *e, const session *s)
{
    uint64_t pto = rtt_pto(&s->rtt, e->config.pto_initial, s->theirs_max_ack_delay);
    return pto < e->config.pto_max ? pto : e->config.pto_max;
}

/* Doubled for each PTO in a row, capped, and spread by up to a fifth so that many sessions do not
 * fire in step; never shortened, or it would run out before an acknowledgement that may take
 * max_ack_delay (P3). The spread comes from the packet number: no state, no surprise in replays. */
static uint64_t pto_due(const engine *e, const session *s)
{
    uint64_t pause = recovery_pto(e, s) << (s->pto_count < 8 ? s->pto_count : 8);
    if (pause > e->config.pto_max)
        pause = e->config.pto_max;
    uint64_t spread = (s->seal.next * 0x9e3779b97f4a7c15u ^ s->id) >> 56;
    return s->eliciting_sent + pause + pause * spread / 1280;
}

static uint64_t loss_delay(const session *s)
{
    uint64_t basis = s->rtt.latest > s->rtt.smoothed ? s->rtt.latest : s->rtt.smoothed;
    uint64_t delay = basis + basis / 8;
    return delay > NS_PER_MS ? delay : NS_PER_MS;
}

/* The oldest packet still believed to be under way. */
static record *oldest_flying(session *s)
{
    list_link *at = list_first(&s->records);
    for (; at != NULL; at = list_next(&s->records, at)) {
        record *r = CONTAINER_OF(at, record, in_session);
        if (!r->given_up)
            return r;
    }
    return NULL;
}

static uint64_t next_due(const engine *e, session *s)
{
    record *oldest = oldest_flying(s);
    if (oldest == NULL)
        return TIME_NEVER;
    if (oldest->number < s->largest_acked)
        return oldest->sent + loss_delay(s);
    return pto_due(e, s);
}

/* Lazy: a timer that is armed for earlier stays, and looks again when it fires. Most packets are
 * acknowledged long before, so the heap is hardly touched. */
void recovery_arm(engine *e, uint64_t now, session *s)
{
    uint64_t due = next_due(e, s);
    if (due == TIME_NEVER || (timer_armed(&s->loss) && s->loss.due <= due))
        return;
    timer_arm(&e->timers, &s->loss, due > now ? due : now);
}

/* ---- losses ---- */

static void give_up(engine *e, uint64_t now, session *s, record *r, bool lost)
{
    r->given_up = true;
    take_off(s, r);
    if (r->path == PATH_UDP)
        route_lost(s, r->size);
    message *m;
    while ((m = pop_message(r)) != NULL)
        outbox_again(e, s, m);
    outbox_control(e, s, r->controls & CONTROL_RELIABLE);
    if (!lost)
        return;
    r->declared_lost = true;
    e->counters.packets_lost++;
    s->packets_lost++;
    if (r->path == PATH_UDP)
        window_lost(&s->window, r->number, s->seal.next);
    trace_add(&e->trace, now, TRACE_PACKET_LOST, s->index)->id = r->number;
}

static void find_losses(engine *e, uint64_t now, session *s)
{
    list_link *at = list_first(&s->records);
    while (at != NULL) {
        record *r = CONTAINER_OF(at, record, in_session);
        at = list_next(&s->records, at);
        if (r->number >= s->largest_acked)
            return;
        if (r->given_up) {
            if (s->largest_acked - r->number > LINGER)
                forget(e, s, r);
            continue;
        }
        bool overtaken = s->largest_acked - r->number >= s->reorder;
        if (overtaken || now >= r->sent + loss_delay(s))
            give_up(e, now, s, r, true);
    }
}

static void resend_timeout(engine *e, uint64_t now, session *s)
{
    uint64_t overdue = recovery_pto(e, s);
    if (overdue > e->config.pto_max) /* as in pto_due: else it fires for ever */
        overdue = e->config.pto_max;
    s->pto_count++;
    e->counters.pto_fired++;
    trace_add(&e->trace, now, TRACE_PTO, s->index)->detail = s->pto_count;
    list_link *at = list_first(&s->records);
    for (; at != NULL; at = list_next(&s->records, at)) {
        record *r = CONTAINER_OF(at, record, in_session);
        if (!r->given_up && now - r->sent >= overdue * 9 / 10)
            give_up(e, now, s, r, false);
    }
    if (s->pto_count == QUIET_PTOS)
        window_collapse(&s->window);
    bool probed = s->state != SESSION_UNCONFIRMED; /* that one only its packets can confirm (S5) */
    if (s->pto_count >= QUIET_PTOS && now - s->last_answer >= QUIET_LEAST && !s->quiet && probed) {
        s->quiet = true;
        pulse_arm(e, now, s);
    }
    route_silent(e, now, s);
    outbox_wake(e, s);
}

void recovery_expired(engine *e, uint64_t now, session *s)
{
    uint64_t due = next_due(e, s);
    if (due <= now) {
        record *oldest = oldest_flying(s);
        if (oldest->number < s->largest_acked)
            find_losses(e, now, s);
        else
            resend_timeout(e, now, s);
    }
    recovery_arm(e, now, s);
}

/* ---- acknowledgements ---- */

static void acknowledged(engine *e, uint64_t now, session *s, record *r)
{
    take_off(s, r);
    if (r->given_up && r->declared_lost) {
        e->counters.losses_spurious++;
        s->reorder = s->reorder * 2 < REORDER_MAX ? s->reorder * 2 : REORDER_MAX;
        window_undo(&s->window, r->number);
    } else if (r->given_up) {
        /* Lost by the resend timer means only that no answer came in time: acknowledgements get
         * lost too. Nothing was cut for it, and it says nothing of reordering. */
    } else if (r->path == PATH_UDP) {
        window_acked(&s->window, r->size, r->number);
    }
    seal_acknowledged(&s->seal, r->number, now);
    route_answered(e, now, s, r);
    message *m;
    while ((m = pop_message(r)) != NULL)
        outbox_acked(e, now, s, m);
    if ((r->controls & CONTROL_DRAIN) != 0)
        session_maybe_empty(e, now, s);
}

/* P4. An acknowledgement reported as later than the peer promised is the copy of one that was lost:
 * capping its delay, as RFC 9002 does, would count the loss as round trip. It is no sample. */
static void sample(session *s, uint64_t now, uint64_t sent, uint32_t delay_us)
{
    uint64_t delay = (uint64_t)delay_us * NS_PER_US;
    if (delay > s->theirs_max_ack_delay + NS_PER_MS && s->rtt.smoothed != 0)
        return;
    if (sent < s->pulse.stalled)
        return; /* our own stall lies in between (L3) */
    if (delay > s->theirs_max_ack_delay)
        delay = s->theirs_max_ack_delay;
    rtt_sample(&s->rtt, now - sent, delay);
}

void recovery_acknowledged(engine *e, uint64_t now, session *s, const packet_prologue *ack)
{
    if (ack->ack_largest >= s->seal.next)
        return; /* of packets we never sent: a confused peer, nothing to learn */
    uint64_t newest = 0, newest_sent = 0;
    list_link *at = list_first(&s->records);
    while (at != NULL) {
        record *r = CONTAINER_OF(at, record, in_session);
        if (r->number > ack->ack_largest)
            break;
        at = list_next(&s->records, at);
        if (!packet_acknowledges(ack, r->number))
            continue;
        newest = r->number;
        newest_sent = r->sent;
        acknowledged(e, now, s, r);
        if (!session_live(s))
            return;
        forget(e, s, r);
    }
    if (newest == 0)
        return;
    if (newest == ack->ack_largest)
        sample(s, now, newest_sent, ack->ack_delay_us);
    if (newest > s->largest_acked)
        s->largest_acked = newest;
    s->pto_count = 0;
    s->quiet = false;
    s->last_answer = now;
    pulse_proof(e, now, s, newest_sent);
    find_losses(e, now, s);
    if (s->queued > 0 || s->controls != 0)
        outbox_wake(e, s);
    recovery_arm(e, now, s);
}
