/* faults.c - what befalls nodes and paths, when, for how long; and the heal. */
#include "world.h"

#define FAULTS_MAX 64u /* of one kind in one seed */

static node *any_node(world *w)
{
    return &w->nodes[chance_below(w, w->node_count)];
}

/* ---- paths ---- */

static void mend(world *w, void *what, uint64_t pairing, uint64_t since)
{
    (void)what;
    pair *p = &w->pairs[pairing >> 32][pairing & 0xffffffff];
    if (p->cut_since != since)
        return;
    p->cut_since = 0;
    say(w, "path %u -> %u is mended", (unsigned)(pairing >> 32), (unsigned)pairing);
    streams_healed(w);
}

static void look_at_cut(world *w, void *what, uint64_t pairing, uint64_t since)
{
    (void)what;
    check_cut(w, (uint32_t)(pairing >> 32), (uint32_t)pairing, since);
    check_cut(w, (uint32_t)pairing, (uint32_t)(pairing >> 32), since);
}

static void cut_path(world *w, uint32_t from, uint32_t to, uint64_t duration)
{
    pair *p = &w->pairs[from][to];
    if (p->cut_since != 0)
        return;
    p->cut_since = w->now;
    uint64_t pairing = (uint64_t)from << 32 | to;
    say(w, "path %u -> %u is cut for %.3f s", from, to, (double)duration / 1e9);
    world_at(w, w->now + duration, mend, NULL, pairing, w->now);
    if (duration > SECONDS(5))
        world_at(w, w->now + SECONDS(5) + w->swarm.lateness, look_at_cut, NULL, pairing, w->now);
}

static uint64_t outage(world *w)
{
    return chance(w, 600) ? chance_below(w, SECONDS(3)) : chance_below(w, SECONDS(12));
}

static void strike_cut(world *w)
{
    uint32_t from = any_node(w)->index, to = any_node(w)->index;
    uint64_t duration = outage(w);
    if (from == to)
        return;
    cut_path(w, from, to, duration);
    cut_path(w, to, from, duration);
}

static void strike_one_way(world *w)
{
    uint32_t from = any_node(w)->index, to = any_node(w)->index;
    if (from != to)
        cut_path(w, from, to, outage(w));
}

static void strike_rebind(world *w)
{
    node *n = any_node(w);
    n->source = (address){.ip = {198, 51, 100, (uint8_t)(n->index + 1)},
                          .port = (uint16_t)chance_between(w, 1024, 60000),
                          .family = 4};
    say(w, "node %u now appears as %s", n->index, address_text(&n->source));
}

/* S4: two nodes behind one NAT swap their ports. */
static void strike_swap(world *w)
{
    node *a = any_node(w), *b = any_node(w);
    bool outside = a->source.ip[0] == 198 && b->source.ip[0] == 198;
    if (a == b || !outside)
        return;
    address kept = a->source;
    a->source = b->source;
    b->source = kept;
    say(w, "nodes %u and %u swap their addresses", a->index, b->index);
}

/* ---- nodes ---- */

static void go_on(world *w, void *what, uint64_t life, uint64_t pause)
{
    (void)w;
    node *n = what;
    if (n->life != life)
        return;
    if (pause)
        node_pause(n, false);
    else
        node_stop(n, false);
}

static void strike_stop(world *w)
{
    node *n = any_node(w);
    node_stop(n, true);
    world_at(w, w->now + chance_below(w, w->swarm.stop_max), go_on, n, n->life, 0);
}

static void strike_pause(world *w)
{
    node *n = any_node(w);
    node_pause(n, true);
    world_at(w, w->now + chance_below(w, SECONDS(10)), go_on, n, n->life, 1);
}

static void restart(world *w, void *what, uint64_t unused, uint64_t unused2)
{
    (void)w;
    (void)unused;
    (void)unused2;
    node *n = what;
    if (n->engine == NULL)
        node_start(n);
}

static void strike_crash(world *w)
{
    node *n = any_node(w);
    node_crash(n, false);
    world_at(w, w->now + chance_below(w, SECONDS(6)), restart, n, 0, 0);
}

static void strike_vanish(world *w)
{
    node *n = any_node(w);
    node_crash(n, true);
    world_at(w, w->now + chance_below(w, SECONDS(10)), restart, n, 0, 0);
}

static void exit_now(world *w, void *what, uint64_t life, uint64_t unused)
{
    (void)unused;
    node *n = what;
    if (n->life != life || n->engine == NULL)
        return;
    for (uint32_t i = 0; node_runs(n) && n->all_wanted && i < n->config.calls; i++)
        EXPECT(w, n->handles[i] == 0 || !w->calls[n->handles[i] - 1].open,
               "Q1: node %u was closed and call %u has not ended", n->index, n->handles[i] - 1);
    node_crash(n, false);
}

