/* cluster.c - what do 10,000 idle peers cost one node? (L8, A6)
 *
 * Every leaf dials the hub once and then only beats. The hub is measured: its memory by pages that
 * were touched, its packets, its verbs, the time it computes. */
#include "star.h"

#define JOIN SECONDS(20) /* over which the leaves dial */
#define IDLE SECONDS(60) /* that are measured */

static void join(star *s, const config *leaf)
{
    for (uint32_t i = 0; i < s->count; i++) {
        star_run(s, SECONDS(1) + JOIN / s->count * i);
        star_start(s, i, leaf);
        star_watch(s, i, true);
    }
    star_run(s, s->now + SECONDS(5));
    for (uint32_t i = 0; i < s->count; i++)
        star_watch(s, i, false);
}

/* Returns the bytes of memory for each peer. */
static uint64_t measure(uint32_t peers, uint64_t seed)
{
    star s;
    star_init(&s, peers, seed, "rudp cluster");
    config hub = config_default(), leaf = star_leaf();
    hub.ciphers = leaf.ciphers = 1u << CIPHER_PLAIN;
    hub.tcp = false;
    hub.port = 2000;
    star_start(&s, HUB, &hub);
    uint64_t before = star_resident(&s.hub);
    join(&s, &leaf);
    star_run(&s, s.now + SECONDS(20));
    s.sent = s.received = s.verbs = s.computed = 0;
    star_run(&s, s.now + IDLE);
    uint32_t up = star_sessions(&s);
    uint64_t each = (star_resident(&s.hub) - before) / peers, seconds = IDLE / NS_PER_S;
    printf("%6u peers: %u sessions, %llu bytes each beside %llu KiB; each second %llu packets "
           "in, %llu out, %llu turns, %.2f ms of CPU\n",
           peers, up, (unsigned long long)each, (unsigned long long)(before / 1024),
           (unsigned long long)(s.received / seconds), (unsigned long long)(s.sent / seconds),
           (unsigned long long)(s.verbs / seconds), (double)s.computed / 1e6 / (double)seconds);
    star_free(&s);
    return up == peers ? each : UINT64_MAX;
}

#define IDLE_PEER_MAX 2048u /* bytes (A6) */

int cluster_run(uint32_t peers, const sim_options *given)
{
    uint64_t few = measure(peers / 10 ? peers / 10 : 1, given->seed);
    uint64_t many = measure(peers, given->seed);
    if (few == UINT64_MAX || many > IDLE_PEER_MAX) {
        fprintf(stderr, "A6, L8: an idle peer takes more than %u bytes, or not all are up\n",
                IDLE_PEER_MAX);
        return 1;
    }
    return 0;
}
