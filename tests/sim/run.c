/* run.c - one seed from its first step to its last: faults, heal, settle, quiet, count.
 *
 *   0 ........ faults ........ healed ... everything ends ... quiet ... idle? ... Q17 ... over
 *                             Q13: 2 s      Q1, Q2, Q16       45 s     Q6, Q10 */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>

#define SETTLE SECONDS(38)
#define QUIET  SECONDS(75) /* longer than drain_max and a tombstone after a parked peer is lost */
#define COUNTED_CALLS 20u

static jmp_buf over;

void broken(world *w, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "seed %llu at %.6f s: ", (unsigned long long)w->options.seed,
            (double)w->now / 1e9);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    longjmp(over, 1);
}

/* ---- Q17: what a call costs between two nodes that have nothing else to do ---- */

typedef struct {
    uint32_t left, call;
    bool warm;
    uint64_t duration;
    uint64_t there, back; /* datagrams */
} counting;

static void count_from_here(world *w, counting *c)
{
    c->there = w->pairs[0][1].datagrams - c->there;
    c->back = w->pairs[1][0].datagrams - c->back;
}

static void count_stop(world *w, void *what, uint64_t unused, uint64_t unused2)
{
    (void)unused;
    (void)unused2;
    count_from_here(w, what);
}

static void count_next(world *w, void *what, uint64_t unused, uint64_t unused2)
{
    (void)unused;
    (void)unused2;
    counting *c = what;
    if (c->call != UINT32_MAX && w->calls[c->call].open) {
        world_at(w, w->now + MS(1) / 4, count_next, c, 0, 0);
        return;
    }
    if (c->call != UINT32_MAX && !c->warm) {
        c->warm = true;
        world_at(w, w->now + MS(60), count_stop, c, 0, 0);
        world_at(w, w->now + MS(60), count_next, c, 0, 0);
        return;
    }
    if (c->left-- == 0) { /* one trailing acknowledgement */
        world_at(w, w->now + MS(60), count_stop, c, 0, 0);
        return;
    }
    c->call = workload_call(w, &(call_plan){.caller = 0,
                                            .target = 1,
                                            .size = 100,
                                            .reply_size = 100,
                                            .timeout = SECONDS(5),
                                            .duration = c->duration,
                                            .settled = true});
    world_at(w, w->now, count_next, c, 0, 0);
}

/* One call more goes first, uncounted: it finds a parked session, which is probed at once (L8). */
static void count_calls(world *w, uint32_t calls, uint64_t duration)
{
    counting c = {.left = calls + 1, .call = UINT32_MAX, .duration = duration};
    world_at(w, w->now, count_next, &c, 0, 0);
    world_run(w, w->now + SECONDS(3));
    EXPECT(w, c.left == UINT32_MAX, "Q17: %u calls in a row take over 3 s", calls);
    /* One trailing acknowledgement; one LANE_ASK of the session that is watched (L6). */
    EXPECT(w, c.there <= calls + 2 && c.back <= calls + 2,
           "Q17: %u calls take %llu datagrams there and %llu back", calls,
           (unsigned long long)c.there, (unsigned long long)c.back);
}

static void check_datagrams(world *w)
{
    const swarm *s = &w->swarm;
    if (w->options.lane0_only || s->udp_blocked || s->delay + s->jitter > MS(5))
        return;
    w->swarm.jitter = w->swarm.lateness = 0;
    w->counting = true;
    count_calls(w, COUNTED_CALLS, 0);
    count_calls(w, COUNTED_CALLS, MS(20));
}

/* ---- phases ---- */

static void world_begin(world *w, const sim_options *options, step_record *steps)
{
    uint8_t seed[RANDOM_SEED_SIZE] = "rudp simulator";
    memcpy(seed + 16, &options->seed, sizeof options->seed);
    random_init(&w->chance, seed);
    memcpy(seed, "rudp later seeds", 16);
    random_init(&w->later, seed);
    w->options = *options;
    w->steps = steps;
    w->faulty = w->planning = true;
    swarm_draw(w);
    w->healed = SECONDS(chance_between(w, 3, 30));
    random_bytes(&w->chance, w->keys, sizeof w->keys);
    check_begin(w);
    for (uint32_t i = 0; i < w->node_count; i++) {
        node *n = &w->nodes[i];
        n->world = w;
        n->index = i;
        n->config = swarm_config(w, i);
        n->clock_offset = (int64_t)chance_between(w, SECONDS(1), SECONDS(100000000));
        n->drift_ppm = w->swarm.drifting ? (int64_t)chance_below(w, 401) - 200 : 0;
        node_addresses(n);
    }
    for (uint32_t i = 0; i < w->node_count; i++)
        for (uint32_t to = 0; to < w->node_count; to++)
            w->nodes[i].dials[to] = w->nodes[to].address[w->swarm.aliases && chance(w, 500)];
    faults_begin(w);
    for (uint32_t i = 0; i < w->node_count; i++)
        node_start(&w->nodes[i]);
    check_moving_begin(w);
    if (w->options.narrow)
        narrow_begin(w);
    else if (w->options.crowded)
        crowded_begin(w);
    else
        workload_begin(w);
    w->planning = false;
}

static void world_phases(world *w)
{
    world_run(w, w->healed);
    faults_heal(w);
    workload_healed(w);
    world_run(w, w->now + SETTLE);
    check_journal(w);
    EXPECT(w, !workload_open(w), "Q1: work is open %.0f s after the heal", (double)SETTLE / 1e9);
    world_run(w, w->now + QUIET);
    check_idle(w);
    check_journal(w);
    if (w->options.narrow)
        check_narrow_end(w);
    check_datagrams(w);
    check_journal(w);
}

static void world_end(world *w)
{
    for (uint32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].engine != NULL)
            node_crash(&w->nodes[i], true);
    streams_free(w);
    check_free(w);
    world_free(w);
    free(w);
}

bool seed_run(const sim_options *options, step_record *steps)
{
    world *volatile w = calloc(1, sizeof *w);
    jmp_buf trap;
    if (setjmp(over) != 0) /* what is left of the world is not to be trusted: it is not freed */
        return false;
    if (!options->verbose && setjmp(trap) != 0) {
        fprintf(stderr, "seed %llu at %.6f s: E10: %s\n", (unsigned long long)options->seed,
                (double)w->now / 1e9, ensure_message);
        return false;
    }
    if (!options->verbose)
        ensure_trap = &trap; /* verbose: abort, so that a debugger sees the stack */
    world_begin(w, options, steps);
    world_phases(w);
    if (steps != NULL && steps->comparing)
        EXPECT(w, steps->at == steps->count, "Q12: the second run is shorter");
    if (options->verbose)
        printf("seed %llu: %u nodes, %s, %u calls, %llu ok, %llu handlers, %llu packets, "
               "%llu bulk bytes, %llu of them again, %llu happenings\n",
               (unsigned long long)options->seed, w->node_count, w->sealed ? "sealed" : "plain",
               w->call_count, (unsigned long long)w->succeeded, (unsigned long long)w->handlers,
               (unsigned long long)w->packets, (unsigned long long)w->bulk_bytes,
               (unsigned long long)w->bulk_again, (unsigned long long)w->happenings);
    world_end(w);
    ensure_trap = NULL;
    return true;
}
