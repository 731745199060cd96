/* session.c - the life of a session, from its id to its tombstone. */
#include "engine/session.h"

#include "engine/outbox.h"
#include "engine/pulse.h"
#include "engine/recovery.h"
#include "engine/state.h"

#define ATTEMPT_BITS        (UINT64_C(3) << 26)
#define TOMBSTONES_SEARCHED 64
#define FRESH_PROOF         (300 * NS_PER_MS) /* of a session that is taken to live (S6) */

/* ---- the table ---- */

/* Not one of this very moment: whoever ended it may still hold it. */
static bool reclaim_tombstone(engine *e, uint64_t now)
{
    list_link *at = list_first(&e->live);
    for (int i = 0; at != NULL && i < TOMBSTONES_SEARCHED; i++, at = list_next(&e->live, at)) {
        session *s = CONTAINER_OF(at, session, listed);
        if (s->state == SESSION_TOMBSTONE && s->began != now) {
            session_free(e, now, s);
            return true;
        }
    }
    return false;
}

static void init_timers(session *s)
{
    s->loss.kind = TIMER_SESSION_LOSS;
    s->ack.kind = TIMER_SESSION_ACK;
    s->pace.kind = TIMER_SESSION_PACE;
    s->life.kind = TIMER_SESSION_LIFE;
}

static void init_fields(engine *e, uint64_t now, session *s)
{
    list_init(&s->peers);
    list_init(&s->dialling_peers);
    list_init(&s->records);
    list_init(&s->calls);
    list_init(&s->serves);
    list_init(&s->transfers);
    for (size_t i = 0; i < QUEUES; i++)
        list_init(&s->queues[i]);
    init_timers(s);
    acks_init(&s->acks);
    window_init(&s->window, e->config.window_initial, e->config.window_max);
    s->reorder = 3;
    s->began = now;
    s->next_lane = 4; /* number modulo 4 is the class (lane.h) */
    s->theirs_max_ack_delay = e->config.max_ack_delay;
    slot_table_init(&s->call_slots, 0);
    slot_table_init(&s->answer_slots, e->config.call_slots);
    slot_table_init(&s->sends, 0);
    slot_table_init(&s->receives, e->config.transfer_slots);
    s->granted_calls = e->config.call_slots;
    s->granted_transfers = e->config.transfer_slots;
}

session *session_new(engine *e, uint64_t now, session_state state, bool dialler)
{
    uint32_t index;
    if (!slots_take(&e->session_slots, &index)) {
        if (!reclaim_tombstone(e, now) || !slots_take(&e->session_slots, &index))
            return NULL;
    }
    session *s = &e->sessions[index];
    memset(s, 0, sizeof *s);
    s->index = index;
    s->state = (uint8_t)state;
    s->dialler = dialler;
    uint64_t generation = slots_generation(&e->session_slots, index) & 0x3ffu;
    uint64_t random = random_u64(&e->random) >> 32;
    s->id = index | generation << 16 | random << 32;
    if (s->id == 0)
        s->id = UINT64_C(1) << 63;
    init_fields(e, now, s);
    if (state == SESSION_HALF_OPEN) {
        list_push_back(&e->half_open, &s->listed);
        e->half_open_count++;
    } else {
        list_push_back(&e->live, &s->listed);
    }
    return s;
}

session *session_find(engine *e, uint64_t id)
{
    uint32_t index = (uint32_t)(id & 0xffff);
    if (!slots_used(&e->session_slots, index))
        return NULL;
    session *s = &e->sessions[index];
    return ((s->id ^ id) & ~ATTEMPT_BITS) == 0 ? s : NULL;
}

static void leave_lists(engine *e, session *s)
{
    if (s->state == SESSION_HALF_OPEN)
        e->half_open_count--;
    list_remove(&s->listed);
    if (link_linked(&s->sending))
        list_remove(&s->sending);
}

static void disarm_traffic(engine *e, session *s)
{
    timer_disarm(&e->timers, &s->loss);
    timer_disarm(&e->timers, &s->ack);
    timer_disarm(&e->timers, &s->pace);
}

static void part_doubts(session *s)
{
    if (s->doubts != NULL)
        s->doubts->doubted_by = NULL;
    if (s->doubted_by != NULL)
        s->doubted_by->doubts = NULL;
    s->doubts = s->doubted_by = NULL;
}

