/* node.c - one process: its clock, its turns, its beginning and its end.
 *
 * A turn does what the real loop does: drain the socket completely, then connections and
 * completions, then the timers (L3). Chance decides how late it begins, how datagrams are batched
 * and which kinds of action the loop can take just now (E3, E4, E5). */
#include "world.h"

#define DRAIN_MAX 200000u /* actions after one input */
#define TURNS_MAX 2000u   /* at one moment */

/* ---- the clock ---- */

uint64_t node_clock(const node *n)
{
    int64_t drifted = (int64_t)((__int128)n->world->now * n->drift_ppm / 1000000);
    return (uint64_t)((int64_t)n->world->now + drifted + n->clock_offset);
}

uint64_t node_world_time(const node *n, uint64_t clock)
{
    if (clock == TIME_NEVER)
        return TIME_NEVER;
    __int128 past = (__int128)clock - n->clock_offset;
    if (past <= 0)
        return 0;
    /* Rounded up, so that the deadline has passed then. */
    uint64_t at = (uint64_t)(past * 1000000 / (1000000 + n->drift_ppm));
    return at + 2;
}

bool node_runs(const node *n)
{
    return n->engine != NULL && !n->stopped;
}

/* ---- actions ---- */

static void act(node *n, const action *a)
{
    world *w = n->world;
    step(w, n->index, (uint64_t)a->kind << 32 | a->connection, a->token ^ a->memory);
    switch (a->kind) {
    case ACTION_SEND: network_send(n, a); break;
    case ACTION_ALLOC: memory_alloc(n, a); break;
    case ACTION_RELEASE: memory_release(n, a->memory, MEMORY_ENGINE); break;
    case ACTION_EVENT: workload_event(n, &a->event); break;
    default: streams_act(n, a); break;
    }
}

static unsigned wanted_now(node *n)
{
    world *w = n->world;
    unsigned wanted = ACTION_ALL;
    if (w->faulty && n->send_from <= w->now && chance(w, w->swarm.socket_full))
        n->send_from = w->now + chance_below(w, MS(3));
    if (w->faulty && n->events_from <= w->now && chance(w, w->swarm.ring_full))
        n->events_from = w->now + chance_below(w, MS(20));
    if (n->send_from > w->now) {
        wanted &= ~(unsigned)ACTION_SEND;
        node_wake(n, n->send_from - w->now);
    }
    if (n->paused)
        wanted &= ~(unsigned)ACTION_EVENT;
    if (!n->paused && n->events_from > w->now) {
        wanted &= ~(unsigned)ACTION_EVENT;
        node_wake(n, n->events_from - w->now);
    }
    return wanted;
}

static void drain(node *n)
{
    world *w = n->world;
    uint64_t now = node_clock(n);
    unsigned wanted = wanted_now(n);
    for (uint32_t i = 0;; i++) {
        EXPECT(w, i < DRAIN_MAX, "Q19: engine_next of node %u never ends", n->index);
        while (engine_entropy_room(n->engine) > 0) {
            uint8_t fresh[ENGINE_ENTROPY];
            random_bytes(w->options.batch ? &w->later : &w->chance, fresh, sizeof fresh);
            engine_entropy(n->engine, fresh);
        }
        action a;
        /* Of exactly this size on the heap, so that the sanitizer sees a byte too many. */
        uint8_t *buffer = malloc(ACTION_BUFFER);
        memset(&a, 0xa5, sizeof a);
        bool more = engine_next(n->engine, now, wanted, &a, buffer);
        if (more) {
            EXPECT(w, (a.kind & wanted) != 0, "E3: node %u gives action %d, wanted are %#x",
                   n->index, (int)a.kind, wanted);
            act(n, &a);
        }
        free(buffer);
        if (!more)
            break;
    }
    n->all_wanted = wanted == ACTION_ALL;
}

static void rearm(node *n)
{
    world *w = n->world;
    uint64_t due = node_world_time(n, engine_deadline(n->engine));
    if (due == TIME_NEVER)
        return;
    uint64_t late = w->faulty ? chance_below(w, w->swarm.lateness + 1) : 0;
    node_wake(n, (due > w->now ? due - w->now : 0) + late);
}

uint64_t node_enter(node *n)
{
    ENSURE(node_runs(n) && !n->in_verb);
    n->in_verb = true;
    uint64_t clock = node_clock(n);
    ENSURE(clock >= n->last_clock);
    n->last_clock = clock;
    return clock;
}

void node_settle(node *n)
{
    ENSURE(n->in_verb);
    drain(n);
    n->in_verb = false;
    rearm(n);
}

/* ---- turns ---- */

