/* way.c - "who goes first when Python and the C thread want the same CPU?"
 *
 *   C thread   [ piece ][ piece ][ Python has something to do: sleeps ........ ][ piece ]
 *   Python                  ^ a packet comes, or the bell rings    [ turn, tasks ]^ nothing more
 *
 * A lane keeps its CPU busy for as long as there are bytes. The scheduler shares a CPU fairly, and
 * that is the trouble: a loop that has just used more than its half is woken and does not run, and
 * the scheduler looks again only at its next tick (measured: 4 ms, for a call that takes 50 us). So
 * between two pieces the C thread looks whether Python has something to do, and if Python was last
 * seen on its CPU, lets it. Python says when it is done; if it says nothing, it waits WAY_MOST,
 * once until Python has moved again.
 *
 * Not by priorities: a thread that has made itself nicer may not take that back, and a lane beside
 * a program that computes would starve. Not by yielding either: that gives away the rest of a time
 * slice to whoever else wants the CPU.
 *
 * The trap: a lane that sleeps although Python runs on another CPU loses its time for nothing. */
#define _GNU_SOURCE
#include "api/node.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/clock.h"

#define WAY_MOST   NS_PER_MS
#define WAY_RECENT NS_PER_MS /* a lane that stands still for so short a time comes back */

static bool way_is_shared(const node *n)
{
    return atomic_load_explicit(&n->way.cpu, memory_order_relaxed) == sched_getcpu();
}

void way_note(node *n)
{
    atomic_store_explicit(&n->way.cpu, sched_getcpu(), memory_order_relaxed);
}

bool way_is_taken(const node *n)
{
    uint64_t moved_at = atomic_load_explicit(&n->way.moved_at, memory_order_relaxed);
    return moved_at != 0 && clock_now() < moved_at + WAY_RECENT && way_is_shared(n);
}

void way_make(node *n)
{
    if (!lanes_busy(&n->lanes))
        return;
    atomic_store_explicit(&n->way.moved_at, clock_now(), memory_order_relaxed);
    uint64_t moves = atomic_load_explicit(&n->moves, memory_order_relaxed);
    if (moves == n->way.moves || !way_is_shared(n))
        return;
    atomic_store(&n->way.made, 1);
    if (events_ready(n) > 0 || node_has_work(n)) {
        struct timespec most = {.tv_nsec = WAY_MOST};
        n->way.moves = moves;
        syscall(SYS_futex, &n->way.made, FUTEX_WAIT_PRIVATE, 1, &most, NULL, 0);
    }
    atomic_store(&n->way.made, 0);
}

void way_free(node *n)
{
    if (atomic_load(&n->way.made) != 0 && atomic_exchange(&n->way.made, 0) != 0)
        syscall(SYS_futex, &n->way.made, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
