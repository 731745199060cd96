/* check.c - the oracles: what must hold whatever the network does. Each message names its number.
 *
 *   Q1 each call ends once, by its deadline    Q2 the journal agrees with every outcome
 *   Q3 the reply belongs to the request        Q4 no (key, nonce) twice
 *   Q5 no packet over the budget               Q6 idle: everything is free
 *   Q7 little is sent into silence             Q9 a cut is noticed, and nothing else is
 *   Q10 one session per pair after quiet       Q11 nothing to strangers
 *   Q13 success soon after the heal            Q14 nothing starts after its deadline
 *   Q19 open work always has a timer           (Q7b, Q8: memory.c, bulk.c; Q12: world.c;
 *                                              Q17: run.c) */
#include "world.h"

#include "seal/seal.h"

#define TIMER_SLACK  MS(2)
#define DRIFT_MOST   MS(24) /* 400 ppm between two clocks over 60 s: by so much C8 may be early */
#define SILENCE_RATE 60u    /* datagrams a second to somebody who has been silent for 3 s */

/* ---- Q4 ---- */

static world *probed;

static void nonces_grow(world *w)
{
    size_t room = w->nonce_room ? 2 * w->nonce_room : 4096;
    uint64_t *set = calloc(room, sizeof *set);
    for (size_t i = 0; i < w->nonce_room; i++) {
        if (w->nonces[i] == 0)
            continue;
        size_t at = w->nonces[i] & (room - 1);
        while (set[at] != 0)
            at = (at + 1) & (room - 1);
        set[at] = w->nonces[i];
    }
    free(w->nonces);
    w->nonces = set;
    w->nonce_room = room;
}

static void on_nonce(const uint8_t key[AEAD_KEY], uint64_t nonce)
{
    world *w = probed;
    if (w == NULL)
        return;
    if (2 * w->nonce_count >= w->nonce_room)
        nonces_grow(w);
    uint64_t digest = nonce + 1;
    for (size_t i = 0; i < AEAD_KEY; i += 8) {
        uint64_t part;
        memcpy(&part, key + i, 8);
        digest = (digest ^ part) * 0x9e3779b97f4a7c15u;
        digest ^= digest >> 32;
    }
    digest |= 1;
    size_t at = digest & (w->nonce_room - 1);
    for (; w->nonces[at] != 0; at = (at + 1) & (w->nonce_room - 1))
        EXPECT(w, w->nonces[at] != digest, "Q4: nonce %llu is used twice with one key",
               (unsigned long long)nonce);
    w->nonces[at] = digest;
    w->nonce_count++;
}

void check_begin(world *w)
{
    probed = w;
    seal_nonce_probe = on_nonce;
}

void check_free(world *w)
{
    probed = NULL;
    seal_nonce_probe = NULL;
    free(w->nonces);
}

/* ---- packets ---- */

static void check_silence(world *w, const node *from, const node *to)
{
    pair *p = &w->pairs[from->index][to->index];
    uint64_t heard = w->pairs[to->index][from->index].heard;
    if (w->now < heard + SECONDS(3))
        return;
    if (w->now >= p->window_from + SECONDS(1)) {
        p->window_from = w->now;
        p->window_count = 0;
    }
    EXPECT(w, ++p->window_count <= SILENCE_RATE,
           "Q7: node %u sends more than %u datagrams in a second to node %u, silent since %.3f",
           from->index, SILENCE_RATE, to->index, (double)heard / 1e9);
}

void check_send(node *from, const action *a, node *to)
{
    world *w = from->world;
    EXPECT(w, a->size > 0 && a->size <= PACKET_BUDGET, "Q5: node %u sends %zu bytes", from->index,
           a->size);
    check_flight(from, a);
    EXPECT(w,
           a->local.family == 0 || address_equal(&a->local, &from->address[0]) ||
               address_equal(&a->local, &from->address[1]),
           "S9: node %u sends from %s, which is not its own", from->index, address_text(&a->local));
    EXPECT(w, a->remote.ip[0] != 203, "Q11: node %u answers the stranger %s", from->index,
           address_text(&a->remote));
    if (to != NULL)
        check_silence(w, from, to);
}

/* ---- turns ---- */

