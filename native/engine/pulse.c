/* pulse.c - probes, pongs, verdicts, and our own stalls. */
#include "engine/pulse.h"

#include "engine/lane.h"
#include "engine/outbox.h"
#include "engine/peer.h"
#include "engine/recovery.h"
#include "engine/route.h"
#include "engine/state.h"

#define PROBES_BEFORE_LOST 3u /* unanswered ones that `lost` needs besides time (L2) */
#define JUDGE_AFTER        (500 * NS_PER_MS) /* age of a probe sent after our own stall (L3) */
#define HINT_SPACING       (10 * NS_PER_MS)  /* between the two probes after a hint (L6) */
#define REFUSED_LEAST      (20 * NS_PER_MS)  /* grace after the second refused probe (P11) */
#define DOUBT_EVERY        NS_PER_S /* between fresh handshakes beside a doubted session (S3) */
#define STALL_NOTED        1000u    /* ms without taking events that count as stalled (L9) */
#define PROBE_TABLE_FULL   (10 * NS_PER_MS)
#define PARK_AFTER         NS_PER_S /* without interest: parked (L8) */
#define HEIR_SHARE         4u       /* part of the time until lost that an heir has */

/* The schedule in force: watched or parked (section 0 of the hard points). */
typedef struct {
    uint64_t probe, suspect, lost;
} schedule;

static schedule schedule_of(const engine *e, const session *s)
{
    const config *c = &e->config;
    if (s->pulse.watched)
        return (schedule){c->probe_after, c->suspect_after, c->lost_after};
    /* L8: parked sessions beat in random phase. */
    uint64_t phase = (s->id >> 32) % 1000 * c->parked_probe_after / 10000;
    return (schedule){c->parked_probe_after - phase, c->parked_suspect_after, c->parked_lost_after};
}

static uint64_t repeat_after(const engine *e, const session *s)
{
    uint64_t pto = recovery_pto(e, s);
    return pto > e->config.probe_repeat ? pto : e->config.probe_repeat;
}

static uint64_t probe_due(const engine *e, const session *s, const schedule *plan)
{
    uint64_t due = s->pulse.proof + plan->probe;
    if (s->pulse.unanswered > 0)
        due = s->pulse.probed + repeat_after(e, s);
    /* L9: that a stalled peer's Python is back, only a beat says, not an answer of its core. */
    bool asks = s->quiet || s->stalled_since != 0;
    if (asks && s->pulse.probed + repeat_after(e, s) < due)
        due = s->pulse.probed + repeat_after(e, s);
    if (s->pulse.soon != 0 && s->pulse.soon < due)
        due = s->pulse.soon;
    return due;
}

static uint64_t lost_due(const session *s, const schedule *plan)
{
    uint64_t due = s->pulse.proof + plan->lost;
    return due > s->pulse.judge_after ? due : s->pulse.judge_after;
}

static uint64_t refused_due(const session *s)
{
    if (s->pulse.refused < 2)
        return TIME_NEVER;
    uint64_t grace = 2 * s->rtt.smoothed;
    return s->pulse.refused_at + (grace > REFUSED_LEAST ? grace : REFUSED_LEAST);
}

/* The next moment at which something of this session's life is due. */
static uint64_t next_due(const engine *e, const session *s)
{
    schedule plan = schedule_of(e, s);
    uint64_t due = probe_due(e, s, &plan);
    if (!s->pulse.suspect && s->pulse.proof + plan.suspect < due)
        due = s->pulse.proof + plan.suspect;
    if (s->pulse.unanswered >= PROBES_BEFORE_LOST && lost_due(s, &plan) < due)
        due = lost_due(s, &plan);
    if (refused_due(s) < due)
        due = refused_due(s);
    if (s->pulse.watched && s->lanes[0] == 0 && e->config.tcp && s->dialler &&
        s->watched_since + e->config.watch_lane0 < due &&
        s->watched_since + e->config.watch_lane0 > e->now)
        due = s->watched_since + e->config.watch_lane0;
    return due;
}

void pulse_arm(engine *e, uint64_t now, session *s)
{
    if (s->state != SESSION_UP && s->state != SESSION_DRAINING)
        return;
    uint64_t due = next_due(e, s);
    if (timer_armed(&s->pace) && s->pace.due <= due)
        return; /* lazy: it looks again when it fires */
    timer_arm(&e->timers, &s->pace, due > now ? due : now);
}

void pulse_start(engine *e, uint64_t now, session *s)
{
    s->pulse.proof = now;
    s->pulse.heard = now;
    s->last_answer = now;
    pulse_arm(e, now, s);
}

static void tell_peers(engine *e, uint64_t now, session *s)
{
    list_link *at = list_first(&s->peers);
    for (; at != NULL; at = list_next(&s->peers, at))
        peer_changed(e, now, CONTAINER_OF(at, peer, in_session));
}