static void part_contest(engine *e, session *s)
{
    if (s->contender != 0)
        e->sessions[s->contender - 1].contends = 0;
    if (s->contends != 0)
        e->sessions[s->contends - 1].contender = 0;
    s->contender = s->contends = 0;
}

void session_free(engine *e, uint64_t now, session *s)
{
    (void)now;
    ENSURE(list_empty(&s->peers) && list_empty(&s->dialling_peers) && list_empty(&s->calls));
    part_doubts(s);
    part_contest(e, s);
    recovery_clear(e, s);
    disarm_traffic(e, s);
    timer_disarm(&e->timers, &s->life);
    dial_forget(e, s);
    if (s->route.detour != NULL)
        cells_give(&e->cells, s->route.detour);
    slot_table_free(&s->call_slots, &e->cells);
    slot_table_free(&s->answer_slots, &e->cells);
    slot_table_free(&s->sends, &e->cells);
    slot_table_free(&s->receives, &e->cells);
    leave_lists(e, s);
    seal_forget(&s->seal, &e->aead);
    seal_wipe(&s->seal);
    aead_wipe(s->lane_secret, sizeof s->lane_secret);
    s->state = SESSION_FREE;
    slots_give(&e->session_slots, s->index);
}

/* ---- becoming one ---- */

bool session_live(const session *s)
{
    return s->state == SESSION_UNCONFIRMED || s->state == SESSION_UP ||
           s->state == SESSION_DRAINING;
}

bool session_takes_new(const session *s)
{
    bool usable = s->state == SESSION_UP || (s->state == SESSION_UNCONFIRMED && s->dialler);
    return usable && !s->ours_drained && !s->theirs_drained;
}

static uint64_t unconfirmed_doubt(const engine *e)
{
    return 2 * e->config.pto_initial;
}

void session_keyed(engine *e, uint64_t now, session *s, const session_secrets *secrets,
                   const parameters *theirs)
{
    seal_start(&s->seal, (cipher)s->cipher, secrets, s->dialler, now, &e->seal_limits);
    memcpy(s->lane_secret, secrets->lane, sizeof s->lane_secret);
    s->incarnation = theirs->incarnation;
    s->theirs_port = theirs->port;
    s->theirs_max_message = theirs->max_message;
    s->theirs_max_ack_delay = (uint64_t)theirs->max_ack_delay_us * NS_PER_US;
    if (s->theirs_max_ack_delay > NS_PER_S)
        s->theirs_max_ack_delay = NS_PER_S;
    s->theirs_lost_after = (uint64_t)theirs->lost_ms * NS_PER_MS;
    uint16_t calls =
        theirs->calls < e->config.call_slots_max ? theirs->calls : e->config.call_slots_max;
    uint16_t transfers = theirs->transfers < e->config.transfer_slots_max
                             ? theirs->transfers
                             : e->config.transfer_slots_max;
    slot_table_init(&s->call_slots, calls < SLOT_FIRST_MAX ? calls : SLOT_FIRST_MAX);
    slot_table_init(&s->sends, transfers < SLOT_FIRST_MAX ? transfers : SLOT_FIRST_MAX);
    (void)slot_table_grow(&s->call_slots, &e->cells, calls);
    (void)slot_table_grow(&s->sends, &e->cells, transfers);
    s->began = now;
    s->pulse.proof = now;
    s->last_answer = now;
    dial_forget(e, s);
    if (s->dialler) {
        s->state = SESSION_UNCONFIRMED;
        outbox_control(e, s, CONTROL_CONFIRM);
    }
    timer_arm(&e->timers, &s->life,
              now + (s->dialler ? unconfirmed_doubt(e) : e->config.half_open));
}

/* S6: which of two confirmed sessions of a pair takes new messages. Both sides see the same
 * dialler's incarnation and the same counter of its message 1, so both choose the same. */
static bool preferred(const engine *e, const session *a, const session *b)
{
    uint64_t dialled_a = a->dialler ? e->incarnation : a->incarnation;
    uint64_t dialled_b = b->dialler ? e->incarnation : b->incarnation;
    if (dialled_a != dialled_b)
        return dialled_a > dialled_b;
    return a->rank > b->rank;
}

static void move_peers(engine *e, uint64_t now, session *from, session *to)
{
    list_link *at;
    while ((at = list_first(&from->peers)) != NULL)
        peer_attach(e, now, CONTAINER_OF(at, peer, in_session), to);
}

