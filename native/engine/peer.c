/* peer.c - the application's handles, and what it is told of them. */
#include "engine/peer.h"

#include "engine/pulse.h"
#include "engine/state.h"

#define ID_INDEX_BITS 20u
#define ID_INDEX_MASK ((1u << ID_INDEX_BITS) - 1u)
#define VERDICT_AFTER NS_PER_S /* of a dial: sooner, an answer may still be on its way */

uint32_t peer_id(const peer *p)
{
    return p->id;
}

peer *peer_by_id(engine *e, uint32_t id)
{
    uint32_t index = (id & ID_INDEX_MASK) - 1u;
    if (!slots_used(&e->peer_slots, index) || e->peers[index].id != id)
        return NULL;
    return &e->peers[index];
}

peer *peer_at(engine *e, const address *remote)
{
    uint32_t index;
    if (!map_get(&e->peer_addresses, address_digest(remote), &index))
        return NULL;
    peer *p = &e->peers[index];
    return address_equal(&p->remote, remote) ? p : NULL;
}

bool peer_wanted(const peer *p)
{
    return p->calls > 0 || p->watchers > 0;
}

static bool disposable(const peer *p)
{
    return !p->ours && p->session == NULL && p->dialling == NULL && !peer_wanted(p) &&
           !link_linked(&p->telling);
}

static void dispose(engine *e, peer *p)
{
    timer_disarm(&e->timers, &p->dial);
    if (peer_at(e, &p->remote) == p)
        (void)map_remove(&e->peer_addresses, address_digest(&p->remote));
    slots_give(&e->peer_slots, p->index);
}

/* A node that dialled us and has gone is remembered until its entry is needed. */
static bool take_index(engine *e, uint32_t *index)
{
    if (slots_take(&e->peer_slots, index))
        return true;
    for (uint32_t i = 0; i < e->config.peers; i++) {
        if (disposable(&e->peers[i])) {
            dispose(e, &e->peers[i]);
            return slots_take(&e->peer_slots, index);
        }
    }
    return false;
}

static peer *peer_new(engine *e, const address *remote, bool ours)
{
    uint32_t index;
    if (!take_index(e, &index))
        return NULL;
    peer *p = &e->peers[index];
    memset(p, 0, sizeof *p);
    p->index = index;
    uint32_t generation = slots_generation(&e->peer_slots, index) & 0xfffu;
    p->id = (index + 1) | generation << ID_INDEX_BITS;
    p->remote = *remote;
    p->ours = ours;
    p->dial.kind = TIMER_PEER_DIAL;
    list_init(&p->waiting);
    if (peer_at(e, remote) == NULL)
        (void)map_put(&e->peer_addresses, address_digest(remote), index);
    return p;
}

peer *peer_make(engine *e, const address *remote, bool ours)
{
    peer *p = peer_at(e, remote);
    if (p == NULL)
        return peer_new(e, remote, ours);
    p->ours = p->ours || ours;
    return p;
}

peer *peer_of_session(engine *e, session *s)
{
    list_link *at = list_first(&s->peers);
    if (at != NULL)
        return CONTAINER_OF(at, peer, in_session);
    address listens = s->route.now.remote;
    if (!s->dialler && s->theirs_port != 0)
        listens.port = s->theirs_port;
    peer *p = peer_at(e, &listens);
    /* Another node's session stands at this address (NAT, S4): this one gets an entry of its own,
     * found by its session only. */
    if (p != NULL && p->session != NULL && p->session->incarnation != s->incarnation)
        return peer_new(e, &s->route.now.remote, false);
    return p != NULL ? p : peer_new(e, &listens, false);
}

void peer_attach(engine *e, uint64_t now, peer *p, session *s)
{
    if (p->session == s)
        return;
    if (p->session != NULL)
        list_remove(&p->in_session);
    p->session = s;
    list_push_back(&s->peers, &p->in_session);
    if (p->dialling != NULL && p->dialling != s) {
        session *dial = p->dialling;
        list_remove(&p->in_dial);
        p->dialling = NULL;
        if (dial->state == SESSION_DIALLING && list_empty(&dial->dialling_peers))
            dial_stop(e, now, dial);
    }
    timer_disarm(&e->timers, &p->dial);
    p->same_life = p->incarnation == s->incarnation;
    p->incarnation = s->incarnation;
    peer_changed(e, now, p);
    session_watch(e, now, s);
    call_dispatch(e, now, p);
}

void peer_detach(engine *e, uint64_t now, peer *p, status reason)
{
    list_remove(&p->in_session);
    p->session = NULL;
    p->reason = (uint8_t)reason;
    peer_changed(e, now, p);
    uint32_t other;
    if (map_get(&e->incarnations, p->incarnation, &other)) {
        peer_attach(e, now, p, &e->sessions[other]);
        if (reason == STATUS_LOST)
            pulse_inherit(e, now, &e->sessions[other]);
    } else if (peer_wanted(p))
        dial_start(e, now, p);
}

void peer_changed(engine *e, uint64_t now, peer *p)
{
    peer_view view;
    peer_view_fill(e, now, p, &view);
    if (view.state == p->told && view.stalled == p->told_stalled)
        return;
    trace_add(&e->trace, now, TRACE_PEER_STATE, p->index)->detail = view.state;
    if (!link_linked(&p->telling))
        list_push_back(&e->telling_peers, &p->telling);
}

/* Of a dial that has had time to be answered; until then, why the last session ended. */
static status reason_of(uint64_t now, const peer *p)
{
    bool late = p->dialling != NULL && now - p->dialling->began >= VERDICT_AFTER;
    return late ? dial_verdict(p) : (status)p->reason;
}

static uint8_t state_of(const peer *p)
{
    const session *s = p->session;
    if (s != NULL && (s->state == SESSION_UP || s->state == SESSION_DRAINING))
        return s->pulse.suspect ? PEER_SUSPECT : PEER_UP;
    if (s != NULL || p->dialling != NULL)
        return PEER_DIALLING;
    return p->reason == STATUS_OK ? PEER_IDLE : PEER_LOST;
}

void peer_view_fill(const engine *e, uint64_t now, const peer *p, peer_view *out)
{
    (void)e;
    *out = (peer_view){.state = state_of(p),
                       .reason = (uint8_t)reason_of(now, p),
                       .calls = p->calls,
                       .incarnation = p->incarnation,
                       .stuck = p->stuck,
                       .stuck_since = p->stuck_since,
                       .remote = p->remote};
    const session *s = p->session;
    if (s == NULL)
        return;
    out->stalled = s->stalled_since != 0;
    out->stalled_since = s->stalled_since;
    out->path = s->route.mode;
    out->rtt = s->rtt.smoothed;
    out->rtt_variance = s->rtt.variance;
    out->sent = s->packets_sent;
    out->lost = s->packets_lost;
    out->clock_offset_us = s->clock_offset_us;
    out->stuck = call_stuck(s, now, &out->stuck_since);
    for (size_t i = 1; i < LANE_CLASSES; i++)
        out->lanes += s->lanes[i] != 0;
}

bool engine_peer_view(const engine *e, uint64_t now, uint32_t id, peer_view *out)
{
    uint32_t index = (id & ID_INDEX_MASK) - 1u;
    if (!slots_used(&e->peer_slots, index) || e->peers[index].id != id)
        return false;
    peer_view_fill(e, now, &e->peers[index], out);
    return true;
}
