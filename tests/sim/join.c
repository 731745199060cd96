/* join.c - 10,000 nodes join at once: do the members notice? (K6)
 *
 *   1 s          members are up, each calls the hub every 5 ms
 *   2 s ... 4 s  how long do their calls take, undisturbed?
 *   4 s          everybody else dials, at the same moment, over a network of 1 ms
 *   ... until all are up: how long do the members' calls take now, how long does it all take?
 *
 * Time is virtual, so a hub that computes for ever would cost nothing. Here it pays for each turn
 * what was measured on real machines, and while it pays, datagrams wait in its socket, which is as
 * small as a socket is; what does not fit is lost. */
#include "engine/state.h" /* before the world, whose names it would hide */

#include "star.h"

#define NETWORK      MS(1)
#define MEMBERS      32u
#define CALL_EVERY   MS(5)
#define JOINED_BY    SECONDS(30)      /* after they all dialled */
#define SOCKET_ROOM  4096u            /* datagrams */
#define HELLO_COST   (90 * NS_PER_US) /* to answer message 1: two X25519 and what is around */
#define HELLO_LOOK   (4 * NS_PER_US)  /* to open one: it may be a copy, or one too many */
#define PACKET_COST  (2 * NS_PER_US)  /* in or out */
#define LATENCIES    400000u
#define JOINING_PEER 4096u /* bytes of the hub for each that joined */

typedef struct {
    due waiting[SOCKET_ROOM]; /* a ring */
    uint32_t first, count;
    bool turn_armed;
    uint64_t busy_until, dropped;
    uint32_t half_open_most, answered_most; /* at a time; in a turn */
    uint64_t requests[MEMBERS];             /* that the hub's application has not answered yet */
    uint32_t request_count;
    uint32_t uses[MEMBERS];
    uint64_t asked[MEMBERS]; /* when the member's call began, 0: none is open */
    uint32_t *latency;       /* of members' calls, us */
    size_t latencies;
    uint64_t failed;
} joining;

/* ---- the hub ---- */

static void arm_turn(star *s, joining *j)
{
    if (j->turn_armed)
        return;
    j->turn_armed = true;
    s->hub.timer = j->busy_until > s->now ? j->busy_until : s->now;
    star_push(s, (due){.at = s->hub.timer, .whom = HUB});
}

static void reply_to(star *s, uint64_t request)
{
    engine_request_taken(s->hub.engine, s->now, request);
    engine_reply(s->hub.engine, s->now,
                 &(reply_command){.request = request, .body = (const uint8_t *)"", .size = 0});
}

/* One turn of a real loop: 64 datagrams at most, the timers, and what follows from them. */
static void hub_turn(star *s, joining *j)
{
    engine *e = s->hub.engine;
    const counters *k = engine_counters(e);
    uint64_t answered = k->hellos_sent, looked = k->hellos_received;
    datagram batch[ENGINE_BATCH];
    uint8_t *bytes[ENGINE_BATCH];
    size_t count = 0;
    j->turn_armed = false;
    for (; count < ENGINE_BATCH && j->count > 0; j->count--, count++) {
        batch[count] = star_datagram(s, &j->waiting[j->first]);
        bytes[count] = j->waiting[j->first].bytes;
        j->first = (j->first + 1) % SOCKET_ROOM;
    }
    engine_datagrams(e, s->now, batch, count, j->dropped);
    for (size_t i = 0; i < count; i++)
        free(bytes[i]);
    for (unsigned i = 0; i < ENGINE_BATCH && engine_deadline(e) <= s->now; i++)
        engine_tick(e, s->now);
    answered = k->hellos_sent - answered;
    looked = k->hellos_received - looked;
    uint64_t cost = answered * HELLO_COST + looked * HELLO_LOOK + count * PACKET_COST;
    s->delay = NETWORK + cost; /* what it sends leaves when it has computed */
    star_settle(s, HUB);
    while (j->request_count > 0)
        reply_to(s, j->requests[--j->request_count]);
    star_settle(s, HUB);
    s->delay = NETWORK;
    j->busy_until = s->now + cost + s->sent * PACKET_COST;
    s->sent = 0;
    if (answered > j->answered_most)
        j->answered_most = (uint32_t)answered;
    if (e->half_open_count > j->half_open_most)
        j->half_open_most = e->half_open_count;
    if (j->count > 0 || engine_deadline(e) <= s->now)
        arm_turn(s, j);
}

static void hub_gets(star *s, const due *d)
{
    joining *j = s->what;
    if (d->size == 0) {
        if (s->now >= j->busy_until)
            hub_turn(s, j);
        else
            arm_turn(s, j);
        return;
    }
    if (j->count == SOCKET_ROOM) {
        j->dropped++;
        free(d->bytes);
        return;
    }
    j->waiting[(j->first + j->count++) % SOCKET_ROOM] = *d;
    arm_turn(s, j);
}

/* ---- the applications ---- */