/* S4: another incarnation speaks from where an old session's peer was. */
static void replace_strays(engine *e, uint64_t now, session *s)
{
    address claimed = s->route.now.remote;
    if (!s->dialler)
        claimed.port = s->theirs_port;
    peer *p = peer_at(e, &claimed);
    if (p == NULL || p->session == NULL || p->session == s ||
        p->session->incarnation == s->incarnation)
        return;
    session *old = p->session;
    bool same = s->dialler || (address_equal(&old->route.now.remote, &s->route.now.remote) &&
                               old->theirs_port == s->theirs_port);
    if (same)
        session_end(e, now, old, STATUS_RESTARTED, false);
    else
        outbox_control(e, old, CONTROL_PROBE);
}

static void drain_contender(engine *e, uint64_t now, session *s)
{
    if (s->contender == 0)
        return;
    session *other = &e->sessions[s->contender - 1];
    part_contest(e, s);
    session_drain(e, now, other);
}

/* Both choose the same of two sessions, if both have both. Whoever dials although it should have
 * the preferred one may have lost that; draining what it dials would make it dial again, at
 * once, for as long as nobody asks. So the old one is asked: its answer settles it, or its end. */
static void contest(engine *e, uint64_t now, session *s, session *rival)
{
    drain_contender(e, now, rival);
    rival->contender = (uint16_t)(s->index + 1);
    rival->contended = now;
    s->contends = (uint16_t)(rival->index + 1);
    pulse_hint(e, now, rival, false);
}

void session_proved(engine *e, uint64_t now, session *s, uint64_t sent)
{
    if (sent >= s->contended)
        drain_contender(e, now, s);
}

static void choose(engine *e, uint64_t now, session *s)
{
    uint32_t other;
    session *rival = NULL;
    if (s->incarnation != e->incarnation && map_get(&e->incarnations, s->incarnation, &other))
        rival = &e->sessions[other];
    if (rival != NULL && rival != s && !preferred(e, s, rival)) {
        move_peers(e, now, s, rival);
        if (now - rival->pulse.proof <= FRESH_PROOF)
            session_drain(e, now, s);
        else
            contest(e, now, s, rival);
        return;
    }
    /* A node's session with itself: only the dialling end takes calls (S10). */
    if (s->incarnation != e->incarnation || s->dialler)
        (void)map_put(&e->incarnations, s->incarnation, s->index);
    if (rival != NULL && rival != s) {
        move_peers(e, now, rival, s);
        drain_contender(e, now, rival);
        session_drain(e, now, rival);
    }
    peer *p = s->incarnation == e->incarnation && !s->dialler ? NULL : peer_of_session(e, s);
    if (p != NULL)
        peer_attach(e, now, p, s);
}

void session_confirm(engine *e, uint64_t now, session *s)
{
    if (s->state == SESSION_HALF_OPEN) {
        e->half_open_count--;
        list_remove(&s->listed);
        list_push_back(&e->live, &s->listed);
    }
    s->state = SESSION_UP;
    timer_disarm(&e->timers, &s->life);
    e->counters.sessions_made++;
    trace_add(&e->trace, now, TRACE_SESSION_UP, s->index)->id = s->incarnation;
    replace_strays(e, now, s);
    pulse_start(e, now, s);
    choose(e, now, s);
    dial_renew(e, now, s); /* K9: the keys changed while it was being made */
    list_link *at = list_first(&s->peers);
    for (; at != NULL; at = list_next(&s->peers, at))
        peer_changed(e, now, CONTAINER_OF(at, peer, in_session));
    session_watch(e, now, s);
    session_maybe_empty(e, now, s);
}

/* ---- ending ---- */

void session_drain(engine *e, uint64_t now, session *s)
{
    if (s->state != SESSION_UP)
        return;
    s->state = SESSION_DRAINING;
    timer_arm(&e->timers, &s->life, now + e->config.drain_max);
    session_maybe_empty(e, now, s);
}

void session_maybe_empty(engine *e, uint64_t now, session *s)
{
    if (s->state != SESSION_DRAINING)
        return;
    /* DRAIN says that none of our requests is under way any more. Said earlier, the other side,
     * empty by its own view, would end the session under a request that is still on the wire. */
    if (!s->ours_drained && list_empty(&s->calls)) {
        s->ours_drained = true;
        outbox_control(e, s, CONTROL_DRAIN);
    }
    if (!s->ours_drained || !s->theirs_drained)
        return;
    bool told = (s->controls & CONTROL_DRAIN) == 0;
    if (told && list_empty(&s->calls) && list_empty(&s->serves) && list_empty(&s->transfers))
        session_end(e, now, s, STATUS_CLOSED, true);
}

