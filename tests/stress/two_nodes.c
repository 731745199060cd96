/* two_nodes.c - do all the threads of a process stay out of each other's way?
 *
 *   node A   3 threads with small blocking calls, 2 with messages of 300 KiB, 1 dispatcher,
 *            1 that looks in (views, counters, trace)           Rules 2, 15 to 17
 *   node B   1 loop (poll and rudp_turn) that answers, and goes away for 30 ms now and then,
 *            so that the standby thread takes over              Rules 4, 7, 8
 *
 * Through rudp.h alone, over loopback, meant for ThreadSanitizer. Every result is compared with
 * what was asked; at the end a call is open while its node closes.
 *
 *   two_nodes [CALLS [KEY]]        exit status 0 if all is right */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stress/stress.h"
#include "wire/status.h"

enum { SMALL_THREADS = 3, BIG_THREADS = 2, BIG = 300 << 10, INDEX_BITS = 24 };

static rudp_node *caller, *answerer;
static uint32_t peer;
static uint32_t calls_each = 300;
static atomic_bool over;
static atomic_uint released, requests;
static uint8_t big[BIG];

static void check_result(bool ok, const char *what, long result)
{
    if (!ok)
        fprintf(stderr, "%ld: ", result);
    check(ok, what);
}

/* ---- node B ---- */

/* Echoes small bodies; of a big one it returns length and a byte from the middle. */
static void answer(const rudp_event *e, const uint8_t *arena)
{
    atomic_fetch_add(&requests, 1);
    if (e->memory == 0) {
        const uint8_t *body = arena + e->offset + e->method_size + e->extension_size;
        rudp_reply(answerer, e->id, STATUS_OK, (const char *)body, e->size);
        return;
    }
    uint8_t *body = (uint8_t *)(uintptr_t)e->memory;
    uint64_t reply[2] = {e->size, body[e->size / 2]};
    rudp_release(body);
    rudp_reply(answerer, e->id, STATUS_OK, (const char *)reply, sizeof reply);
}

static void *loop_main(void *argument)
{
    (void)argument;
    rudp_event *events = rudp_events(answerer);
    size_t size;
    uint8_t *arena = rudp_arena(answerer, &size);
    uint64_t position = 0;
    uint32_t taken = 0, rounds = 0;
    rudp_driver(answerer, 1);
    while (!atomic_load(&over)) {
        struct pollfd p = {.fd = rudp_descriptor(answerer), .events = POLLIN};
        if (taken == 0)
            poll(&p, 1, 20);
        int count = rudp_turn(answerer, taken, 0);
        check_result(count >= 0, "turn", count);
        for (int i = 0; i < count; i++) {
            const rudp_event *e = &events[(position + (uint64_t)i) % RUDP_EVENTS];
            if (e->kind == RUDP_REQUEST)
                answer(e, arena);
        }
        taken = (uint32_t)count;
        position += taken;
        if (++rounds % 100 == 0)
            usleep(30000);
    }
    rudp_driver(answerer, 0);
    return NULL;
}

/* ---- node A ---- */

static int wait_done(uint64_t handle, rudp_event *done)
{
    int result;
    do {
        result = rudp_call_wait(caller, handle, done, 100000);
    } while (result == RUDP_SIGNAL || result == RUDP_TIMEOUT);
    return result;
}

static void call_small(uint32_t index, uint32_t turn, const uint8_t *arena)
{
    uint64_t handle = index | (uint64_t)(turn + 1) << INDEX_BITS;
    uint32_t body[2] = {index, turn};
    rudp_event done;
    int r =
        rudp_call(caller, handle, peer, 1, 20000000, "echo", 4, (const char *)body, sizeof body);
    check_result(r == 0, "call", r);
    r = wait_done(handle, &done);
    check_result(r == 0, "call wait", r);
    bool same = done.status == STATUS_OK && done.size == sizeof body &&
                memcmp(arena + done.offset, body, sizeof body) == 0;
    check_result(same, "small reply", done.status);
    r = rudp_taken(caller, handle);
    check_result(r == 0, "taken", r);
}

static void call_big(uint32_t index, uint32_t turn, const uint8_t *arena)
{
    uint64_t handle = index | (uint64_t)(turn + 1) << INDEX_BITS;
    void *parts[2] = {big, big + 1000};
    size_t sizes[2] = {1000, BIG - 1000};
    rudp_memory *m = rudp_memory_new(handle, 2, parts, sizes);
    rudp_event done;
    int r = rudp_call_memory(caller, handle, peer, 1, 20000000, "big", 3, m);
    check_result(r == 0, "call_memory", r);
    r = wait_done(handle, &done);
    check_result(r == 0, "call wait", r);
    uint64_t reply[2] = {0, 0};
    if (done.status == STATUS_OK && done.size == sizeof reply)
        memcpy(reply, arena + done.offset, sizeof reply);
    check_result(reply[0] == BIG && reply[1] == big[BIG / 2], "big reply", done.status);
    rudp_taken(caller, handle);
}

