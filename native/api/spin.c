/* spin.c - "is it worth looking again for a moment before going to sleep?" Rule 15.
 *
 *   look, yield the CPU, look, yield ...   until what is waited for is there, or `most` is over
 *
 * To wake a sleeping CPU costs more than the network: over two CPUs, two spinning sides halve a
 * round trip, and on one the yield hands the CPU to just the process that is to answer. On a busy
 * machine the same loop ruins everything. So it must pay, by an account: each answer found earns
 * what a wake-up costs; each yield that others used for themselves is paid from that, and so is
 * the time of four looks in a row in vain. Whoever cannot pay rests. Rests double until the account
 * is full.
 *
 * Without the account a machine that is merely not quite idle, where every tenth millisecond
 * somebody else runs, would end a spin that pays many times over.
 *
 * The trap: a yield that lasts is no bad sign as such. On one CPU it lasts as long as the peer
 * works for us, and then the answer is there.
 *
 * Beside a lane it is different. Our own C thread wants this CPU, and has it for a whole piece,
 * tens of microseconds within the kernel, while the answer lies there; and it empties our caches.
 * So whoever has just asked something small keeps the CPU, without yields: for SPIN_KEEP_MOST, and
 * a pause of SPIN_KEEP_PAUSE times as long follows, so that lanes lose a ninth of their time at
 * most. It has an account of its own, which ends it where the peer is on this CPU too. */
#define _GNU_SOURCE
#include "api/node.h"

#include <sched.h>

#include "io/clock.h"

#define SPIN_YIELD_LONG  (100 * NS_PER_US) /* for nothing: others need the CPU */
#define SPIN_YIELD_SLICE NS_PER_MS         /* whatever it brought: others compute beside us */
#define SPIN_EARNS       (40 * NS_PER_US)  /* an answer that did not have to wake us */
#define SPIN_FULL        (10 * NS_PER_MS)
#define SPIN_REST        (20 * NS_PER_MS)
#define SPIN_REST_MOST   NS_PER_S /* one slice lost per second is 0.3 % */
#define SPIN_KEEP_MOST   (150 * NS_PER_US)

enum { SPIN_MISSES = 4, SPIN_KEEP_PAUSE = 8 };

static void spin_rest(spin_account *s, uint64_t now)
{
    uint64_t pause = s->pause * 2 > SPIN_REST ? s->pause * 2 : SPIN_REST;
    s->pause = pause < SPIN_REST_MOST ? pause : SPIN_REST_MOST;
    s->after = now + s->pause;
    s->misses = 0;
    s->earned = 0;
}

static void spin_earn(spin_account *s)
{
    s->misses = 0;
    s->earned += SPIN_EARNS;
    if (s->earned >= SPIN_FULL) {
        s->earned = SPIN_FULL;
        s->pause = 0;
    }
}

static void spin_pay(spin_account *s, uint64_t now, uint64_t lost)
{
    if (s->earned >= lost)
        s->earned -= lost;
    else
        spin_rest(s, now);
}

static void spin_missed(spin_account *s, uint64_t now, uint64_t most)
{
    if (++s->misses < SPIN_MISSES)
        return;
    s->misses = 0;
    spin_pay(s, now, SPIN_MISSES * most);
}

/* On one CPU the answer is there when the first yield returns, and a turn that receives it is one
 * system call instead of two. From then on asking is cheaper than a turn, and the lock stays free
 * for those who submit. */
static void spin_look(node *n, bool first, bool reading)
{
    if (first || node_has_work(n) || atomic_load(&n->submitted))
        node_turn(n, TURN_ALL, reading);
}

/* Yields: whoever else wants the CPU may have it, and most often that is the peer. */
static bool spin_yielding(node *n, spin_account *s, uint64_t most, bool reading, waiter_ready ready,
                          void *context)
{
    uint64_t begun = clock_now(), now = begun, end = begun + most;
    if (now < s->after)
        return false;
    while (now < end) {
        uint64_t before = now;
        sched_yield();
        now = clock_now();
        spin_look(n, before == begun, reading);
        bool found = ready(n, context);
        if (now - before > (found ? SPIN_YIELD_SLICE : SPIN_YIELD_LONG)) {
            spin_pay(s, now, now - before);
            return found;
        }
        if (found) {
            spin_earn(s);
            return true;
        }
    }
    spin_missed(s, now, most);
    return false;
}

/* Keeps the CPU, which a lane wants. */
static bool spin_keeping(node *n, spin_account *s, bool reading, waiter_ready ready, void *context)
{
    uint64_t begun = clock_now(), now = begun, end = begun + SPIN_KEEP_MOST;
    if (now < s->after)
        return false;
    bool found = false;
    while (!found && now < end) {
        spin_look(n, false, reading);
        found = ready(n, context);
        now = clock_now();
    }
    if (found) { /* perhaps it is another answer, then this goes on */
        spin_earn(s);
    } else {
        spin_missed(s, now, SPIN_KEEP_MOST);
        atomic_store_explicit(&n->asked, false, memory_order_relaxed);
    }
    uint64_t pause = now + SPIN_KEEP_PAUSE * (now - begun);
    if (s->after < pause)
        s->after = pause;
    return found;
}

bool spin_until(node *n, spin *s, uint64_t most, bool reading, waiter_ready ready, void *context)
{
    if (!way_is_taken(n))
        return spin_yielding(n, &s->yielding, most, reading, ready, context);
    return node_asked(n) && spin_keeping(n, &s->keeping, reading, ready, context);
}