/* C3: calls that were told `busy` may be asked by how many when this session is gone. */
static void note_stuck(uint64_t now, session *s)
{
    list_link *at = list_first(&s->peers);
    for (; at != NULL; at = list_next(&s->peers, at)) {
        peer *p = CONTAINER_OF(at, peer, in_session);
        p->stuck = call_stuck(s, now, &p->stuck_since);
    }
}

static void end_peers(engine *e, uint64_t now, session *s, status reason)
{
    list_link *at;
    while ((at = list_first(&s->peers)) != NULL)
        peer_detach(e, now, CONTAINER_OF(at, peer, in_session), reason);
}

void session_end(engine *e, uint64_t now, session *s, status reason, bool say)
{
    if (!session_live(s))
        return;
    e->counters.sessions_ended += s->state != SESSION_UNCONFIRMED; /* those were never made */
    s->state = SESSION_TOMBSTONE;
    s->reason = (uint8_t)reason;
    s->began = now;
    e->counters.peers_lost += reason == STATUS_LOST;
    trace_add(&e->trace, now, TRACE_SESSION_END, s->index)->detail = (uint32_t)reason;
    uint32_t chosen;
    if (map_get(&e->incarnations, s->incarnation, &chosen) && chosen == s->index)
        (void)map_remove(&e->incarnations, s->incarnation);
    if (s->contender != 0) /* the newer one was right */
        (void)map_put(&e->incarnations, s->incarnation, s->contender - 1u);
    part_contest(e, s);
    part_doubts(s);
    disarm_traffic(e, s);
    note_stuck(now, s);
    call_session_ended(e, now, s, reason);
    serve_session_ended(e, now, s);
    transfer_session_ended(e, now, s);
    credit_promise_end(e, s);
    recovery_clear(e, s);
    lane_session_ended(e, now, s, say);
    slot_table_free(&s->call_slots, &e->cells);
    slot_table_free(&s->answer_slots, &e->cells);
    slot_table_free(&s->sends, &e->cells);
    slot_table_free(&s->receives, &e->cells);
    s->controls = say ? CONTROL_CLOSE : 0;
    if (say)
        outbox_wake(e, s);
    timer_arm(&e->timers, &s->life, now + e->config.tombstone);
    end_peers(e, now, s, reason);
}

/* S5: message 2 may have lain in a buffer until its acceptor had forgotten it. A new dial beside
 * this one tells; the session itself is given up only when no half-open one can be left. */
static void unconfirmed_expired(engine *e, uint64_t now, session *s)
{
    uint64_t end = s->began + e->config.unconfirmed;
    if (now >= end) {
        session_end(e, now, s, STATUS_LOST, false);
        return;
    }
    dial_doubt(e, now, s);
    /* Again, if no dial began, for the table of sessions was full, or when that one was refused. */
    uint64_t again = now + unconfirmed_doubt(e);
    timer_arm(&e->timers, &s->life, again < end ? again : end);
}

void session_expired(engine *e, uint64_t now, session *s)
{
    switch ((session_state)s->state) {
    case SESSION_DIALLING: dial_expired(e, now, s); return;
    case SESSION_UNCONFIRMED: unconfirmed_expired(e, now, s); return;
    case SESSION_DRAINING: session_end(e, now, s, STATUS_CLOSED, true); return;
    case SESSION_HALF_OPEN:
    case SESSION_TOMBSTONE: session_free(e, now, s); return;
    case SESSION_FREE:
    case SESSION_UP:
    case SESSION_STATES: return;
    }
}

bool session_interesting(const session *s)
{
    if (!list_empty(&s->calls) || !list_empty(&s->serves) || !list_empty(&s->transfers))
        return true;
    list_link *at = list_first(&s->peers);
    for (; at != NULL; at = list_next(&s->peers, at))
        if (CONTAINER_OF(at, peer, in_session)->watchers > 0)
            return true;
    return false;
}

/* L8: interest makes a session watched at once. It is parked again only by pulse_expired, after a
 * while without interest, so that calls in sequence do not switch it on and off. */
void session_watch(engine *e, uint64_t now, session *s)
{
    if (!s->pulse.watched && session_interesting(s))
        pulse_watch(e, now, s, true);
}
