/* swarm.c - which faults does this seed have, how strong, and how tiny is everything?
 *
 * Each fault is on in about a third of the seeds: runs with everything at once never get far, and
 * runs with one thing alone miss what needs two. */
#include "world.h"

static uint32_t sometimes(world *w, uint32_t permille, uint32_t strongest)
{
    return chance(w, permille) ? 1 + (uint32_t)chance_below(w, strongest) : 0;
}

static void draw_datagrams(world *w, swarm *s)
{
    s->loss = sometimes(w, 500, 250);
    s->duplicate = sometimes(w, 350, 200);
    s->reorder = sometimes(w, 350, 300);
    s->corrupt = sometimes(w, 250, 50);
    s->kernel_full = sometimes(w, 200, 30);
    s->socket_full = sometimes(w, 350, 100);
    s->ring_full = sometimes(w, 350, 100);
    s->icmp = sometimes(w, 500, 1000);
    s->forged_icmp = sometimes(w, 200, 30);
    s->rate = chance(w, 100) ? chance_between(w, 250000, 5000000) : 0;
    s->mtu = chance(w, 50) ? (uint32_t)chance_between(w, 700, 1300) : 0;
    s->replay = sometimes(w, 250, 500);
    s->garbage = sometimes(w, 250, 500);
}

static void draw_outages(world *w, swarm *s)
{
    s->cut = sometimes(w, 300, 40);
    s->one_way = sometimes(w, 250, 30);
    s->stop = sometimes(w, 300, 40);
    s->pause = sometimes(w, 300, 40);
    s->crash = sometimes(w, 250, 20);
    s->vanish = sometimes(w, 150, 10);
    s->close = sometimes(w, 150, 15);
    s->rebind = sometimes(w, 150, 30);
    s->swap = sometimes(w, 100, 20);
    s->rotate = sometimes(w, 200, 2);
    s->stop_max = chance(w, 500) ? SECONDS(2) : SECONDS(15);
}

static void draw_streams(world *w, swarm *s)
{
    s->reset = sometimes(w, 300, 200);
    s->silent = sometimes(w, 400, 1000);
    s->refuse = sometimes(w, 200, 400);
    s->half_open = sometimes(w, 150, 300);
    s->slow_stream = sometimes(w, 250, 600);
    s->corrupt_stream = sometimes(w, 150, 20);
    s->udp_blocked = chance(w, 60);
    s->tcp_blocked = !s->udp_blocked && chance(w, 60);
    s->stays_blocked = chance(w, 500);
    s->failing_alloc = sometimes(w, 150, 300);
}

static bool is_gentle(const world *w, const swarm *s)
{
    bool outage = s->cut || s->one_way || s->crash || s->vanish || s->close || s->rebind ||
                  s->swap || s->rotate || s->udp_blocked || s->rate || s->mtu || s->narrow;
    bool stream = s->reset || s->refuse || s->half_open || s->corrupt_stream || s->slow_stream;
    return !outage && s->loss + s->corrupt + s->kernel_full <= 200 && s->delay <= MS(100) &&
           (s->stop == 0 || s->stop_max <= SECONDS(2)) && !(w->options.lane0_only && stream);
}

void swarm_draw(world *w)
{
    swarm *s = &w->swarm;
    *s = (swarm){.delay = chance_between(w, 20 * NS_PER_US, chance(w, 700) ? MS(1) : MS(60)),
                 .stop_max = SECONDS(2)};
    s->jitter = chance(w, 700) ? chance_below(w, s->delay / 2 + 1) : chance_below(w, MS(40));
    s->watch = sometimes(w, 400, 300);
    if (!w->options.quiet) {
        draw_datagrams(w, s);
        draw_outages(w, s);
        draw_streams(w, s);
    }
    if (w->options.lane0_only || w->options.udp_only)
        s->udp_blocked = s->tcp_blocked = false;
    if (w->options.udp_only)
        s->mtu = 0;
    narrow_draw(w);
    s->direct = random_below(&w->later, 4) == 0;
    s->lateness = chance(w, 700) ? chance_below(w, MS(3)) : chance_below(w, MS(60));
    s->completion = chance(w, 700) ? MS(1) : MS(200);
    if (w->options.batch != 0) /* which are always the longest there */
        s->completion = MS(1);
    s->aliases = chance(w, 150);
    s->drifting = chance(w, 300);
    w->sealed = w->options.sealed == SIM_BY_SEED ? chance(w, 500) : w->options.sealed == SIM_YES;
    if (!w->sealed)
        s->rotate = 0;
    s->tcp_was_blocked = s->tcp_blocked;
    w->gentle = is_gentle(w, s);
    w->node_count = (uint32_t)chance_between(w, 2, 4);
    w->calls_planned = (uint32_t)chance_between(w, 40, 400);
    if (w->options.crowded)
        crowded_draw(w);
    if (w->options.calls != 0)
        w->calls_planned = w->options.calls;
}

config swarm_config(world *w, uint32_t index)
{
    config c =
        w->options.batch != 0 || w->options.crowded ? batches_config(config_tiny()) : config_tiny();
    c.port = (uint16_t)(7000 + index);
    c.tcp = !w->options.udp_only;
    c.udp = !w->options.lane0_only;
    if (w->sealed) {
        uint8_t both = 1u << CIPHER_AES_256_GCM | 1u << CIPHER_CHACHA20_POLY1305;
        c.ciphers = chance(w, 700) ? both : 1u << CIPHER_CHACHA20_POLY1305;
    } else {
        c.ciphers = 1u << CIPHER_PLAIN;
    }
    if (chance(w, 300))
        c.rekey_packets = chance_between(w, 8, 64);
    if (chance(w, 200))
        c.rekey_after = MS(chance_between(w, 500, 5000));
    EXPECT(w, config_fault(&c) == NULL, "the simulator's config is wrong: %s", config_fault(&c));
    return c;
}
