/* route.c - moving to another address, and between UDP and lane 0. */
#include "engine/route.h"

#include "engine/lane.h"
#include "engine/outbox.h"
#include "engine/pulse.h"
#include "engine/recovery.h"
#include "engine/state.h"

#define AMPLIFICATION 3u  /* bytes sent to an unproved path per byte from it (S8) */
#define PATH_PACKET   80u /* bytes of a challenge, roughly */

static void changed(engine *e, uint64_t now, session *s)
{
    s->route.udp_since = now;
    s->route.udp_answers = 0;
    e->counters.paths_changed++;
    trace_add(&e->trace, now, TRACE_PATH, s->index)->detail = s->route.mode;
}

static detour *detour_of(engine *e, session *s)
{
    if (s->route.detour == NULL) {
        s->route.detour = cells_take(&e->cells, sizeof(detour));
        if (s->route.detour != NULL)
            memset(s->route.detour, 0, sizeof(detour));
    }
    return s->route.detour;
}

/* As long as its answer may take: no other address is looked at before (S8). */
static uint64_t challenge_life(const engine *e, const session *s)
{
    uint64_t life = 3 * recovery_pto(e, s);
    if (life < ROUTE_CHALLENGE_LEAST)
        return ROUTE_CHALLENGE_LEAST;
    return life < ROUTE_CHALLENGE_MOST ? life : ROUTE_CHALLENGE_MOST;
}

void route_heard(engine *e, uint64_t now, session *s, const path *from, uint32_t connection_id,
                 size_t size)
{
    if (connection_id != 0)
        return;
    route *r = &s->route;
    if (address_equal(&from->remote, &r->now.remote)) {
        if (from->local.family != 0)
            r->now.local = from->local; /* answer from where we were asked (S9) */
        return;
    }
    detour *d = detour_of(e, s);
    if (d == NULL)
        return; /* no cell now: the next packet from there asks again */
    bool same = address_equal(&from->remote, &d->candidate.remote);
    if (!same || now >= d->token_due) {
        if (d->token_due > now && !same)
            return; /* one candidate at a time, so that floods of them cost nothing */
        d->candidate = *from;
        d->token = random_u64(&e->random);
        d->token_due = now + challenge_life(e, s);
        d->got = d->sent = 0;
    }
    d->got += (uint32_t)size;
    if (d->sent + PATH_PACKET <= AMPLIFICATION * d->got && d->sent < 4 * PATH_PACKET) {
        d->sent += PATH_PACKET;
        outbox_control(e, s, CONTROL_CHALLENGE);
    }
}

applied route_got_challenge(engine *e, uint64_t now, session *s, const path *from, const frame *f)
{
    (void)now;
    detour *d = detour_of(e, s);
    if (d == NULL)
        return UNABLE;
    d->response = f->number;
    d->response_to = *from;
    outbox_control(e, s, CONTROL_RESPONSE);
    return APPLIED;
}

applied route_got_response(engine *e, uint64_t now, session *s, const path *from, const frame *f)
{
    detour *d = s->route.detour;
    bool ours = d != NULL && d->candidate.remote.family != 0 && f->number == d->token &&
                now < d->token_due && address_equal(&from->remote, &d->candidate.remote);
    if (!ours)
        return APPLIED;
    s->route.now = d->candidate;
    d->candidate = (path){0};
    d->token_due = 0; /* the next move need not wait for this challenge to run out */
    changed(e, now, s);
    recovery_reset(e, now, s);
    return APPLIED;
}

/* ---- lane 0 ---- */

/* Modulo 2^32, and never 0. */
static uint32_t milliseconds(uint64_t now)
{
    return (uint32_t)(now / NS_PER_MS) | 1u;
}

void route_put(session *s, uint64_t now)
{
    if (s->route.put_at == 0)
        s->route.put_at = milliseconds(now);
}

void route_own_stall(session *s, uint64_t now)
{
    if (s->route.put_at != 0)
        s->route.put_at = milliseconds(now);
}

void route_lane0_new(session *s)
{
    s->route.put_at = 0;
}

uint64_t route_lane0_waits(const session *s, uint64_t now)
{
    return s->route.put_at == 0 ? 0 : (uint64_t)(milliseconds(now) - s->route.put_at) * NS_PER_MS;
}

/* A connection may die without a word while UDP works: then each probe goes both ways (L2). What
 * went by UDP and was answered says nothing of lane 0. */
