/* crowded.c - a lane on which there is always something shorter: does the long one move? (T9, Q18)
 *
 *   node 0 -> 1    one long message       |=========================>            |
 *                  a dozen short ones     |=>|=>|=>|=>|  each followed by the next at once
 *
 * Without the rule that every eighth segment goes to the oldest, the long one waits for as long as
 * the short ones go on. No faults; tables are roomy, so that nothing but the lane is short. */
#include "world.h"

#define LASTS   SECONDS(5)
#define LOOPS   12u
#define LONG    200000u
#define SHORT   24000u
#define AT_ONCE MS(2) /* how soon the next follows */

void crowded_draw(world *w)
{
    swarm *s = &w->swarm;
    s->delay = s->delay < MS(5) ? s->delay : MS(5);
    s->jitter = s->jitter < MS(2) ? s->jitter : MS(2);
    s->lateness = s->lateness < MS(3) ? s->lateness : MS(3);
    s->completion = MS(5);
    w->node_count = 2;
}

static uint32_t send_one(world *w, uint64_t size)
{
    return workload_call(
        w, &(call_plan){.target = 1, .size = size, .timeout = LASTS, .settled = true});
}

/* One loop: `call` is under way, and when it has ended the next begins. */
static void look(world *w, void *what, uint64_t size, uint64_t call)
{
    (void)what;
    if (!w->faulty)
        return;
    if (call == UINT32_MAX || w->calls[call].done)
        call = send_one(w, size);
    world_at(w, w->now + AT_ONCE, look, NULL, size, call);
}

void crowded_begin(world *w)
{
    w->healed = LASTS;
    for (uint32_t i = 0; i < LOOPS; i++)
        world_at(w, MS(1) + chance_below(w, MS(20)), look, NULL, SHORT, UINT32_MAX);
    world_at(w, MS(100), look, NULL, LONG, UINT32_MAX);
}