static void on_event(star *s, uint32_t whom, const event *e)
{
    joining *j = s->what;
    if (whom == HUB && e->kind == EVENT_REQUEST)
        j->requests[j->request_count++] = e->id;
    if (whom == HUB || e->kind != EVENT_DONE || whom >= MEMBERS)
        return;
    j->failed += e->status != STATUS_OK;
    if (j->latencies < LATENCIES)
        j->latency[j->latencies++] = (uint32_t)((s->now - j->asked[whom]) / NS_PER_US);
    j->asked[whom] = 0;
}

static void call_hub(star *s, uint32_t whom)
{
    joining *j = s->what;
    engine *e = s->leaves[whom].engine;
    if (j->asked[whom] != 0)
        return; /* the one before is still open */
    j->asked[whom] = s->now;
    if (j->uses[whom] > 0)
        engine_taken(e, s->now, (uint64_t)j->uses[whom] << 24);
    call_command c = {.handle = (uint64_t)++j->uses[whom] << 24,
                      .peer = engine_peer(e, s->now, &s->hub.address),
                      .deadline = s->now + SECONDS(10),
                      .method = (const uint8_t *)"echo",
                      .method_size = 4,
                      .body = (const uint8_t *)"",
                      .size = 0};
    ENSURE(engine_call(e, s->now, &c));
    star_settle(s, whom);
}

/* Lets time pass while the members call; stops early if `all` sessions are there. */
static void work(star *s, uint64_t until, uint32_t all)
{
    for (uint32_t i = 0; s->now < until && star_sessions(s) < all; i++) {
        call_hub(s, i % MEMBERS);
        star_run(s, s->now + CALL_EVERY / MEMBERS);
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t take_p99(joining *j)
{
    qsort(j->latency, j->latencies, sizeof *j->latency, by_size);
    uint32_t p99 = j->latencies == 0 ? 0 : j->latency[j->latencies * 99 / 100];
    j->latencies = 0;
    return p99;
}

static void begin(star *s, joining *j, uint32_t nodes)
{
    config hub = config_default(), leaf = star_leaf();
    uint8_t key[AEAD_KEY];
    hub.tcp = false;
    hub.port = 2000;
    random_bytes(&s->chance, key, sizeof key);
    hello_keys_set(&s->keys, key, NULL);
    s->delay = NETWORK;
    s->what = j;
    s->hub_gets = hub_gets;
    s->event = on_event;
    star_start(s, HUB, &hub);
    for (uint32_t i = 0; i < MEMBERS + nodes; i++)
        star_start(s, i, &leaf);
    for (uint32_t i = 0; i < MEMBERS; i++)
        star_watch(s, i, true);
    star_run(s, SECONDS(2));
}

#define EXPECT_JOIN(condition, ...)                                                                \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "K6: " __VA_ARGS__);                                                   \
            fputc('\n', stderr);                                                                   \
            good = false;                                                                          \
        }                                                                                          \
    } while (0)

static bool judge(const star *s, const joining *j, uint64_t each, uint32_t before, uint32_t during)
{
    bool good = true;
    const config c = config_default();
    EXPECT_JOIN(star_sessions(s) == s->count, "%u of %u nodes are up after %.0f s",
                star_sessions(s), s->count, (double)JOINED_BY / 1e9);
    EXPECT_JOIN(j->failed == 0, "%llu calls of members failed", (unsigned long long)j->failed);
    EXPECT_JOIN(during <= 2 * before, "calls of members take %u us instead of %u (p99)", during,
                before);
    EXPECT_JOIN(j->answered_most <= c.hellos_per_turn, "%u handshakes are answered in a turn",
                j->answered_most);
    EXPECT_JOIN(j->half_open_most <= c.hellos_waiting, "%u handshakes wait", j->half_open_most);
    EXPECT_JOIN(each <= JOINING_PEER, "a joining node takes %llu bytes", (unsigned long long)each);
    return good;
}

int join_run(uint32_t nodes, const sim_options *given)
{
    star s;
    joining *j = calloc(1, sizeof *j);
    j->latency = calloc(LATENCIES, sizeof *j->latency);
    star_init(&s, MEMBERS + nodes, given->seed, "rudp join");
    begin(&s, j, nodes);
    uint64_t resident = star_resident(&s.hub);
    work(&s, SECONDS(4), UINT32_MAX);
    uint32_t before = take_p99(j);
    uint64_t began = s.now;
    for (uint32_t i = 0; i < nodes; i++)
        star_watch(&s, MEMBERS + i, true);
    work(&s, s.now + JOINED_BY, s.count);
    uint32_t during = take_p99(j);
    uint64_t took = s.now - began, each = (star_resident(&s.hub) - resident) / nodes;
    printf("%6u nodes join %u members in %.2f s: %u up, calls of members %u us instead of %u "
           "(p99), at most %u handshakes wait and %u are answered in a turn, %llu bytes each, "
           "%llu datagrams found the socket full\n",
           nodes, MEMBERS, (double)took / 1e9, star_sessions(&s), during, before, j->half_open_most,
           j->answered_most, (unsigned long long)each, (unsigned long long)j->dropped);
    bool good = judge(&s, j, each, before, during);
    for (; j->count > 0; j->count--, j->first = (j->first + 1) % SOCKET_ROOM)
        free(j->waiting[j->first].bytes);
    star_free(&s);
    free(j->latency);
    free(j);
    return good ? 0 : 1;
}
