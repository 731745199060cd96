/* broken_node.c - what becomes of a node whose own promise is broken (E10)?
 *
 * An ENSURE fails under the engine's lock, while one thread waits for a call and another for
 * events. Then: both come back with RUDP_BROKEN, the reader finds RUDP_STOPPED, every later call
 * is refused, the counters and the trace can still be read, the descriptor keeps nobody awake, the
 * node's own thread has ended, memory lent to a call that broke the promise is freed once, and
 * closing works. The process lives on, and so does the other node. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>

#include "api/node.h"
#include "base/ensure.h"
#include "engine/state.h" /* for a promise that a call runs into */
#include "stress/stress.h"

static void *call_main(void *argument)
{
    rudp_event done;
    int *result = malloc(sizeof *result);
    *result = rudp_call_wait(argument, 7 | 1 << 24, &done, 20000000);
    return result;
}

static void *events_main(void *argument)
{
    rudp_node *n = argument;
    int *result = malloc(sizeof *result);
    uint32_t taken = 0;
    bool stopped = false;
    uint64_t position = 0;
    do {
        *result = rudp_events_wait(n, taken, 0, 20000000);
        taken = *result > 0 ? (uint32_t)*result : 0;
        for (uint32_t i = 0; i < taken; i++)
            stopped |= rudp_events(n)[position++ % RUDP_EVENTS].kind == RUDP_STOPPED;
    } while (*result > 0);
    check(stopped, "the reader heard that the core stopped");
    return result;
}

static void break_promise(node *n, void *argument)
{
    (void)n;
    (void)argument;
    ENSURE(!"a promise of this test");
}

/* The node's thread has nothing left to do: bytes that nobody will read must not keep it awake. */
static void thread_ends(rudp_node *n)
{
    int left = EBUSY;
    for (int i = 0; i < 10000 && left == EBUSY; i++, usleep(1000))
        left = pthread_tryjoin_np(n->standby.thread, NULL);
    check(left == 0, "the node's thread ended");
    n->standby.started = left != 0;
}

/* The promise is broken inside a call that lends memory, after the engine got it. */
static void call_breaks(void)
{
    static uint8_t bytes[100000];
    void *parts[] = {bytes};
    size_t sizes[] = {sizeof bytes};
    rudp_node *n = node_new(NULL);
    pthread_mutex_lock(&n->lock);
    n->engine->release_room = 0;
    pthread_mutex_unlock(&n->lock);
    rudp_memory *m = rudp_memory_new(1, 1, parts, sizes);
    check(rudp_call_memory(n, 3, 0, 0, 1000000, "m", 1, m) == RUDP_BROKEN, "the call says it");
    check(rudp_close_wait(n, RUDP_UNKNOWN, 1000) == RUDP_BROKEN, "closing frees the message once");
}

static void join(pthread_t thread, const char *what)
{
    int *result;
    pthread_join(thread, (void **)&result);
    check(*result == RUDP_BROKEN, what);
    free(result);
}

int main(void)
{
    rudp_node *n = node_new(NULL), *other = node_new(NULL);
    rudp_address at;
    pthread_t caller, dispatcher;
    uint64_t numbers[8];
    static uint8_t records[4000];
    rudp_listening(other, &at);
    int64_t to = rudp_peer_wait(n, &at);
    check(to > 0, "a peer");
    check(rudp_call(n, 7 | 1 << 24, (uint32_t)to, 1, 20000000, "m", 1, "", 0) == 0, "a call");
    pthread_create(&caller, NULL, call_main, n);
    pthread_create(&dispatcher, NULL, events_main, n);
    usleep(100000);
    pthread_mutex_lock(&n->lock);
    check(!node_guard(n, break_promise, NULL), "the guard says that the core stopped");
    uint64_t written = n->ring.written;
    node_break(n); /* the lanes' thread may find the same a moment later */
    check(n->ring.written == written, "the core stops once");
    node_unlock(n);
    join(caller, "the caller comes back");
    join(dispatcher, "the reader comes back");
    thread_ends(n);
    check(rudp_call(n, 8, (uint32_t)to, 0, 1000, "m", 1, "", 0) == RUDP_BROKEN, "no call");
    check(rudp_peer_wait(n, &at) == RUDP_BROKEN, "no peer");
    check(rudp_counters_wait(n, numbers, 8) > 8, "counters");
    check(rudp_trace_wait(n, records, sizeof records) > 0, "trace");
    rudp_turn(n, 0, 0);
    struct pollfd p = {.fd = rudp_descriptor(n), .events = POLLIN};
    check(poll(&p, 1, 0) == 0, "nothing keeps a loop awake");
    check(rudp_close_wait(n, RUDP_UNKNOWN, 1000000) == RUDP_BROKEN, "closing says it too");
    check(rudp_peer_wait(other, &at) > 0, "the other node lives");
    check(rudp_close_wait(other, RUDP_UNKNOWN, 1000000) == 0, "and closes");
    call_breaks();
    printf("%d faults\n", faults);
    return faults != 0;
}