static void run_timers(node *n)
{
    world *w = n->world;
    for (uint32_t i = 0; engine_deadline(n->engine) <= node_clock(n); i++) {
        if (i == 64) { /* the rest is for the next turn, as it may be with a real loop */
            node_wake(n, 0);
            return;
        }
        EXPECT(w, n->turns_now < TURNS_MAX, "Q19: node %u spins: its deadline stays in the past",
               n->index);
        uint64_t now = node_enter(n);
        engine_tick(n->engine, now);
        node_settle(n);
    }
}

static void turn(world *w, void *what, uint64_t life, uint64_t armed)
{
    node *n = what;
    if (n->life != life || n->turn_at != armed || !node_runs(n))
        return;
    n->turn_at = TIME_NEVER;
    n->turns_now = n->last_turn == w->now ? n->turns_now + 1 : 0;
    n->last_turn = w->now;
    network_receive(n);
    streams_turn(n);
    completions_turn(n);
    if (!n->paused) {
        uint64_t now = node_enter(n);
        engine_progress(n->engine, now, handler_count(n));
        node_settle(n);
    }
    run_timers(n);
    if (n->all_wanted && engine_deadline(n->engine) > node_clock(n))
        check_turn(n);
    rearm(n);
}

void node_wake(node *n, uint64_t delay)
{
    world *w = n->world;
    uint64_t at = time_after(w->now, delay);
    if (n->engine == NULL || at >= n->turn_at)
        return;
    n->turn_at = at;
    world_at(w, at, turn, n, n->life, at);
}

/* ---- life ---- */

void node_start(node *n)
{
    world *w = n->world;
    ENSURE(n->engine == NULL);
    n->life++;
    n->host_down = n->closing = false;
    n->stopped = n->paused = n->in_verb = false;
    n->turn_at = TIME_NEVER;
    n->send_from = n->events_from = 0;
    n->last_clock = 0;
    n->kernel_drops = 0;
    n->inbox_end = &n->inbox;
    memset(n->watched, 0, sizeof n->watched);
    size_t size = engine_size(&n->config);
    n->memory = calloc(1, size);
    n->handles = calloc(n->config.calls, sizeof *n->handles);
    n->generations = calloc(n->config.calls, sizeof *n->generations);
    uint8_t seed[ENGINE_SEED];
    random_bytes(&w->chance, seed, sizeof seed);
    n->engine = engine_init(n->memory, &n->config, &n->keys, seed, node_clock(n));
    EXPECT(w, n->engine != NULL, "engine_init fails: %s", config_fault(&n->config));
    say(w, "node %u starts, life %u, %zu bytes", n->index, (unsigned)n->life, size);
    node_enter(n);
    node_settle(n);
}

void node_crash(node *n, bool silent)
{
    world *w = n->world;
    if (n->engine == NULL)
        return;
    say(w, "node %u %s", n->index, silent ? "vanishes" : "crashes");
    n->host_down = silent;
    streams_crash(n, silent);
    network_forget(n);
    workload_crash(n);
    memory_crash(n);
    engine_free(n->engine);
    free(n->memory);
    free(n->handles);
    free(n->generations);
    n->engine = NULL;
    n->memory = NULL;
    n->handles = n->generations = NULL;
    n->turn_at = TIME_NEVER;
}

void node_stop(node *n, bool stopped)
{
    if (n->engine == NULL || n->stopped == stopped)
        return;
    say(n->world, "node %u %s", n->index, stopped ? "is stopped" : "goes on");
    n->stopped = stopped;
    n->busy_since = n->world->now;
    n->turn_at = TIME_NEVER;
    if (!stopped)
        node_wake(n, 0);
}

void node_pause(node *n, bool paused)
{
    if (n->engine == NULL || n->paused == paused)
        return;
    say(n->world, "application of node %u %s", n->index, paused ? "stalls" : "goes on");
    n->paused = paused;
    if (!paused)
        node_wake(n, 0);
}

/* ---- addresses ---- */

void node_addresses(node *n)
{
    for (uint32_t alias = 0; alias < ALIASES; alias++)
        n->address[alias] = (address){.ip = {10, 0, (uint8_t)alias, (uint8_t)(n->index + 1)},
                                      .port = (uint16_t)(7000 + n->index),
                                      .family = 4};
    n->source = n->address[0];
}

const char *address_text(const address *a)
{
    static char text[4][32];
    static unsigned next;
    char *out = text[next++ % 4];
    snprintf(out, sizeof text[0], "%u.%u.%u.%u:%u", a->ip[0], a->ip[1], a->ip[2], a->ip[3],
             a->port);
    return out;
}
