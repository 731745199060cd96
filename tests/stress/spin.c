/* spin.c - beside a lane on its CPU, does who waits keep the CPU, and only while that pays?
 *
 * Who has just asked something small looks again and again without a yield, and afterwards pauses
 * for eight times as long; four in vain, and it rests (api/spin.c says why). No packet ever waits
 * here, so a node of zeros is enough: only `ready` says when there is an answer. */
#define _GNU_SOURCE
#include <sched.h>
#include <string.h>

#include "api/node.h"
#include "io/clock.h"
#include "stress/stress.h"

#define REST     (20 * NS_PER_MS)
#define FOR_EVER (UINT64_MAX / 2)

enum { PAUSE = 8, FIRST = 1, MISSES = 4, NEVER = -1 };

typedef struct {
    int looks, answer_at;
    uint64_t first, last; /* ns: of the looks */
} answer;

static bool looks(node *n, void *context)
{
    answer *a = context;
    (void)n;
    a->last = clock_now();
    if (a->looks++ == 0)
        a->first = a->last;
    return a->looks == a->answer_at;
}

static void node_make(rudp_node *n)
{
    memset(n, 0, sizeof *n);
    n->loop.udp.fd = n->loop.timer_fd = n->loop.connections.epfd = -1;
    way_note(n);
    atomic_store(&n->way.moved_at, FOR_EVER);
}

static answer spun(rudp_node *n, bool asked, int answer_at)
{
    answer a = {.answer_at = answer_at};
    atomic_store(&n->asked, asked);
    bool found = spin_until(n, &n->lingering, 0, true, looks, &a);
    check(found == (a.looks > 0 && a.looks == answer_at), "it tells what it found");
    return a;
}

static void pauses(rudp_node *n)
{
    spin_account *s = &n->lingering.keeping;
    answer a = spun(n, true, FIRST);
    check(a.looks == FIRST, "it looks until there is an answer"); /* later ones may be too late */
    check(node_asked(n), "to this question or another: the turn knows");
    check(s->after - a.last >= PAUSE * (a.last - a.first), "lanes have the next eight ninths");
    s->after = FOR_EVER;
    check(spun(n, true, FIRST).looks == 0, "no spin within the pause");
    s->after = 0;
    check(spun(n, false, FIRST).looks == 0, "nor without a question");
}

static void rests(rudp_node *n)
{
    spin_account *s = &n->lingering.keeping;
    int looked = 0;
    s->earned = 0;
    for (int i = 0; i < 2 * MISSES; i++) {
        check(s->pause == (i < MISSES ? 0 : REST), "four in vain: a rest");
        s->after = 0;
        answer a = spun(n, true, NEVER);
        check(!node_asked(n), "once in vain for one question");
        looked += a.looks;
        if (i % MISSES == MISSES - 1)
            check(s->after >= a.last + s->pause, "it rests so long");
    }
    check(looked > 2 * MISSES, "it looks again and again");
    check(s->pause == 2 * REST, "the next is twice as long");
}

int main(void)
{
    static rudp_node made;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    check(sched_setaffinity(0, sizeof one, &one) == 0, "one CPU");
    node_make(&made);
    pauses(&made);
    rests(&made);
    atomic_store(&made.way.moved_at, 0);
    check(spun(&made, true, FIRST).looks == 0, "a spin of no time looks nowhere");
    check(made.lingering.yielding.misses == 1, "without a lane the other account is asked");
    return faults != 0;
}
