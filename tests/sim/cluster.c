/* cluster.c - what do 10,000 idle peers cost one node? (L8, A6)
 *
 *          leaf leaf leaf ...        each a real engine with the smallest tables
 *             \  |  /
 *               hub                  the engine that is measured: its memory by pages that were
 *                                    touched, its packets, its verbs, the time it computes
 *
 * Every leaf dials the hub once and then only beats. Nothing is lost: this counts, it does not
 * search. The one place of the simulator that reads a clock, for the hub's own time. */
#include "world.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DELAY (100 * NS_PER_US)
#define JOIN  SECONDS(20) /* over which the leaves dial */
#define IDLE  SECONDS(60) /* that are measured */
#define HUB   UINT32_MAX

typedef struct {
    uint64_t at, order;
    uint32_t whom; /* leaf or HUB */
    uint32_t size; /* of the datagram, 0: a timer */
    uint8_t *bytes;
} due;

typedef struct {
    engine *engine;
    void *room;
    address address;
    uint64_t timer; /* armed for */
    size_t size;
} member;

typedef struct {
    member hub, *leaves;
    uint32_t count;
    uint64_t now, order;
    due *heap;
    size_t heap_count, heap_room;
    uint64_t received, sent, verbs, computed; /* of the hub */
    random_source chance;
} star;

/* ---- the heap ---- */

