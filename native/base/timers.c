#include "base/timers.h"

#include "base/ensure.h"

#include <stddef.h>

enum { CHILDREN = 4 };

void timers_init(timers *t, timer **memory, uint32_t room)
{
    *t = (timers){.heap = memory, .room = room};
}

static bool fires_before(const timer *a, const timer *b)
{
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void put(timers *t, timer *which, uint32_t at)
{
    t->heap[at] = which;
    which->place = at + 1;
}

/* The timer belongs at `at` or nearer to the root: parents that fire later move down. */
static void sift_up(timers *t, timer *which, uint32_t at)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / CHILDREN;
        if (!fires_before(which, t->heap[parent]))
            break;
        put(t, t->heap[parent], at);
        at = parent;
    }
    put(t, which, at);
}

static uint32_t earliest_child(const timers *t, uint32_t first)
{
    uint32_t best = first;
    for (uint32_t i = first + 1; i < first + CHILDREN && i < t->count; i++)
        if (fires_before(t->heap[i], t->heap[best]))
            best = i;
    return best;
}

/* The timer belongs at `at` or further from the root: children that fire earlier move up. */
static void sift_down(timers *t, timer *which, uint32_t at)
{
    for (;;) {
        uint64_t first = (uint64_t)at * CHILDREN + 1;
        if (first >= t->count)
            break;
        uint32_t child = earliest_child(t, (uint32_t)first);
        if (!fires_before(t->heap[child], which))
            break;
        put(t, t->heap[child], at);
        at = child;
    }
    put(t, which, at);
}

static void place_again(timers *t, timer *which, uint32_t at)
{
    if (at > 0 && fires_before(which, t->heap[(at - 1) / CHILDREN]))
        sift_up(t, which, at);
    else
        sift_down(t, which, at);
}

void timer_arm(timers *t, timer *which, uint64_t due)
{
    if (due == TIME_NEVER) {
        timer_disarm(t, which);
        return;
    }
    which->due = due;
    which->order = t->orders++;
    if (timer_armed(which)) {
        ENSURE(which->place <= t->count && t->heap[which->place - 1] == which);
        place_again(t, which, which->place - 1);
    } else {
        ENSURE(t->count < t->room);
        sift_up(t, which, t->count++);
    }
}

void timer_disarm(timers *t, timer *which)
{
    if (!timer_armed(which))
        return;
    uint32_t at = which->place - 1;
    ENSURE(at < t->count && t->heap[at] == which);
    which->place = 0;
    timer *last = t->heap[--t->count];
    if (last != which)
        place_again(t, last, at);
}

timer *timers_take(timers *t, uint64_t now)
{
    if (t->count == 0 || t->heap[0]->due > now)
        return NULL;
    timer *which = t->heap[0];
    timer_disarm(t, which);
    return which;
}