void pulse_proof(engine *e, uint64_t now, session *s, uint64_t sent)
{
    if (sent > s->pulse.proof)
        s->pulse.proof = sent;
    s->pulse.unanswered = 0;
    session_proved(e, now, s, sent);
    if (s->pulse.fence != 0 && sent >= s->pulse.fence) {
        s->pulse.fence = 0;
        serve_unfence(e, now, s);
    }
    if (!s->pulse.suspect)
        return;
    s->pulse.suspect = false;
    tell_peers(e, now, s);
}

void pulse_watch(engine *e, uint64_t now, session *s, bool watched)
{
    s->pulse.watched = watched;
    s->watched_since = s->interest_at = now;
    if (s->state != SESSION_UP && s->state != SESSION_DRAINING)
        return;
    schedule plan = schedule_of(e, s);
    if (watched && now - s->pulse.proof >= plan.probe) {
        /* L8: four seconds of parked quiet are not yet death: silence counts from this probe. */
        s->pulse.proof = now;
        s->pulse.soon = now;
        s->pulse.soon_left = 1;
        s->pulse.unanswered = 0;
    }
    if (!watched)
        timer_disarm(&e->timers, &s->pace);
    credit_promise(e, s);
    pulse_arm(e, now, s);
}

bool pulse_fenced(const session *s)
{
    return s->pulse.fence != 0;
}

/* ---- probing ---- */

/* L2: at most so many probes a second per node. */
static bool probe_allowed(engine *e, uint64_t now)
{
    if (now - e->probe_tokens_at >= NS_PER_S) {
        e->probe_tokens_at = now;
        e->probe_tokens = e->config.probes_per_second;
    }
    if (e->probe_tokens == 0)
        return false;
    e->probe_tokens--;
    return true;
}

static void probe(engine *e, uint64_t now, session *s)
{
    if (!probe_allowed(e, now)) {
        s->pulse.soon = now + PROBE_TABLE_FULL;
        return;
    }
    s->pulse.soon = 0;
    if (s->pulse.soon_left > 0 && --s->pulse.soon_left > 0)
        s->pulse.soon = now + HINT_SPACING;
    s->pulse.probed = now;
    s->pulse.unanswered++;
    outbox_control(e, s, CONTROL_PROBE);
    if (s->pulse.unanswered < 2)
        return;
    /* A repeated probe: perhaps the peer restarted (S3), perhaps only UDP is dead (M2). */
    if (s->pulse.doubted_at == 0 || now - s->pulse.doubted_at >= DOUBT_EVERY) {
        s->pulse.doubted_at = now;
        dial_doubt(e, now, s);
    }
    lane_want(e, now, s, 0);
    route_silent(e, now, s);
}

static void suspect(engine *e, uint64_t now, session *s)
{
    s->pulse.suspect = true;
    tell_peers(e, now, s);
}

void pulse_inherit(engine *e, uint64_t now, session *s)
{
    bool judged = s->state == SESSION_UP || s->state == SESSION_DRAINING;
    if (!judged || !s->pulse.watched || s->pulse.proof != now)
        return;
    schedule plan = schedule_of(e, s);
    s->pulse.proof = now - plan.lost + plan.lost / HEIR_SHARE;
    suspect(e, now, s);
    pulse_arm(e, now, s);
}

/* True: the session is over. */
static bool judge(engine *e, uint64_t now, session *s, const schedule *plan)
{
    if (refused_due(s) <= now) {
        session_end(e, now, s, STATUS_REFUSED_BY_HOST, false);
        return true;
    }
    if (lost_due(s, plan) <= now && s->pulse.unanswered >= PROBES_BEFORE_LOST) {
        session_end(e, now, s, STATUS_LOST, true);
        return true;
    }
    return false;
}

static void consider_parking(engine *e, uint64_t now, session *s)
{
    if (!s->pulse.watched)
        return;
    if (session_interesting(s))
        s->interest_at = now;
    else if (now - s->interest_at >= PARK_AFTER && !s->pulse.suspect)
        pulse_watch(e, now, s, false);
}

void pulse_expired(engine *e, uint64_t now, session *s)
{
    if (s->state != SESSION_UP && s->state != SESSION_DRAINING)
        return;
    schedule plan = schedule_of(e, s);
    if (judge(e, now, s, &plan))
        return;
    seal_tick(&s->seal, now, 3 * recovery_pto(e, s)); /* K7: keys by age */
    if (!s->pulse.suspect && now - s->pulse.proof >= plan.suspect)
        suspect(e, now, s);
    consider_parking(e, now, s);
    if (probe_due(e, s, &plan) <= now)
        probe(e, now, s);
    if (s->pulse.watched && now - s->watched_since >= e->config.watch_lane0)
        lane_want(e, now, s, 0); /* L6: so that a killed peer is noticed at once */
    if (s->route.mode == PATH_LANE0)
        outbox_wake(e, s); /* M2: a test of UDP may be due */
    pulse_arm(e, now, s);
}

