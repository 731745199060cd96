/* node_stress.c - does every call end once, and every byte of lent memory come back once, whatever
 * the threads of a process do to each other?
 *
 *   node 0   reader: poll and rudp_turn, as a loop does           4 blocking callers (Rule 16)
 *            1 submitter from a thread of its own: small and big calls, cancels at random
 *   node 1   reader: the same, but goes away for 50 ms at random (the standby takes over)
 *   node 2   reader: rudp_events_wait, as a dispatcher does       2 blocking callers, big both ways
 *   others   a looker (views, counters, trace), a releaser of what was received
 *
 * Lent buffers are freed as soon as RELEASED says so: a later look at them is the sanitizer's. The
 * end comes while calls of node 0 are open in both ways; what was received is released after that,
 * by other threads. Through rudp.h alone. The counts are bounded, the chances come from the seed.
 *
 *   node_stress [SEED [KEY]]       exit status 0 if all is right */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/rudp.h"
#include "wire/status.h"

enum { NODES = 3, BLOCKING = 4, BLOCKING_CALLS = 600, BIG_CALLERS = 2, BIG_CALLS = 60 };
enum { SUBMITS = 4000, FIRST_FREE = 64 /* the submitter's call indices begin here */, WINDOW = 48 };
enum { BIG_LEAST = 20 << 10, BIG_MOST = 400 << 10, TOKENS = 4096, KEPT = 4096 };
enum { INDEX_BITS = 24, HOLE_INDEX = 200, PATIENCE = 25000000 /* us */ };

typedef struct {
    _Atomic uint32_t open; /* 1: its DONE is still to come */
    _Atomic uint64_t handle;
    atomic_bool cancelled, big;
} entry;

typedef struct {
    int number;
    rudp_node *node;
    pthread_t thread;
    atomic_bool stop;
    uint64_t position;
    uint8_t *arena;
} side;

static side sides[NODES];
static uint32_t peers[NODES][NODES];
static entry entries[WINDOW];
static atomic_bool wrong, over;
static atomic_uint done_count, ok_count, served, looks, waiting, ended_by_close;
static uint64_t seed = 1;

/* Lent and received memory, each to be given back exactly once. */
static _Atomic(uint8_t *) lent[TOKENS];
static atomic_uint lent_count, released_count;
static _Atomic(void *) kept[KEPT];
static atomic_uint kept_count, given_back;

static void check(bool ok, const char *what, long value)
{
    if (!ok) {
        fprintf(stderr, "wrong: %s (%ld)\n", what, value);
        atomic_store(&wrong, true);
    }
}

