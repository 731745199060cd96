/* turn_waits.c - does a reader whose turn finds the lock taken wait a moment for its holder?
 *
 *   holder   [ has the lock, and has lost its CPU ........ ][ lets go
 *   reader          [ turn: not before the holder has let go ][ done
 *
 * On one CPU a reader that returned at once would be woken at once by what woke it before, again
 * and again, until the scheduler takes the CPU away from it and the holder goes on at last. Seen
 * beside a lane: 4 ms for a small call, and a tenth of the CPU (docs/decisions.md).
 *
 * Patience is bounded, and so is what this test knows of the scheduler: in most of its rounds. */
#define _GNU_SOURCE
#include <sched.h>
#include <unistd.h>

#include "api/node.h"
#include "stress/stress.h"

enum { ROUNDS = 60, HELD_US = 200 };

static atomic_bool begun;

static void *reading(void *argument)
{
    atomic_store(&begun, true);
    rudp_turn(argument, 0, 0);
    return NULL;
}

/* True: the turn was run by the one who asked for it, although the lock was taken when he came. */
static bool round_waits(rudp_node *n)
{
    pthread_t thread;
    atomic_store(&begun, false);
    pthread_mutex_lock(&n->lock);
    pthread_create(&thread, NULL, reading, n);
    while (!atomic_load(&begun))
        sched_yield();
    usleep(HELD_US);
    pthread_mutex_unlock(&n->lock); /* not node_unlock: this holder runs nobody's turn */
    pthread_join(thread, NULL);
    return atomic_load(&n->pending) == 0;
}

int main(void)
{
    rudp_node *n = node_new(NULL);
    int waited = 0;
    for (int i = 0; i < ROUNDS; i++)
        waited += round_waits(n);
    rudp_close_wait(n, 0, 0);
    check(waited >= ROUNDS / 2, "most turns wait for the lock's holder");
    return faults != 0;
}
