/* star.c - the hub, its leaves, and the datagrams between them. */
#include "star.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- the heap ---- */

static bool sooner(const due *a, const due *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void star_push(star *s, due d)
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

member *star_member(star *s, uint32_t whom)
{
    return whom == HUB ? &s->hub : &s->leaves[whom];
}

/* A datagram to the hub carries its sender behind its bytes. */
static void post(star *s, uint32_t from, const action *a)
{
    const address *sender = &star_member(s, from)->address;
    uint32_t to = from == HUB ? (uint32_t)(a->remote.ip[2] << 8 | a->remote.ip[3]) : HUB;
    s->sent += from == HUB;
    uint8_t *bytes = malloc(a->size + sizeof *sender);
    memcpy(bytes, a->bytes, a->size);
    memcpy(bytes + a->size, sender, sizeof *sender);
    star_push(
        s, (due){.at = s->now + s->delay, .whom = to, .size = (uint32_t)a->size, .bytes = bytes});
}

void star_settle(star *s, uint32_t whom)
{
    member *m = star_member(s, whom);
    uint8_t buffer[ACTION_BUFFER];
    action a;
    do {
        while (engine_entropy_room(m->engine) > 0) {
            uint8_t fresh[ENGINE_ENTROPY];
            random_bytes(&s->chance, fresh, sizeof fresh);
            engine_entropy(m->engine, fresh);
        }
        while (engine_next(m->engine, s->now, ACTION_ALL, &a, buffer)) {
            if (a.kind == ACTION_SEND)
                post(s, whom, &a);
            else if (a.kind == ACTION_EVENT && s->event != NULL)
                s->event(s, whom, &a.event);
        }
    } while (engine_entropy_room(m->engine) > 0);
    uint64_t at = engine_deadline(m->engine);
    if (at < m->timer) {
        m->timer = at;
        star_push(s, (due){.at = at < s->now ? s->now : at, .whom = whom});
    }
}

/* The one place of the simulator that reads a clock: the hub's own time. */
static uint64_t computing(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

datagram star_datagram(star *s, const due *d)
{
    datagram g = {star_member(s, d->whom)->address, s->hub.address, d->bytes, d->size};
    if (d->whom == HUB) {
        memcpy(&g.remote, d->bytes + d->size, sizeof g.remote);
        s->received++;
    }
    return g;
}

static void handle(star *s, const due *d)
{
    member *m = star_member(s, d->whom);
    if (d->size == 0 && d->at < m->timer)
        return; /* an older arming */
    if (d->size == 0)
        m->timer = TIME_NEVER;
    if (d->whom == HUB && s->hub_gets != NULL) {
        s->hub_gets(s, d);
        return;
    }
    uint64_t began = d->whom == HUB ? computing() : 0;
    if (d->size > 0) {
        datagram g = star_datagram(s, d);
        engine_datagrams(m->engine, s->now, &g, 1, 0);
        free(d->bytes);
    } else {
        engine_tick(m->engine, s->now);
    }
    star_settle(s, d->whom);
    if (d->whom == HUB) {
        s->verbs++;
        s->computed += computing() - began;
    }
}

void star_run(star *s, uint64_t until)
{
    while (s->heap_count > 0 && s->heap[0].at <= until) {
        due d = pop(s);
        s->now = d.at;
        handle(s, &d);
    }
    s->now = until;
}

/* ---- begin and end ---- */

void star_init(star *s, uint32_t count, uint64_t seed, const char *name)
{
    *s = (star){.count = count,
                .now = SECONDS(1),
                .delay = 100 * NS_PER_US,
                .leaves = calloc(count, sizeof(member))};
    uint8_t bytes[RANDOM_SEED_SIZE] = "";
    snprintf((char *)bytes, 16, "%s", name);
    memcpy(bytes + 16, &seed, sizeof seed);
    random_init(&s->chance, bytes);
    s->hub.address = (address){.ip = {10, 0, 0, 1}, .port = 2000, .family = 4};
}

static void member_end(member *m)
{
    if (m->engine == NULL)
        return;
    engine_free(m->engine);
    munmap(m->room, m->size);
}

void star_free(star *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        member_end(&s->leaves[i]);
    member_end(&s->hub);
    for (size_t i = 0; i < s->heap_count; i++)
        free(s->heap[i].bytes);
    free(s->heap);
    free(s->leaves);
}

void star_start(star *s, uint32_t whom, const config *c)
{
    member *m = star_member(s, whom);
    uint8_t seed[ENGINE_SEED];
    random_bytes(&s->chance, seed, sizeof seed);
    if (whom != HUB)
        m->address = (address){
            .ip = {10, 1, (uint8_t)(whom >> 8), (uint8_t)whom}, .port = 2000, .family = 4};
    m->size = engine_size(c);
    m->room = mmap(NULL, m->size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->room == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    m->timer = TIME_NEVER;
    m->engine = engine_init(m->room, c, &s->keys, seed, s->now);
    ENSURE(m->engine != NULL);
}

void star_watch(star *s, uint32_t leaf, bool watch)
{
    member *m = &s->leaves[leaf];
    uint32_t hub = engine_peer(m->engine, s->now, &s->hub.address);
    engine_peer_watch(m->engine, s->now, hub, watch);
    star_settle(s, leaf);
}

config star_leaf(void)
{
    config c = config_tiny();
    c.sessions = 2;
    c.peers = 1;
    c.calls = 1;
    c.serves = 2;
    c.transfers = 4;
    c.connections = 2;
    c.records = 16;
    c.gone = 1;
    c.arena = 4 * 65536;
    c.call_slots_max = c.call_slots;
    c.transfer_slots_max = c.transfer_slots;
    c.tcp = false;
    return c;
}

/* ---- looking in ---- */

uint32_t star_sessions(const star *s)
{
    const counters *k = engine_counters(s->hub.engine);
    return (uint32_t)(k->sessions_made - k->sessions_ended);
}

/* Bytes of the engine's memory that have been touched. */
uint64_t star_resident(const member *m)
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