static uint64_t chance(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t chance_begin(uint64_t who)
{
    return (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (who + 1) * UINT64_C(0xbf58476d1ce4e5b9);
}

/* ---- memory ---- */

static uint8_t byte_at(uint64_t size, uint64_t offset)
{
    return (uint8_t)(size + offset * 7);
}

/* One buffer, lent as two parts; its token is its place in the table. */
static rudp_memory *lend(uint64_t size)
{
    uint32_t token = atomic_fetch_add(&lent_count, 1);
    uint8_t *bytes = malloc(size);
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = byte_at(size, i);
    check(token < TOKENS, "tokens", token);
    atomic_store(&lent[token], bytes);
    void *parts[2] = {bytes, bytes + 1000};
    size_t sizes[2] = {1000, size - 1000};
    return rudp_memory_new(token + 1, 2, parts, sizes);
}

static void came_back(uint64_t token)
{
    uint8_t *bytes = atomic_exchange(&lent[token - 1], NULL);
    check(bytes != NULL, "released twice", (long)token);
    free(bytes);
    atomic_fetch_add(&released_count, 1);
}

static bool is_intact(const uint8_t *bytes, uint64_t size)
{
    return bytes[0] == byte_at(size, 0) && bytes[size / 2] == byte_at(size, size / 2) &&
           bytes[size - 1] == byte_at(size, size - 1);
}

/* Received memory, to be released by somebody else, now or after its node has gone. */
static void keep(void *memory)
{
    uint32_t place = atomic_fetch_add(&kept_count, 1);
    check(place < KEPT, "kept", place);
    atomic_store(&kept[place], memory);
}

static void give_back(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        void *memory = atomic_exchange(&kept[i], NULL);
        if (memory == NULL)
            continue;
        rudp_release(memory);
        atomic_fetch_add(&given_back, 1);
    }
}

static void *releaser_main(void *argument)
{
    (void)argument;
    while (!atomic_load(&over)) {
        uint32_t count = atomic_load(&kept_count);
        give_back(0, count - count / 4); /* the newest quarter waits for the end */
        usleep(3000);
    }
    return NULL;
}

static void *last_releaser_main(void *argument)
{
    uint32_t half = atomic_load(&kept_count) / 2;
    if (argument == NULL)
        give_back(0, half);
    else
        give_back(half, atomic_load(&kept_count));
    return NULL;
}

/* ---- readers ---- */

/* echo: the same bytes; big: what was found; back: the same size as memory; hole: nothing. */
static void answer(side *s, const rudp_event *e)
{
    const char *method = (const char *)s->arena + e->offset;
    const char *body = method + e->method_size + e->extension_size;
    atomic_fetch_add(&served, 1);
    if (memcmp(method, "hole", 4) == 0) {
        if (e->memory != 0)
            keep((void *)(uintptr_t)e->memory);
        return;
    }
    if (e->memory == 0) {
        rudp_reply(s->node, e->id, STATUS_OK, body, e->size);
        return;
    }
    void *memory = (void *)(uintptr_t)e->memory;
    check(is_intact(memory, e->size), "a request's bytes", (long)e->size);
    if (memcmp(method, "back", 4) == 0)
        rudp_reply_memory(s->node, e->id, STATUS_OK, lend(e->size));
    else
        rudp_reply(s->node, e->id, STATUS_OK, (const char *)&e->size, sizeof e->size);
    keep(memory);
}

/* The end of one of the submitter's calls. */
static void finish(const side *s, const rudp_event *e)
{
    uint32_t index = (uint32_t)(e->id & 0xffffff);
    if (index < FIRST_FREE || index >= FIRST_FREE + WINDOW) {
        check(index == HOLE_INDEX, "an end of no call of ours", index);
        return;
    }
    entry *n = &entries[index - FIRST_FREE];
    check(atomic_load(&n->handle) == e->id, "an end of an older call", index);
    bool ok = e->status == STATUS_OK;
    check(ok || atomic_load(&n->cancelled), "a call failed", e->status);
    if (ok && atomic_load(&n->big))
        check(e->size == sizeof(uint64_t), "a big call's reply", (long)e->size);
    else if (ok)
        check(memcmp(s->arena + e->offset, &e->id, sizeof e->id) == 0, "a reply", index);
    atomic_fetch_add(ok ? &ok_count : &done_count, 1);
    check(atomic_exchange(&n->open, 0) == 1, "a call ended twice", index);
}

static void read_events(side *s, uint32_t count)
{
    const rudp_event *events = rudp_events(s->node);
    for (uint32_t i = 0; i < count; i++) {
        const rudp_event *e = &events[s->position++ % RUDP_EVENTS];
        switch (e->kind) {
        case RUDP_REQUEST: answer(s, e); break;
        case RUDP_DONE: finish(s, e); break;
        case RUDP_RELEASED: came_back(e->id); break;
        case RUDP_CANCEL: rudp_refuse(s->node, e->id, STATUS_CANCELLED); break;
        case RUDP_STOPPED: check(false, "a node stopped", s->number); break;
        default: break;
        }
    }
}

static void *reader_main(void *argument)
{
    side *s = argument;
    uint64_t state = chance_begin((uint64_t)s->number);
    uint32_t taken = 0;
    rudp_driver(s->node, s->number != 2);
    while (!atomic_load(&s->stop)) {
        struct pollfd p = {.fd = rudp_descriptor(s->node), .events = POLLIN};
        if (s->number != 2 && taken == 0)
            poll(&p, 1, 100);
        int count = s->number == 2 ? rudp_events_wait(s->node, taken, 0, 100000)
                                   : rudp_turn(s->node, taken, 0);
        check(count >= 0 || count == RUDP_TIMEOUT, "a turn", count);
        taken = count > 0 ? (uint32_t)count : 0;
        read_events(s, taken);
        if (s->number == 1 && chance(&state) % 150 == 0)
            usleep(50000);
    }
    rudp_turn(s->node, taken, 0);
    rudp_driver(s->node, 0);
    return NULL;
}

/* ---- callers ---- */

static int wait_done(rudp_node *n, uint64_t handle, rudp_event *done)
{
    int result;
    do {
        result = rudp_call_wait(n, handle, done, PATIENCE);
    } while (result == RUDP_SIGNAL);
    return result;
}

static void *blocking_main(void *argument)
{
    uint32_t index = (uint32_t)(uintptr_t)argument;
    uint64_t state = chance_begin(10 + index);
    side *s = &sides[0];
    for (uint32_t i = 0; i < BLOCKING_CALLS && !atomic_load(&wrong); i++) {
        uint64_t handle = index | (uint64_t)(i + 1) << INDEX_BITS;
        bool hasty = chance(&state) % 40 == 0; /* may miss its deadline */
        uint32_t peer = peers[0][1 + chance(&state) % 2];
        rudp_event done;
        int r = rudp_call(s->node, handle, peer, 1, hasty ? 200 : PATIENCE, "echo", 4,
                          (const char *)&handle, sizeof handle);
        check(r == 0, "a blocking call", r);
        r = wait_done(s->node, handle, &done);
        check(r == 0 && done.id == handle, "the wait for it", r);
        if (done.status == STATUS_OK)
            check(memcmp(s->arena + done.offset, &handle, 8) == 0, "its reply", index);
        else
            check(hasty && done.status == STATUS_DEADLINE, "its status", done.status);
        r = rudp_taken(s->node, handle);
        check(r == 0, "taken", r);
    }
    return NULL;
}

static void *big_main(void *argument)
{
    uint32_t index = (uint32_t)(uintptr_t)argument;
    uint64_t state = chance_begin(20 + index);
    side *s = &sides[2];
    for (uint32_t i = 0; i < BIG_CALLS && !atomic_load(&wrong); i++) {
        uint64_t handle = index | (uint64_t)(i + 1) << INDEX_BITS;
        uint64_t size = BIG_LEAST + chance(&state) % (BIG_MOST - BIG_LEAST);
        rudp_event done;
        int r =
            rudp_call_memory(s->node, handle, peers[2][i % 2], 1, PATIENCE, "back", 4, lend(size));
        check(r == 0, "a big call", r);
        r = wait_done(s->node, handle, &done);
        check(r == 0 && done.status == STATUS_OK && done.size == size, "its end", done.status);
        if (r == 0 && done.memory != 0) {
            check(is_intact((uint8_t *)(uintptr_t)done.memory, size), "its bytes", (long)size);
            keep((void *)(uintptr_t)done.memory);
        }
        rudp_taken(s->node, handle);
    }
    return NULL;
}

static void submit_one(entry *n, uint32_t index, uint32_t turn, uint64_t *state)
{
    uint64_t handle = index | (uint64_t)(turn + 1) << INDEX_BITS;
    bool big = chance(state) % 30 == 0;
    uint32_t peer = peers[0][1 + chance(state) % 2];
    atomic_store(&n->handle, handle);
    atomic_store(&n->big, big);
    atomic_store(&n->cancelled, chance(state) % 5 == 0);
    atomic_store(&n->open, 1);
    int r;
    for (int tries = 0; tries < 1000; tries++) {
        r = big ? rudp_call_memory(sides[0].node, handle, peer, 0, PATIENCE, "big", 3,
                                   lend(BIG_LEAST + chance(state) % (BIG_MOST - BIG_LEAST)))
                : rudp_call(sides[0].node, handle, peer, 0, PATIENCE, "echo", 4,
                            (const char *)&handle, sizeof handle);
        if (r != RUDP_FULL)
            break;
        usleep(1000);
    }
    check(r == 0, "a submission", r);
    if (chance(state) % 3 == 0)
        usleep((useconds_t)(chance(state) % 300));
    if (atomic_load(&n->cancelled))
        check(rudp_cancel(sides[0].node, handle) == 0, "a cancel", index);
}

static void *submitter_main(void *argument)
{
    uint64_t state = chance_begin(30);
    (void)argument;
    for (uint32_t i = 0, misses = 0; i < SUBMITS && !atomic_load(&wrong);) {
        uint32_t place = (uint32_t)(chance(&state) % WINDOW);
        if (atomic_load(&entries[place].open) == 0) {
            submit_one(&entries[place], FIRST_FREE + place, i++, &state);
            misses = 0;
        } else if (++misses > WINDOW) {
            usleep(500);
        }
    }
    return NULL;
}

static void *looker_main(void *argument)
{
    static uint8_t trace[40 * 200];
    uint64_t counters[256];
    rudp_peer_view view;
    (void)argument;
    while (!atomic_load(&over)) {
        for (int i = 0; i < NODES; i++) {
            rudp_peer_view_wait(sides[i].node, peers[i][(i + 1) % NODES], &view);
            check(rudp_counters_wait(sides[i].node, counters, 256) > 0, "counters", i);
            check(rudp_trace_wait(sides[i].node, trace, sizeof trace) >= 0, "trace", i);
        }
        atomic_fetch_add(&looks, 1);
        usleep(2000);
    }
    return NULL;
}

/* ---- the whole ---- */

static void nodes_open(const uint8_t *key)
{
    char error[160];
    rudp_address at[NODES];
    for (int i = 0; i < NODES; i++) {
        rudp_options o = {.listen = {.ip = {127, 0, 0, 1}, .family = 4}, .key = key};
        size_t size;
        if (rudp_open_wait(&o, &sides[i].node, error, sizeof error) != 0) {
            fprintf(stderr, "open: %s\n", error);
            exit(2);
        }
        sides[i].number = i;
        sides[i].arena = rudp_arena(sides[i].node, &size);
        rudp_listening(sides[i].node, &at[i]);
    }
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < NODES; j++)
            if (i != j)
                peers[i][j] = (uint32_t)rudp_peer_wait(sides[i].node, &at[j]);
    for (int i = 0; i < NODES; i++)
        pthread_create(&sides[i].thread, NULL, reader_main, &sides[i]);
}

