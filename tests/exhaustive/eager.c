/* eager.c - a message that goes without waiting for memory, in every order (A1; T1 to T5, T10; Q8):
 * segments before the OFFER, after it, without it, and thrown away. */
#include "exhaustive/message.h"

/* The lane is up and the receiver's promise has come only after a first message. */
static void go_first(void)
{
    message_call();
    for (unsigned round = 0; round < 10 && !m->released; round++) {
        while (model_choices() > 0)
            model_choose(0);
        run_for(MS(20)); /* not so long that the receiver parks the session */
    }
    HOLDS(m->done && m->released, "A1: the first message does not end");
    engine_taken(actors[0].engine, scene_now.now, m->handle);
    settle(0);
}

int main(void)
{
    message_begin();
    go_first();
    message_call();
    uint64_t eager = engine_counters(actors[0].engine)->transfers_eager;
    HOLDS(eager == 1, "A1: %llu messages went eagerly", (unsigned long long)eager);
    message_search("eager", 1, 7);
    return 0;
}
