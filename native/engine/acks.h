/* acks.h - what have I received that its sender does not know of yet?
 *
 *        largest - 64            largest - 1   largest
 *     bits: [ 1 1 0 1 ...             1      ]    1
 *
 * Every packet carries largest, bits and delay (P1). This piece also decides when a packet must go
 * for that alone (P3): after max_ack_delay, at once for a gap, for a probe, or for 32 packets. */
#ifndef RUDP_ENGINE_ACKS_H
#define RUDP_ENGINE_ACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

#define ACKS_AT_ONCE 32u /* packets that may wait for one acknowledgement */

typedef struct {
    uint64_t largest; /* 0: none yet */
    uint64_t bits;    /* bit i: largest - 1 - i was received */
    uint64_t at;      /* ns: when largest arrived */
    uint64_t due;     /* ns: when an acknowledgement must have left, TIME_NEVER: none is owed */
    uint32_t waiting; /* packets that asked for one since the last we sent */
} acks;

static inline void acks_init(acks *a)
{
    *a = (acks){.due = TIME_NEVER};
}

/* A packet was applied whole (P2). eliciting: it asks to be acknowledged; at_once: soon. */
static inline void acks_got(acks *a, uint64_t number, uint64_t now, bool eliciting, bool at_once,
                            uint64_t max_delay)
{
    bool gap = a->largest != 0 && number != a->largest + 1;
    if (number > a->largest) {
        uint64_t step = number - a->largest;
        a->bits = step > 64 ? 0 : step == 64 ? 0 : a->bits << step;
        if (a->largest != 0 && step <= 64)
            a->bits |= UINT64_C(1) << (step - 1);
        a->largest = number;
        a->at = now;
    } else if (number < a->largest && a->largest - number <= 64) {
        a->bits |= UINT64_C(1) << (a->largest - number - 1);
    }
    if (!eliciting)
        return;
    a->waiting++;
    uint64_t due = gap || at_once || a->waiting >= ACKS_AT_ONCE ? now : now + max_delay;
    if (due < a->due)
        a->due = due;
}

/* A packet left, and with it all we know. */
static inline void acks_sent(acks *a)
{
    a->due = TIME_NEVER;
    a->waiting = 0;
}

#endif