static void wait_until_none_is_open(void)
{
    for (int i = 0; i < WINDOW; i++) {
        for (int tries = 0; tries < 20000 && atomic_load(&entries[i].open) != 0; tries++)
            usleep(1000);
        check(atomic_load(&entries[i].open) == 0, "a call never ended", i);
    }
    for (int tries = 0; tries < 5000; tries++) {
        if (atomic_load(&released_count) == atomic_load(&lent_count))
            break;
        usleep(1000);
    }
    long missing = (long)atomic_load(&lent_count) - (long)atomic_load(&released_count);
    check(missing == 0, "lent memory that did not come back", missing);
}

static void work(void)
{
    pthread_t threads[BLOCKING + BIG_CALLERS + 3];
    size_t count = 0;
    for (uintptr_t i = 0; i < BLOCKING; i++)
        pthread_create(&threads[count++], NULL, blocking_main, (void *)i);
    for (uintptr_t i = 0; i < BIG_CALLERS; i++)
        pthread_create(&threads[count++], NULL, big_main, (void *)i);
    pthread_create(&threads[count++], NULL, submitter_main, NULL);
    size_t callers = count;
    pthread_create(&threads[count++], NULL, looker_main, NULL);
    pthread_create(&threads[count++], NULL, releaser_main, NULL);
    for (size_t i = 0; i < callers; i++)
        pthread_join(threads[i], NULL);
    wait_until_none_is_open();
    atomic_store(&over, true);
    for (size_t i = callers; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* Open, small or big, when its node closes. */
static void *hole_main(void *argument)
{
    uint32_t index = (uint32_t)(uintptr_t)argument;
    rudp_node *n = sides[0].node;
    uint64_t handle = index | (uint64_t)1 << (INDEX_BITS + 16);
    rudp_event done;
    int r = index % 2 == 0
                ? rudp_call(n, handle, peers[0][1], 1, PATIENCE, "hole", 4, "", 0)
                : rudp_call_memory(n, handle, peers[0][2], 1, PATIENCE, "hole", 4, lend(BIG_MOST));
    check(r == 0, "a last call", r);
    atomic_fetch_add(&waiting, 1);
    r = wait_done(n, handle, &done);
    check((r == 0 && done.status != STATUS_OK) || r == RUDP_CLOSED, "its end", r);
    atomic_fetch_add(&ended_by_close, 1);
    return NULL;
}

static void reader_stop(side *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
}

static void nodes_close(void)
{
    pthread_t late[BLOCKING], last[2];
    for (uintptr_t i = 0; i < BLOCKING; i++)
        pthread_create(&late[i], NULL, hole_main, (void *)i);
    rudp_call(sides[0].node, HOLE_INDEX, peers[0][1], 0, PATIENCE, "hole", 4, "", 0);
    while (atomic_load(&waiting) < BLOCKING)
        usleep(1000);
    usleep(100000); /* they are inside: who has not begun to wait must not begin any more */
    reader_stop(&sides[0]);
    int r = rudp_close_wait(sides[0].node, RUDP_UNKNOWN, 100000);
    check(r == 0 || r == RUDP_TIMEOUT, "close 0", r);
    for (int i = 0; i < BLOCKING; i++)
        pthread_join(late[i], NULL);
    for (int i = 1; i < NODES; i++) {
        reader_stop(&sides[i]);
        r = rudp_close_wait(sides[i].node, RUDP_UNKNOWN, 100000);
        check(r == 0 || r == RUDP_TIMEOUT, "close", r);
    }
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&last[i], NULL, last_releaser_main, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(last[i], NULL);
    for (uint32_t i = 0; i < TOKENS; i++)
        free(atomic_load(&lent[i])); /* no node is left that could still read it */
}

int main(int argc, char **argv)
{
    static const uint8_t key[32] = {4, 5, 6};
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    nodes_open(argc > 2 ? key : NULL);
    work();
    nodes_close();
    check(atomic_load(&given_back) == atomic_load(&kept_count), "received memory",
          (long)atomic_load(&given_back));
    check(atomic_load(&ended_by_close) == BLOCKING, "calls ended by the close",
          (long)atomic_load(&ended_by_close));
    printf("%u served, %u ok and %u ended otherwise, %u lent, %u released, %u received, %u looks\n",
           atomic_load(&served), atomic_load(&ok_count), atomic_load(&done_count),
           atomic_load(&lent_count), atomic_load(&released_count), atomic_load(&kept_count),
           atomic_load(&looks));
    return atomic_load(&wrong);
}
