/* age.h - how long was this packet under way, beyond what every packet needs?
 *
 * Each packet carries its send time by the sender's clock (C8). receive - send is the offset of the
 * clocks plus the delay; its minimum over the last 30 to 60 s is the offset plus the least delay.
 * What a packet shows above the minimum is its age: a request that lay ten seconds in a stopped
 * receiver's socket buffer shows itself as ten seconds old, whatever the clocks say.
 *
 *        minimum of the half minute before | of this one, growing
 *
 * 32-bit microseconds wrap every 71 minutes, so all comparison is serial. */
#ifndef RUDP_ENGINE_AGE_H
#define RUDP_ENGINE_AGE_H

#include "base/time.h"

#include <stdbool.h>
#include <stdint.h>

#define AGE_BUCKET (30 * NS_PER_S)

typedef struct {
    uint64_t since; /* when the present bucket began */
    uint32_t before, present;
    bool known, has_before;
} age;

static inline uint32_t age_least(const age *a)
{
    if (a->has_before && (int32_t)(a->before - a->present) < 0)
        return a->before;
    return a->present;
}

/* Takes the packet into account; returns its age in ns. */
static inline uint64_t age_packet(age *a, uint64_t now, uint32_t sent_us)
{
    uint32_t apart = (uint32_t)(now / NS_PER_US) - sent_us;
    if (!a->known) {
        *a = (age){.since = now, .present = apart, .known = true};
        return 0;
    }
    if (now - a->since > AGE_BUCKET) {
        a->before = a->present;
        a->has_before = now - a->since <= 2 * AGE_BUCKET;
        a->present = apart;
        a->since = now;
    } else if ((int32_t)(apart - a->present) < 0) {
        a->present = apart;
    }
    return (uint64_t)(apart - age_least(a)) * NS_PER_US;
}

#endif
