/* rtt.h - how long does the way there and back take, and when is an answer overdue?
 *
 * RFC 9002 section 5 (samples, smoothing) and 6.2 (PTO). A fresh packet number per transmission
 * makes Karn's rule unnecessary (P4). Samples come only from the largest newly acknowledged packet
 * that asked for an acknowledgement, less the delay the peer reports, so handlers do not count. */
#ifndef RUDP_ENGINE_RTT_H
#define RUDP_ENGINE_RTT_H

#include "base/time.h"

#include <stdint.h>

typedef struct {
    uint64_t smoothed; /* ns, 0: no sample yet */
    uint64_t variance;
    uint64_t least;
    uint64_t latest;
} rtt;

/* delay: reported by the peer, already capped at what it announced. */
static inline void rtt_sample(rtt *r, uint64_t sample, uint64_t delay)
{
    r->latest = sample;
    if (r->smoothed == 0) {
        r->least = sample;
        r->smoothed = sample;
        r->variance = sample / 2;
        return;
    }
    if (sample < r->least)
        r->least = sample;
    uint64_t adjusted = sample >= r->least + delay ? sample - delay : sample;
    uint64_t apart = r->smoothed > adjusted ? r->smoothed - adjusted : adjusted - r->smoothed;
    r->variance = (3 * r->variance + apart) / 4;
    r->smoothed = (7 * r->smoothed + adjusted) / 8;
    if (r->smoothed == 0)
        r->smoothed = 1;
}

/* Time after which a packet without an acknowledgement is resent, before any doubling. */
static inline uint64_t rtt_pto(const rtt *r, uint64_t initial, uint64_t max_ack_delay)
{
    if (r->smoothed == 0)
        return initial;
    uint64_t spread = 4 * r->variance > NS_PER_MS ? 4 * r->variance : NS_PER_MS;
    return r->smoothed + spread + max_ack_delay;
}

#endif