static void strike_close(world *w)
{
    node *n = any_node(w);
    if (!node_runs(n))
        return;
    say(w, "node %u closes", n->index);
    n->closing = true;
    uint64_t now = node_enter(n);
    if (chance(w, 300))
        engine_drain(n->engine, now);
    else
        engine_close(n->engine, now);
    node_settle(n);
    now = node_enter(n);
    engine_close(n->engine, now);
    node_settle(n);
    world_at(w, w->now + MS(100), exit_now, n, n->life, 0);
    world_at(w, w->now + MS(100) + chance_below(w, SECONDS(4)), restart, n, 0, 0);
}

/* ---- the cluster's key (K9) ---- */

static void set_keys(node *n, uint8_t stage)
{
    world *w = n->world;
    const uint8_t *old = w->keys[0], *fresh = w->keys[1];
    switch (w->sealed ? stage : 4) {
    case 0: hello_keys_set(&n->keys, old, NULL); break;
    case 1: hello_keys_set(&n->keys, old, fresh); break;
    case 2: hello_keys_set(&n->keys, fresh, old); break;
    case 3: hello_keys_set(&n->keys, fresh, NULL); break;
    default: hello_keys_set(&n->keys, NULL, NULL); break;
    }
}

static void rotate_node(node *n, uint8_t stage)
{
    set_keys(n, stage);
    if (!node_runs(n))
        return;
    say(n->world, "node %u: keys, stage %u", n->index, stage);
    uint64_t now = node_enter(n);
    engine_rotate(n->engine, now, &n->keys);
    node_settle(n);
}

static void rotate(world *w, void *what, uint64_t stage, uint64_t unused)
{
    (void)what;
    (void)unused;
    if (w->faulty && w->rotation + 1u == stage) {
        w->rotation = (uint8_t)stage;
        for (uint32_t i = 0; i < w->node_count; i++)
            rotate_node(&w->nodes[i], w->rotation);
    }
}

/* ---- all of them ---- */

static const struct {
    void (*strike)(world *w);
    size_t strength; /* where the swarm says how many per 100 s */
} kinds[] = {
    {strike_cut, offsetof(swarm, cut)},        {strike_one_way, offsetof(swarm, one_way)},
    {strike_rebind, offsetof(swarm, rebind)},  {strike_swap, offsetof(swarm, swap)},
    {strike_stop, offsetof(swarm, stop)},      {strike_pause, offsetof(swarm, pause)},
    {strike_crash, offsetof(swarm, crash)},    {strike_vanish, offsetof(swarm, vanish)},
    {strike_close, offsetof(swarm, close)},    {streams_strike, offsetof(swarm, reset)},
    {network_replay, offsetof(swarm, replay)}, {network_garbage, offsetof(swarm, garbage)},
};

static void strike(world *w, void *what, uint64_t kind, uint64_t unused)
{
    (void)what;
    (void)unused;
    if (w->faulty)
        kinds[kind].strike(w);
}

void faults_begin(world *w)
{
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        uint32_t strength;
        memcpy(&strength, (const char *)&w->swarm + kinds[kind].strength, sizeof strength);
        uint64_t count = (strength * w->healed + SECONDS(50)) / SECONDS(100);
        for (uint64_t i = 0; i < count + (strength > 0) && i < FAULTS_MAX; i++)
            world_at(w, MS(200) + chance_below(w, w->healed), strike, NULL, kind, 0);
    }
    for (uint32_t stage = 1; w->swarm.rotate && stage <= 3; stage++)
        world_at(w, stage * w->healed / 5, rotate, NULL, stage, 0);
    for (uint32_t i = 0; i < w->node_count; i++)
        set_keys(&w->nodes[i], 0);
}

/* From here on everything works, and everybody runs. */
void faults_heal(world *w)
{
    say(w, "---- healed ----");
    w->faulty = false;
    memset(w->pairs, 0, sizeof w->pairs);
    swarm *s = &w->swarm;
    if (!s->stays_blocked)
        s->udp_blocked = s->tcp_blocked = false;
    s->mtu = s->narrow = 0;
    s->rate = 0;
    streams_healed(w);
    for (uint32_t i = 0; i < w->node_count; i++) {
        node *n = &w->nodes[i];
        if (n->closing)
            node_crash(n, false);
        if (n->engine == NULL)
            node_start(n);
        node_stop(n, false);
        node_pause(n, false);
        n->send_from = n->events_from = 0;
        if (w->rotation > 0) /* a node that was stopped has missed it */
            rotate_node(n, w->rotation == 1 ? 2 : w->rotation);
    }
}
