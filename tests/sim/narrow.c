/* narrow.c - a path that lets small packets live and swallows full ones, from some moment on (P10).
 *
 *   handshakes at full size pass ... narrow_at: whatever is larger than `narrow` is gone, silently
 *   a call per pair every 400 ms, many large, some big ---> each must succeed, later ones at once
 *
 * In half of the seeds connections find the path as narrow: full segments die too (T8). In ordinary
 * seeds the fault comes with others and calls may fail. With --narrow it comes alone and calls are
 * judged. */
#include "world.h"

#define ONE_IN    20u /* ordinary seeds */
#define BEGINS    SECONDS(5)
#define EVERY     MS(400)
#define PATIENCE  SECONDS(10) /* of a call that finds out: three losses, the timer doubling */
#define FOUND_OUT SECONDS(4)
#define SOON      SECONDS(2) /* of calls afterwards: also of those that find out late */
#define SOON_BIG  SECONDS(8) /* ... by lane: two in a row are found dead (T7, T8), then the queue */
#define HEADERS   28u        /* of a datagram: what a path lets through is an IP packet */
#define BIG       20000u

static uint64_t later_between(world *w, uint64_t low, uint64_t high)
{
    return low + random_below(&w->later, high - low + 1);
}

void narrow_draw(world *w)
{
    swarm *s = &w->swarm;
    bool hit = later_between(w, 1, ONE_IN) == 1 && !w->options.quiet && !w->options.lane0_only &&
               !w->options.udp_only && s->mtu == 0;
    if (!hit && !w->options.narrow)
        return;
    s->narrow = (uint32_t)later_between(w, 650, PACKET_BUDGET - 1);
    s->narrow_tcp = later_between(w, 0, 1) == 1;
    s->narrow_at = w->options.narrow ? BEGINS : MS(later_between(w, 500, 20000));
}

uint32_t narrow_limit(const world *w, bool tcp)
{
    const swarm *s = &w->swarm;
    bool narrow = s->narrow != 0 && w->now >= s->narrow_at && (!tcp || s->narrow_tcp);
    uint32_t limit = s->narrow + (tcp ? HEADERS : 0);
    return narrow && (s->mtu == 0 || limit < s->mtu) ? limit : s->mtu;
}

/* Every size that one packet takes, now and then none of them large. In half of the seeds no packet
 * is, and what is more goes by lane: nothing but a lane tells then that the path is narrow. */
static bool has_big_ones(const world *w)
{
    return w->options.seed % 4 >= 2;
}

static uint64_t some_size(world *w)
{
    if (!has_big_ones(w))
        return chance_below(w, 1100);
    return chance(w, 60) ? BIG : chance_below(w, 200);
}

static void steady_call(world *w, void *what, uint64_t pairing, uint64_t unused)
{
    (void)what;
    (void)unused;
    if (!w->faulty || w->now + PATIENCE > w->healed)
        return;
    call_plan p = {.caller = (uint32_t)(pairing >> 32),
                   .target = (uint32_t)pairing,
                   .size = some_size(w),
                   .reply_size = some_size(w),
                   .timeout = PATIENCE,
                   .steady = true};
    workload_call(w, &p);
    world_at(w, w->now + EVERY, steady_call, NULL, pairing, 0);
}

void narrow_begin(world *w)
{
    w->healed = BEGINS + PATIENCE + SECONDS(30);
    for (uint32_t from = 0; from < w->node_count; from++)
        for (uint32_t to = 0; to < w->node_count; to++)
            if (from != to)
                world_at(w, chance_below(w, EVERY), steady_call, NULL, (uint64_t)from << 32 | to,
                         0);
}

/* Some small ones go by lane too (workload.c, handler.c), or wait for the slots of big ones. */
static bool needs_lane(const world *w, uint32_t number)
{
    return has_big_ones(w) || number % 16 == 3 || number % 16 == 5;
}

void check_narrow(world *w, uint32_t number, const event *e)
{
    const sim_call *c = &w->calls[number];
    EXPECT(w, e->status == STATUS_OK,
           "P10: call %u with %llu bytes, reply %llu, on a path of %u, ends %s", number,
           (unsigned long long)c->size, (unsigned long long)c->reply_size, w->swarm.narrow,
           status_name(e->status));
    uint64_t took = w->now - c->begun, soon = needs_lane(w, number) ? SOON_BIG : SOON;
    EXPECT(w, took <= soon || c->begun < w->swarm.narrow_at + FOUND_OUT,
           "P10: call %u takes %.3f s, %.3f s after the path became narrow", number,
           (double)took / 1e9, (double)(c->begun - w->swarm.narrow_at) / 1e9);
}

/* M2: the path is whole again, so everybody is back on UDP. */
void check_narrow_end(world *w)
{
    for (uint32_t i = 0; i < w->node_count; i++) {
        for (uint32_t to = 0; to < w->node_count; to++) {
            node *n = &w->nodes[i];
            peer_view view = {.path = 0};
            if (i == to)
                continue;
            uint64_t now = node_enter(n);
            engine_peer_view(n->engine, now, engine_peer(n->engine, now, &n->dials[to]), &view);
            node_settle(n);
            EXPECT(w, view.path == 1, "M2: node %u is on path %u to node %u", i, view.path, to);
        }
    }
}
