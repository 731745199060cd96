/* way.c - does the C thread let Python go first, only where that helps, and never for long?
 *
 * Between two pieces of a lane it looks: is there something for Python to do, was Python last seen
 * on this very CPU, and has it moved since this was done last? Then it sleeps until Python has
 * nothing more to do, or for a millisecond (api/way.c says why; docs/decisions.md what it brought).
 *
 * A node of zeros is enough: a socket with a packet in it, and a lane that has something to do. */
#define _GNU_SOURCE
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/node.h"
#include "stress/stress.h"

#define FOR_EVER (UINT64_MAX / 2)

enum { NEITHER = 7 }; /* what a look that ended early leaves in `made` */

static void stay_on_one_cpu(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    check(sched_setaffinity(0, sizeof one, &one) == 0, "one CPU");
}

/* A packet waits, a lane is busy, Python was here and has moved once. */
static void node_make(rudp_node *n, list_link *busy, int packet[2])
{
    memset(n, 0, sizeof *n);
    check(socketpair(AF_UNIX, SOCK_DGRAM, 0, packet) == 0, "socketpair");
    check(write(packet[1], "packet", 6) == 6, "write");
    n->loop.udp.fd = packet[0];
    n->loop.timer_fd = n->loop.connections.epfd = -1;
    list_init(&n->lanes.streams.ready);
    list_init(&n->lanes.streams.done);
    list_init(&n->lanes.streams.news);
    memset(busy, 0, sizeof *busy);
    list_push_back(&n->lanes.streams.ready, busy);
    way_note(n);
    atomic_store(&n->moves, 1);
}

static void *c_thread(void *argument)
{
    way_make(argument);
    return NULL;
}

static void python_goes_first(rudp_node *n)
{
    pthread_t thread;
    pthread_create(&thread, NULL, c_thread, n);
    while (atomic_load(&n->way.made) == 0)
        sched_yield();
    way_free(n);
    pthread_join(thread, NULL);
    check(n->way.moves == 1, "it made way");
    check(atomic_load(&n->way.moved_at) != 0, "who spins is told that a lane wants this CPU");
}

static bool looks_only(rudp_node *n)
{
    atomic_store(&n->way.made, NEITHER);
    way_make(n);
    return atomic_exchange(&n->way.made, 0) == NEITHER;
}

int main(void)
{
    static rudp_node made;
    rudp_node *n = &made;
    list_link busy;
    int packet[2];
    stay_on_one_cpu();
    node_make(n, &busy, packet);
    python_goes_first(n);
    check(looks_only(n), "once, until Python has moved");

    atomic_store(&n->moves, 2);
    way_make(n); /* nobody says that he is done: it comes back by itself */
    check(n->way.moves == 2, "it made way again");

    atomic_store(&n->moves, 3);
    atomic_store(&n->way.moved_at, FOR_EVER);
    check(way_is_taken(n), "a lane moves, and Python is on its CPU");
    atomic_store(&n->way.cpu, -1);
    check(looks_only(n), "not for a Python on another CPU");
    check(!way_is_taken(n), "who spins there need not stop");

    way_note(n);
    check(read(packet[0], (char[8]){0}, 8) == 6, "read");
    way_make(n);
    check(n->way.moves == 2, "not when there is nothing for Python to do");

    list_remove(&busy);
    atomic_store(&n->way.moved_at, 0);
    check(looks_only(n), "not when no lane is busy: it will sleep anyway");
    check(!way_is_taken(n), "and then the CPU is free");
    return faults != 0;
}