static void *calls_main(void *argument)
{
    uint32_t index = (uint32_t)(uintptr_t)argument;
    size_t size;
    const uint8_t *arena = rudp_arena(caller, &size);
    bool is_big = index >= SMALL_THREADS;
    uint32_t most = is_big ? calls_each / 10 + 1 : calls_each;
    for (uint32_t i = 0; i < most && atomic_load(&faults) == 0; i++) {
        if (is_big)
            call_big(index, i, arena);
        else
            call_small(index, i, arena);
    }
    return NULL;
}

static void *dispatcher_main(void *argument)
{
    (void)argument;
    rudp_event *events = rudp_events(caller);
    uint64_t position = 0;
    uint32_t taken = 0;
    while (!atomic_load(&over)) {
        int count = rudp_events_wait(caller, taken, 0, 50000);
        taken = 0;
        for (; (int)taken < count; taken++, position++)
            if (events[position % RUDP_EVENTS].kind == RUDP_RELEASED)
                atomic_fetch_add(&released, 1);
    }
    rudp_events_wait(caller, taken, 0, 0);
    return NULL;
}

static void *looker_main(void *argument)
{
    (void)argument;
    uint64_t counters[128];
    static uint8_t trace[40 * 100];
    rudp_peer_view view;
    while (!atomic_load(&over)) {
        rudp_peer_view_wait(caller, peer, &view);
        rudp_counters_wait(caller, counters, 128);
        rudp_trace_wait(caller, trace, sizeof trace);
        usleep(2000);
    }
    return NULL;
}

/* ---- the end ---- */

/* Open while the node closes: it must come back, by the node's end at the latest. */
static void *late_main(void *argument)
{
    (void)argument;
    rudp_event done;
    uint64_t handle = 99 | (uint64_t)1 << INDEX_BITS;
    void *part = big;
    size_t size = BIG;
    rudp_memory *m = rudp_memory_new(98, 1, &part, &size);
    rudp_call_memory(caller, handle - 1, peer, 0, 20000000, "hole", 4, m);
    if (rudp_call(caller, handle, peer, 1, 20000000, "hole", 4, "", 0) != 0)
        return NULL;
    int r;
    do {
        r = rudp_call_wait(caller, handle, &done, 5000000);
    } while (r == RUDP_SIGNAL);
    check_result((r == 0 && done.status != STATUS_OK) || r == RUDP_CLOSED, "late call", r);
    return NULL;
}

int main(int argc, char **argv)
{
    static const uint8_t key[32] = {1, 2, 3};
    pthread_t threads[SMALL_THREADS + BIG_THREADS], loop, dispatcher, looker, late;
    if (argc > 1)
        calls_each = (uint32_t)atoi(argv[1]);
    const uint8_t *shared_key = argc > 2 ? key : NULL;
    for (size_t i = 0; i < BIG; i++)
        big[i] = (uint8_t)(i * 31);
    caller = node_new(shared_key);
    answerer = node_new(shared_key);
    rudp_address at;
    rudp_listening(answerer, &at);
    peer = (uint32_t)rudp_peer_wait(caller, &at);
    pthread_create(&loop, NULL, loop_main, NULL);
    pthread_create(&dispatcher, NULL, dispatcher_main, NULL);
    pthread_create(&looker, NULL, looker_main, NULL);
    for (uintptr_t i = 0; i < SMALL_THREADS + BIG_THREADS; i++)
        pthread_create(&threads[i], NULL, calls_main, (void *)i);
    for (int i = 0; i < SMALL_THREADS + BIG_THREADS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&over, 1);
    pthread_join(dispatcher, NULL);
    pthread_join(looker, NULL);
    pthread_join(loop, NULL);
    pthread_create(&late, NULL, late_main, NULL);
    usleep(50000);
    int r = rudp_close_wait(caller, RUDP_UNKNOWN, 200000);
    check_result(r == 0 || r == RUDP_TIMEOUT, "close A", r);
    pthread_join(late, NULL);
    r = rudp_close_wait(answerer, RUDP_UNKNOWN, 200000);
    check_result(r == 0 || r == RUDP_TIMEOUT, "close B", r);
    printf("%u requests, %u released\n", atomic_load(&requests), atomic_load(&released));
    return atomic_load(&faults) != 0;
}
