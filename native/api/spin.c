/* spin.c - "is it worth looking again for a moment before going to sleep?" Rule 15.
 *
 *   look, yield the CPU, look, yield ...   until what is waited for is there, or `most` is over
 *
 * To wake a sleeping CPU costs more than the network: over two CPUs, two spinning sides halve a
 * round trip, and on one the yield hands the CPU to just the process that is to answer. On a busy
 * machine the same loop ruins everything. So it must pay: four in vain in a row end it for a
 * while; so does a yield that lasts long and brings nothing, since others need the CPU. Both
 * pauses double while nothing changes.
 *
 * The trap: a yield that lasts is no bad sign as such. On one CPU it lasts as long as the peer
 * works for us, and then the answer is there. */
#define _GNU_SOURCE
#include "api/node.h"

#include <sched.h>

#include "io/clock.h"

#define SPIN_YIELD_LONG   (100 * NS_PER_US) /* for nothing: others need the CPU */
#define SPIN_YIELD_SLICE  NS_PER_MS         /* whatever it brought: others compute beside us */
#define SPIN_PAUSE_BUSY   (100 * NS_PER_MS)
#define SPIN_PAUSE_MISSES (20 * NS_PER_MS)
#define SPIN_PAUSE_MOST   (8 * NS_PER_S)

enum { SPIN_MISSES = 4 };

static void spin_rest(spin *s, uint64_t now, uint64_t first)
{
    uint64_t pause = s->pause * 2 > first ? s->pause * 2 : first;
    s->pause = pause < SPIN_PAUSE_MOST ? pause : SPIN_PAUSE_MOST;
    s->after = now + s->pause;
    s->misses = 0;
}

bool spin_until(node *n, spin *s, uint64_t most, bool reading, waiter_ready ready, void *context)
{
    uint64_t now = clock_now(), end = now + most;
    if (now < s->after)
        return false;
    while (now < end) {
        uint64_t before = now;
        sched_yield();
        node_turn(n, TURN_ALL, reading);
        now = clock_now();
        bool found = ready(n, context);
        if (now - before > (found ? SPIN_YIELD_SLICE : SPIN_YIELD_LONG)) {
            spin_rest(s, now, SPIN_PAUSE_BUSY);
            return found;
        }
        if (found) {
            s->misses = 0;
            s->pause = 0;
            return true;
        }
    }
    if (++s->misses >= SPIN_MISSES)
        spin_rest(s, now, SPIN_PAUSE_MISSES);
    return false;
}