void check_turn(node *n)
{
    world *w = n->world;
    uint64_t clock = node_clock(n);
    for (uint32_t i = 0; i < n->config.calls; i++) {
        const sim_call *c = n->handles[i] ? &w->calls[n->handles[i] - 1] : NULL;
        if (c == NULL || !c->open)
            continue;
        EXPECT(w, clock <= c->due + TIMER_SLACK,
               "Q1: call %u of node %u is open after its deadline", n->handles[i] - 1, n->index);
        EXPECT(w, engine_deadline(n->engine) <= c->due + TIMER_SLACK,
               "Q19: call %u of node %u is open and no timer will end it", n->handles[i] - 1,
               n->index);
    }
}

/* ---- the end of a call ---- */

static bool lanes_may_fail(const world *w)
{
    return w->options.udp_only || w->swarm.tcp_blocked;
}

/* Something makes attempts to open a lane fail, three in a row and over 3 s (M5). */
static bool lanes_hindered(const world *w)
{
    const swarm *f = &w->swarm;
    bool path = f->cut || f->one_way || f->mtu || f->narrow || f->rebind || f->swap;
    bool process = f->stop || f->crash || f->vanish || f->close;
    return path || process || f->tcp_was_blocked || f->refuse || f->half_open || f->reset ||
           f->corrupt_stream;
}

static bool status_allowed(const world *w, const node *n, const sim_call *c, status s)
{
    uint64_t limit = w->nodes[c->target].config.max_message;
    switch (s) {
    case STATUS_OK: return c->does != DOES_RAISE && c->does != DOES_REFUSE;
    case STATUS_EXCEPTION: return c->does == DOES_RAISE;
    case STATUS_DEADLINE:
        return node_clock(n) + TIMER_SLACK + (w->swarm.drifting ? DRIFT_MOST : 0) >= c->due;
    case STATUS_CANCELLED: return c->cancelled;
    case STATUS_NO_METHOD:
    case STATUS_BAD_REQUEST: return c->does == DOES_REFUSE;
    case STATUS_TOO_LARGE: return c->size > limit;
    case STATUS_REPLY_TOO_LARGE: return c->reply_size > n->config.max_message;
    case STATUS_LANE_UNAVAILABLE: return lanes_may_fail(w) || (!c->settled && lanes_hindered(w));
    case STATUS_NO_MEMORY: return w->swarm.failing_alloc > 0;
    case STATUS_BUSY:
    case STATUS_UNREACHABLE:
    case STATUS_REFUSED_BY_HOST:
    case STATUS_UNVERIFIED:
    case STATUS_LOST:
    case STATUS_RESTARTED:
    case STATUS_CLOSED:
    case STATUS_DISMISSED:
    case STATUS_NODE_CLOSED: return true;
    case STATUS_BUFFER_CHANGED: return !w->sealed && w->swarm.corrupt_stream > 0; /* T6 */
    case STATUS_FAILED: return w->swarm.rotate > 0;
    default: return false;
    }
}

static void check_settled(world *w, const sim_call *c, uint32_t number, const event *e)
{
    /* Also small ones go by lane when the application gives them as memory. */
    bool big = c->memory != 0 || number % 16 == 5 || c->reply_size > 1000;
    bool fine = e->status == STATUS_OK ||
                (big && e->status == STATUS_LANE_UNAVAILABLE && lanes_may_fail(w));
    EXPECT(w, fine, "Q16: call %u from %u to %u, made after the heal, ends %s", number, c->caller,
           c->target, status_name(e->status));
}

void check_done(node *n, uint32_t number, const event *e)
{
    world *w = n->world;
    const sim_call *c = &w->calls[number];
    bool answered = e->status == STATUS_OK || e->status == STATUS_EXCEPTION;
    EXPECT(w, e->owner == (uint8_t)number, "E9: call %u ends with owner %u", number, e->owner);
    EXPECT(w, status_allowed(w, n, c, (status)e->status), "Q1: call %u to %u may not end %s",
           number, c->target, status_name(e->status));
    EXPECT(w, !answered || e->outcome == RAN_YES, "O1: call %u ends %s with outcome %u", number,
           status_name(e->status), e->outcome);
    EXPECT(w, e->outcome != RAN_YES || c->runs == 1, "Q2: call %u ran, it is said, but did not",
           number);
    EXPECT(w, e->outcome != RAN_NO || c->runs == 0, "Q2: call %u did not run, it is said: %s",
           number, status_name(e->status));
    if (answered) {
        uint64_t size = e->status == STATUS_OK ? c->reply_size : number % 64;
        const uint8_t *body = e->memory ? memory_of(n, e->memory)->bytes : e->body;
        EXPECT(w, e->size == size && pattern_matches(number, 1, body, e->size),
               "Q3: the reply to call %u has %llu bytes, or wrong ones, not %llu", number,
               (unsigned long long)e->size, (unsigned long long)size);
    }
    if (c->settled)
        check_settled(w, c, number, e);
    if (c->steady)
        check_narrow(w, number, e);
}