void pulse_hint(engine *e, uint64_t now, session *s, bool refused)
{
    if (s->state != SESSION_UP && s->state != SESSION_DRAINING)
        return;
    if (refused && (s->pulse.refused == 0 || s->pulse.probed > s->pulse.refused_at)) {
        s->pulse.refused++;
        s->pulse.refused_at = now;
    }
    if (s->pulse.refused < 2 && s->pulse.soon == 0) {
        s->pulse.soon = s->pulse.refused == 0 ? now : now + HINT_SPACING;
        s->pulse.soon_left = s->pulse.refused == 0 ? 2 : 1;
    }
    timer_disarm(&e->timers, &s->pace);
    pulse_arm(e, now, s);
}

/* L4: nothing starts until a probe that left after the stall is answered. */
static void fence(uint64_t now, session *s, uint64_t late)
{
    if (late < s->theirs_lost_after / 4 * 3)
        return;
    s->pulse.fence = s->pulse.soon = now;
    s->pulse.soon_left = 1;
}

/* What a timer shows of a stall begins when it is due, seconds after an idle node fell asleep. A
 * packet that lay in its socket shows all of it. Not again and again: a path may be as slow. */
void pulse_aged(engine *e, uint64_t now, session *s, uint64_t late)
{
    if (s->pulse.fence != 0 || late <= e->config.own_stall)
        return;
    fence(now, s, late);
    if (s->pulse.fence == 0)
        return;
    timer_disarm(&e->timers, &s->pace);
    pulse_arm(e, now, s);
}

/* L3, L4: nobody is judged by what happened while we did not look. */
void pulse_own_stall(engine *e, uint64_t now, uint64_t late)
{
    e->counters.own_stalls++;
    trace_add(&e->trace, now, TRACE_STALL, 0)->id = late;
    list_link *at = list_first(&e->live);
    for (; at != NULL; at = list_next(&e->live, at)) {
        session *s = CONTAINER_OF(at, session, listed);
        fence(now, s, late); /* the packet that confirms it may have lain here all the time */
        if (s->state != SESSION_UP && s->state != SESSION_DRAINING)
            continue;
        s->pulse.proof = s->pulse.proof + late < now ? s->pulse.proof + late : now;
        s->last_answer = s->last_answer + late < now ? s->last_answer + late : now;
        route_own_stall(s, now);
        s->pulse.judge_after = now + JUDGE_AFTER;
        s->pulse.stalled = now;
        s->pulse.soon = now;
        s->pulse.soon_left = 1;
        timer_disarm(&e->timers, &s->pace);
        pulse_arm(e, now, s);
    }
    for (at = list_first(&e->half_open); at != NULL; at = list_next(&e->half_open, at))
        fence(now, CONTAINER_OF(at, session, listed), late);
}

/* ---- beats ---- */

void pulse_beat(const engine *e, uint64_t now, beat *out)
{
    uint32_t waiting;
    uint64_t oldest = serve_backlog(e, now, &waiting);
    out->idle_ms =
        e->progress_at == 0 ? UINT32_MAX : (uint32_t)((now - e->progress_at) / NS_PER_MS);
    out->oldest_ms = (uint32_t)(oldest / NS_PER_MS);
    out->queued = waiting + e->progress_queued;
    out->drops = (uint32_t)e->kernel_drops;
}

/* P8: what the peer's own kernel dropped is loss, and its owner is the peer. */
static void note_drops(engine *e, session *s, const beat *b)
{
    uint32_t more = b->drops - s->theirs_drops;
    if (!s->beat_known || more == 0 || more > INT32_MAX)
        return;
    e->counters.drops_theirs += more;
    window_lost(&s->window, s->largest_acked, s->seal.next);
}

void pulse_got_beat(engine *e, uint64_t now, session *s, const beat *b)
{
    note_drops(e, s, b);
    s->theirs_drops = b->drops;
    s->beat_known = true;
    uint32_t stalled = b->idle_ms < b->oldest_ms ? b->idle_ms : b->oldest_ms;
    if (stalled < STALL_NOTED) {
        if (s->stalled_since == 0)
            return;
        s->stalled_since = 0;
    } else {
        uint64_t length = (uint64_t)stalled * NS_PER_MS;
        s->stalled_since = length < now ? now - length : 1;
    }
    tell_peers(e, now, s);
}

applied pulse_got_probe(engine *e, uint64_t now, session *s, uint64_t number, uint32_t sent_us,
                        const frame *f)
{
    s->pong_number = number;
    s->pong_sent_us = sent_us;
    s->pong_got = now;
    pulse_got_beat(e, now, s, &f->beat);
    outbox_control(e, s, CONTROL_PONG);
    return APPLIED;
}

/* NTP's way: the peer held the probe for held_us, half of the rest is one way. The pong's own send
 * time is behind age: now - (send time, their clock), least seen, is our clock minus theirs plus
 * the least delay. */
applied pulse_got_pong(engine *e, uint64_t now, session *s, const frame *f)
{
    uint32_t way = ((uint32_t)(now / NS_PER_US) - f->sent_us - f->held_us) / 2;
    s->clock_offset_us = -(int64_t)(int32_t)(age_least(&s->age) - way);
    pulse_got_beat(e, now, s, &f->beat);
    return APPLIED;
}
