/* clock.h - "what time is it?"
 *
 * The only place that reads a clock. CLOCK_BOOTTIME goes on while the machine sleeps, so a suspend
 * shows as a stall of ours (L3) and not as time that never was (L5).
 *
 * The trap: two CPUs may disagree by a few nanoseconds. The loop therefore clamps what it gives to
 * the engine (loop_now), under the engine's lock; everybody else just measures. */
#ifndef RUDP_IO_CLOCK_H
#define RUDP_IO_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "base/time.h"

static inline uint64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* So long from now on, for waits of the system, which know no boot time. */
static inline struct timespec clock_deadline(clockid_t clock, uint64_t delay)
{
    struct timespec now;
    clock_gettime(clock, &now);
    uint64_t then = (uint64_t)now.tv_nsec + delay;
    return (struct timespec){.tv_sec = now.tv_sec + (time_t)(then / NS_PER_S),
                             .tv_nsec = (long)(then % NS_PER_S)};
}

#endif