void check_journal(world *w)
{
    for (uint32_t i = 0; i < w->call_count; i++) {
        const sim_call *c = &w->calls[i];
        EXPECT(w, c->runs <= 1, "Q2: call %u ran %u times", i, c->runs);
        EXPECT(w, !c->open, "Q1: call %u from %u to %u never ended", i, c->caller, c->target);
        if (!c->done)
            continue;
        EXPECT(w, c->outcome != RAN_NO || c->runs == 0,
               "Q2: call %u ran, its caller was told it did not (%s)", i, status_name(c->status));
        EXPECT(w, c->outcome != RAN_YES || c->runs == 1, "Q2: call %u never ran, was told it did",
               i);
    }
}

/* ---- the start of a handler ---- */

void check_start(node *n, const asked *s)
{
    world *w = n->world;
    const sim_call *c = &w->calls[s->call];
    EXPECT(w, c->runs == 0, "Q2: call %u runs a second time", s->call);
    EXPECT(w, !c->done || c->outcome != RAN_NO, "Q2: call %u runs after its caller was told no",
           s->call);
    const swarm *f = &w->swarm;
    /* C8: late by the least delay the answerer has seen. In a young session over a connection that
     * was held up, all it has seen was held up; or all of it lay in the socket while the node was
     * stopped; or the first it sees is a copy that somebody kept, of a packet that never came. */
    bool held_up = f->cut || f->one_way || f->stop || f->replay;
    uint64_t delayed = held_up ? SECONDS(8) : 0;
    if (f->stop && f->stop_max > delayed)
        delayed = f->stop_max;
    uint64_t slack = MS(120) + 6 * (f->delay + f->jitter) + f->lateness + delayed;
    EXPECT(w, w->now <= c->deadline + slack, "Q14: call %u starts %.3f s after its deadline",
           s->call, (double)(w->now - c->deadline) / 1e9);
}

/* ---- peers ---- */

void check_peer(node *n, const event *e)
{
    world *w = n->world;
    say(w, "node %u: peer %s is in state %u: %s", n->index, address_text(&e->remote), e->state,
        status_name(e->status));
    EXPECT(w, !w->gentle || e->state != PEER_LOST || e->status != STATUS_LOST,
           "Q9: node %u calls %s lost, and nothing was wrong", n->index, address_text(&e->remote));
}

static uint8_t state_of(node *n, uint32_t to)
{
    uint64_t now = node_enter(n);
    uint32_t peer = engine_peer(n->engine, now, &n->dials[to]);
    peer_view view = {.state = PEER_IDLE};
    engine_peer_view(n->engine, now, peer, &view);
    node_settle(n);
    return view.state;
}

bool check_reached(node *n, uint32_t to)
{
    return state_of(n, to) == PEER_UP;
}

void check_cut(world *w, uint32_t from, uint32_t to, uint64_t since)
{
    node *n = &w->nodes[from];
    bool cut = w->pairs[from][to].cut_since == since || w->pairs[to][from].cut_since == since;
    bool awake = node_runs(n) && !n->paused && n->busy_since < since;
    bool watched = n->watched[to] && n->watched[to] < since;
    if (!cut || !awake || !watched || w->replayed_at >= since) /* a replay passes the cut */
        return;
    uint8_t state = state_of(n, to);
    EXPECT(w, state != PEER_UP && state != PEER_SUSPECT,
           "Q9: node %u does not see that it is cut from %u since %.3f", from, to,
           (double)since / 1e9);
}

/* ---- rest ---- */

void check_idle(world *w)
{
    for (uint32_t i = 0; i < w->node_count; i++) {
        node *n = &w->nodes[i];
        if (n->engine == NULL)
            continue;
        EXPECT(w, engine_all_free(n->engine), "Q6: node %u is idle and something is not free", i);
        EXPECT(w, memory_held(n) == 0, "Q6: node %u holds %u memories", i, memory_held(n));
        const counters *k = engine_counters(n->engine);
        EXPECT(w, k->sessions_made - k->sessions_ended <= w->node_count - 1,
               "Q10: node %u has %llu sessions with %u other nodes", i,
               (unsigned long long)(k->sessions_made - k->sessions_ended), w->node_count - 1);
    }
}