static bool lane0_silent(const engine *e, uint64_t now, const session *s)
{
    uint64_t waits = route_lane0_waits(s, now);
    return waits >= ROUTE_UDP_SILENCE && waits >= 2 * recovery_pto(e, s);
}

static void switch_mode(engine *e, uint64_t now, session *s, path_kind mode)
{
    s->route.mode = (uint8_t)mode;
    s->route.lane0_doubted = false;
    s->route.put_at = 0;
    changed(e, now, s);
    outbox_wake(e, s);
}

void route_lost(session *s, size_t size)
{
    route *r = &s->route;
    if (size <= ROUTE_LARGE || r->large_lost == UINT8_MAX)
        return;
    if (r->large_lost++ == 0 || size < r->large_least)
        r->large_least = (uint16_t)size;
}

/* P10: small packets live, large ones die: this path is too narrow for us. One in between that is
 * answered says nothing of the larger ones. */
static void consider_narrow(engine *e, uint64_t now, session *s, size_t size)
{
    if (size > ROUTE_LARGE && size >= s->route.large_least) {
        s->route.large_lost = 0;
        s->route.narrow = false;
    }
    if (s->route.large_lost < ROUTE_LARGE_LOSSES || !e->config.tcp)
        return;
    if (!s->route.narrow) {
        s->route.narrow = true;
        lane_narrow(e, now, s);
    }
    if (s->lanes[0] == 0) {
        lane_want(e, now, s, 0);
        return;
    }
    s->route.large_lost = 0;
    switch_mode(e, now, s, PATH_LANE0);
}

void route_doubt_full(engine *e, session *s, uint64_t since)
{
    route *r = &s->route;
    if (r->mode != PATH_UDP || r->narrow || r->full_proved >= since)
        return;
    r->full_asked = true;
    outbox_wake(e, s);
}

void route_answered(engine *e, uint64_t now, session *s, const record *of)
{
    route *r = &s->route;
    size_t size = of->size;
    uint8_t kind = of->path;
    bool full = size >= PACKET_BUDGET - PACKET_TAG_MAX;
    if (kind == PATH_UDP && full && of->sent > r->full_proved)
        r->full_proved = of->sent;
    if (r->mode == PATH_UDP && kind == PATH_UDP)
        consider_narrow(e, now, s, size);
    /* The peer may have got it long ago, and have told us by another path now. */
    if (kind == PATH_LANE0 && now - of->sent < ROUTE_UDP_SILENCE)
        r->lane0_doubted = false;
    if (kind == PATH_LANE0 && (int32_t)(milliseconds(of->sent) - r->put_at) >= 0)
        r->put_at = 0;
    if (r->mode != PATH_LANE0 || kind != PATH_UDP)
        return;
    if (!full) { /* only full packets tell that UDP works (P10) */
        if (r->lane0_doubted)
            lane_zero_silent(e, now, s);
        return;
    }
    r->udp_answers++;
    bool settled = r->udp_answers >= ROUTE_ANSWERS && now - r->udp_since >= ROUTE_DWELL;
    if (!settled && !r->lane0_doubted)
        return;
    r->narrow = false;
    switch_mode(e, now, s, PATH_UDP);
}

void route_silent(engine *e, uint64_t now, session *s)
{
    route *r = &s->route;
    if (r->mode != PATH_UDP || now - s->last_answer < ROUTE_UDP_SILENCE || !e->config.tcp)
        return;
    if (s->lanes[0] == 0)
        lane_want(e, now, s, 0);
    else if (lane_can_put(e, s))
        switch_mode(e, now, s, PATH_LANE0);
}

bool route_test_due(engine *e, uint64_t now, session *s)
{
    route *r = &s->route;
    if (!e->config.udp || r->now.remote.port == 0)
        return false;
    if (s->state != SESSION_UP && s->state != SESSION_DRAINING)
        return false;
    if (r->mode != PATH_LANE0) {
        bool asked = r->full_asked;
        r->full_asked = false;
        return asked;
    }
    bool silent = lane0_silent(e, now, s);
    uint64_t pause = silent ? e->config.probe_repeat : ROUTE_UDP_RETRY;
    if (r->udp_tried != 0 && now - r->udp_tried < pause)
        return false;
    r->test_small = silent && r->lane0_doubted && !r->test_small;
    r->lane0_doubted = silent;
    r->udp_tried = now;
    return true;
}

/* P10: on a narrow path only small ones prove that the peer lives and lane 0 does not. */
bool route_test_full(const session *s)
{
    return !s->route.test_small;
}