static bool sooner(const due *a, const due *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(star *s, due d)
{
    if (s->heap_count == s->heap_room) {
        s->heap_room = s->heap_room ? 2 * s->heap_room : 1024;
        s->heap = realloc(s->heap, s->heap_room * sizeof *s->heap);
    }
    d.order = s->order++;
    size_t at = s->heap_count++;
    for (; at > 0 && sooner(&d, &s->heap[(at - 1) / 2]); at = (at - 1) / 2)
        s->heap[at] = s->heap[(at - 1) / 2];
    s->heap[at] = d;
}

static due pop(star *s)
{
    due first = s->heap[0], last = s->heap[--s->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < s->heap_count; at = child) {
        if (child + 1 < s->heap_count && sooner(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!sooner(&s->heap[child], &last))
            break;
        s->heap[at] = s->heap[child];
    }
    s->heap[at] = last;
    return first;
}

/* ---- members ---- */

static member *member_of(star *s, uint32_t whom)
{
    return whom == HUB ? &s->hub : &s->leaves[whom];
}

static uint64_t computing(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* A datagram to the hub carries its sender behind its bytes. */
static void post(star *s, uint32_t from, const action *a)
{
    const address *sender = &member_of(s, from)->address;
    uint32_t to = from == HUB ? (uint32_t)(a->remote.ip[2] << 8 | a->remote.ip[3]) : HUB;
    s->sent += from == HUB;
    uint8_t *bytes = malloc(a->size + sizeof *sender);
    memcpy(bytes, a->bytes, a->size);
    memcpy(bytes + a->size, sender, sizeof *sender);
    push(s, (due){.at = s->now + DELAY, .whom = to, .size = (uint32_t)a->size, .bytes = bytes});
}

static void settle(star *s, uint32_t whom)
{
    member *m = member_of(s, whom);
    uint8_t buffer[ACTION_BUFFER];
    action a;
    do {
        while (engine_entropy_room(m->engine) > 0) {
            uint8_t fresh[ENGINE_ENTROPY];
            random_bytes(&s->chance, fresh, sizeof fresh);
            engine_entropy(m->engine, fresh);
        }
        while (engine_next(m->engine, s->now, ACTION_ALL, &a, buffer))
            if (a.kind == ACTION_SEND)
                post(s, whom, &a);
    } while (engine_entropy_room(m->engine) > 0);
    uint64_t at = engine_deadline(m->engine);
    if (at < m->timer) {
        m->timer = at;
        push(s, (due){.at = at < s->now ? s->now : at, .whom = whom});
    }
}

static void handle(star *s, const due *d)
{
    member *m = member_of(s, d->whom);
    uint64_t began = d->whom == HUB ? computing() : 0;
    if (d->size > 0) {
        datagram g = {m->address, s->hub.address, d->bytes, d->size};
        if (d->whom == HUB) {
            memcpy(&g.remote, d->bytes + d->size, sizeof g.remote);
            s->received++;
        }
        engine_datagrams(m->engine, s->now, &g, 1, 0);
        free(d->bytes);
    } else {
        if (d->at < m->timer)
            return; /* an older arming */
        m->timer = TIME_NEVER;
        engine_tick(m->engine, s->now);
    }
    settle(s, d->whom);
    if (d->whom == HUB) {
        s->verbs++;
        s->computed += computing() - began;
    }
}

static void run_until(star *s, uint64_t until)
{
    while (s->heap_count > 0 && s->heap[0].at <= until) {
        due d = pop(s);
        s->now = d.at;
        handle(s, &d);
    }
    s->now = until;
}

/* ---- the measurement ---- */

static engine *member_start(star *s, member *m, const config *c)
{
    uint8_t seed[ENGINE_SEED];
    random_bytes(&s->chance, seed, sizeof seed);
    m->size = engine_size(c);
    m->room = mmap(NULL, m->size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->room == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    static hello_keys plain;
    m->timer = TIME_NEVER;
    return m->engine = engine_init(m->room, c, &plain, seed, s->now);
}

/* Bytes of the engine's memory that have been touched. */
static uint64_t resident(const member *m)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (m->size + page - 1) / page;
    unsigned char *map = malloc(pages);
    uint64_t count = 0;
    if (mincore(m->room, m->size, map) != 0) {
        perror("mincore");
        exit(1);
    }
    for (size_t i = 0; i < pages; i++)
        count += map[i] & 1;
    free(map);
    return count * page;
}

static void join(star *s, const config *leaf)
{
    for (uint32_t i = 0; i < s->count; i++) {
        run_until(s, SECONDS(1) + JOIN / s->count * i);
        member *m = &s->leaves[i];
        m->address =
            (address){.ip = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}, .port = 2000, .family = 4};
        member_start(s, m, leaf);
        uint32_t hub = engine_peer(m->engine, s->now, &s->hub.address);
        engine_peer_watch(m->engine, s->now, hub, true);
        settle(s, i);
    }
    run_until(s, s->now + SECONDS(5));
    for (uint32_t i = 0; i < s->count; i++) {
        member *m = &s->leaves[i];
        uint32_t hub = engine_peer(m->engine, s->now, &s->hub.address);
        engine_peer_watch(m->engine, s->now, hub, false);
        settle(s, i);
    }
}

static config leaf_config(void)
{
    config c = config_tiny();
    c.sessions = 2;
    c.peers = 1;
    c.calls = 1;
    c.serves = 2;
    c.transfers = 2;
    c.connections = 2;
    c.records = 16;
    c.gone = 1;
    c.arena = 4 * 65536;
    c.call_slots_max = c.call_slots;
    c.transfer_slots_max = c.transfer_slots;
    c.ciphers = 1u << CIPHER_PLAIN;
    c.tcp = false;
    return c;
}

/* Returns the bytes of memory for each peer. */
static uint64_t measure(uint32_t peers, uint64_t seed)
{
    star s = {.count = peers, .now = SECONDS(1), .leaves = calloc(peers, sizeof(member))};
    uint8_t bytes[RANDOM_SEED_SIZE] = "rudp cluster";
    memcpy(bytes + 16, &seed, sizeof seed);
    random_init(&s.chance, bytes);
    config hub = config_default(), leaf = leaf_config();
    hub.ciphers = 1u << CIPHER_PLAIN;
    hub.tcp = false;
    hub.port = 2000;
    s.hub.address = (address){.ip = {10, 0, 0, 1}, .port = 2000, .family = 4};
    member_start(&s, &s.hub, &hub);
    uint64_t before = resident(&s.hub);
    join(&s, &leaf);
    run_until(&s, s.now + SECONDS(20));
    s.sent = s.received = s.verbs = s.computed = 0;
    run_until(&s, s.now + IDLE);
    uint64_t up = engine_counters(s.hub.engine)->sessions_made -
                  engine_counters(s.hub.engine)->sessions_ended;
    uint64_t each = (resident(&s.hub) - before) / peers, seconds = IDLE / NS_PER_S;
    printf("%6u peers: %llu sessions, %llu bytes each beside %llu KiB; each second %llu packets "
           "in, %llu out, %llu turns, %.2f ms of CPU\n",
           peers, (unsigned long long)up, (unsigned long long)each,
           (unsigned long long)(before / 1024), (unsigned long long)(s.received / seconds),
           (unsigned long long)(s.sent / seconds), (unsigned long long)(s.verbs / seconds),
           (double)s.computed / 1e6 / (double)seconds);
    for (uint32_t i = 0; i < peers; i++) {
        engine_free(s.leaves[i].engine);
        munmap(s.leaves[i].room, s.leaves[i].size);
    }
    engine_free(s.hub.engine);
    munmap(s.hub.room, s.hub.size);
    for (size_t i = 0; i < s.heap_count; i++)
        free(s.heap[i].bytes);
    free(s.heap);
    free(s.leaves);
    return up == peers ? each : UINT64_MAX;
}

#define IDLE_PEER_MAX 2048u /* bytes (A6) */

int cluster_run(uint32_t peers, const sim_options *given)
{
    uint64_t few = measure(peers / 10 ? peers / 10 : 1, given->seed);
    uint64_t many = measure(peers, given->seed);
    if (few == UINT64_MAX || many > IDLE_PEER_MAX) {
        fprintf(stderr, "A6, L8: an idle peer takes more than %u bytes, or not all are up\n",
                IDLE_PEER_MAX);
        return 1;
    }
    return 0;
}
