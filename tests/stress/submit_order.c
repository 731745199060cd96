/* submit_order.c - does a command keep its place behind an older one of the same thread, when a
 * third writer was interrupted between taking his place in the ring and filling it?
 *
 *   ring   [ watch: reserved, not published ][ call ]        cancel, by the free lock
 *
 * The ring's reader sees nothing at all then, although a call stands in it. A cancel that went
 * straight into the engine would overtake its call, and cancel nothing (Rule 2). The same with the
 * word that a result was taken, followed by the next call of the same index: that call would find
 * its index in use, and never end. */
#define _GNU_SOURCE
#include "api/node.h"
#include "stress/stress.h"
#include "wire/status.h"

enum { GENERATION = 1 << 24, PATIENCE = 20000000 };

/* A writer who stops half way: what publishes his entry later. */
static uint64_t writer_begin(rudp_node *n)
{
    uint64_t ticket = 0;
    submission *s = ring_reserve(&n->submissions, &ticket);
    *s = (submission){.kind = SUBMIT_WATCH, .peer = 1};
    return ticket;
}

/* The status with which the call ends; -1: it does not. */
static int end_of(rudp_node *n, uint64_t handle)
{
    rudp_event done;
    int r;
    do {
        r = rudp_call_wait(n, handle, &done, 1000000);
    } while (r == RUDP_SIGNAL);
    return r == 0 ? done.status : -1;
}

static void cancel_stays_behind_its_call(rudp_node *n, uint32_t peer)
{
    uint64_t handle = 1 | GENERATION, ticket = writer_begin(n);
    pthread_mutex_lock(&n->lock); /* somebody runs a turn: the call goes into the ring */
    check(rudp_call(n, handle, peer, 1, PATIENCE, "m", 1, "", 0) == 0, "a call");
    node_unlock(n);
    check(rudp_cancel(n, handle) == 0, "a cancel");
    ring_publish(&n->submissions, ticket);
    check(end_of(n, handle) == STATUS_CANCELLED, "the cancel reached its call");
    rudp_taken(n, handle);
}

static void index_is_free_when_used_again(rudp_node *n, uint32_t peer)
{
    uint64_t first = 2 | GENERATION, second = 2 | 2 * GENERATION;
    check(rudp_call(n, first, peer, 1, 1000, "m", 1, "", 0) == 0, "a call");
    check(end_of(n, first) >= 0, "it ends by its deadline");
    uint64_t ticket = writer_begin(n);
    pthread_mutex_lock(&n->lock);
    check(rudp_taken(n, first) == 0, "its result is taken");
    node_unlock(n);
    check(rudp_call(n, second, peer, 1, 1000, "m", 1, "", 0) == 0, "the next call");
    ring_publish(&n->submissions, ticket);
    check(end_of(n, second) >= 0, "the next call ends too");
    rudp_taken(n, second);
}

int main(void)
{
    rudp_node *n = node_new(NULL), *silent = node_new(NULL);
    rudp_address at;
    rudp_listening(silent, &at);
    uint32_t peer = (uint32_t)rudp_peer_wait(n, &at);
    cancel_stays_behind_its_call(n, peer);
    index_is_free_when_used_again(n, peer);
    check(rudp_close_wait(n, RUDP_UNKNOWN, 100000) == 0, "closing");
    rudp_close_wait(silent, RUDP_UNKNOWN, 100000);
    printf("%d faults\n", faults);
    return faults != 0;
}
