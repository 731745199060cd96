/* time.h - "what is a moment?"
 *
 * A moment is a uint64_t of nanoseconds on a clock that never goes back and that only io/ may
 * read; a duration is the same type. TIME_NEVER is later than every moment, so "the earliest of
 * these" needs no special case for "none".
 *
 * The trap: adding to a moment may pass the end. time_after() stops at TIME_NEVER instead.
 * (Include this file as "base/time.h" with -I native only: -I native/base would hide <time.h>.) */
#ifndef RUDP_BASE_TIME_H
#define RUDP_BASE_TIME_H

#include <stdint.h>

#define TIME_NEVER UINT64_MAX

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* The moment `delay` after `now`; TIME_NEVER if either is, or if the sum does not fit. */
static inline uint64_t time_after(uint64_t now, uint64_t delay)
{
    return delay > TIME_NEVER - now ? TIME_NEVER : now + delay;
}

#endif
