/* world.h - "what is there besides the engine, when everything is simulated?"
 *
 *   seed --> swarm (which faults, how strong, how tiny the tables)
 *
 *        application       application         workload.c handler.c   calls, journal of what ran
 *         | events          | events
 *        node  ........... node                node.c                 a loop: turns, clock, crash
 *         |  \              |  \
 *      datagrams  streams   ..                 network.c streams.c bulk.c memory.c
 *         |                                    faults.c               partition, stop, rebind, heal
 *      queue of happenings, ordered by time and order of arming        world.c
 *                                              check.c                the oracles Q1 to Q19
 *
 * One world is one seed: it reads no clock and nothing random but its own source, so a seed is
 * the whole story. World time starts at 0; each node's clock has an offset and a drift of its own.
 *
 * The trap: every verb of the engine is called between node_enter and node_settle, which drains
 * engine_next as the contract asks. Application code reacts to an event by arming a happening,
 * never by calling a verb in the middle of a drain. */
#ifndef RUDP_SIM_WORLD_H
#define RUDP_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/random.h"
#include "base/time.h"
#include "engine/engine.h"

#define NODES_MAX  6u
#define ALIASES    2u /* addresses of one node (S9) */
#define MS(n)      ((uint64_t)(n) * NS_PER_MS)
#define SECONDS(n) ((uint64_t)(n) * NS_PER_S)

typedef struct world world;
typedef struct node node;

/* What the command line says; SIM_BY_SEED where the seed decides. */
enum { SIM_NO = 0, SIM_YES = 1, SIM_BY_SEED = 2 };

/* How a call ended, and how far from its deadline (Q12). */
typedef struct {
    uint64_t size, left;
    uint8_t status, outcome;
    bool done;
} ending;

typedef struct {
    ending *each; /* by the order in which applications wanted them */
    uint32_t room;
} endings;

typedef struct {
    uint64_t seed;
    uint32_t calls;  /* of the fault phase; 0: by seed */
    uint8_t sealed;  /* SIM_... */
    bool udp_only;   /* config.tcp is off */
    bool lane0_only; /* config.udp is off */
    bool quiet;      /* no faults at all */
    bool narrow;     /* no fault but one: the path swallows large packets from some moment on */
    bool crowded;    /* no fault, but one lane that always has something shorter to carry */
    bool verbose;
    uint32_t batch; /* datagrams at most in one input, and nothing else is by chance; 0: as drawn */
    endings *endings; /* where to note them, or NULL */
} sim_options;

/* ---- what the seed decides: swarm.c ---- */

typedef struct {
    uint32_t loss, duplicate, reorder, corrupt; /* in 1,000 datagrams */
    uint64_t delay, jitter;                     /* ns, one way */
    uint64_t rate;                              /* bytes a second of a link, 0: unlimited */
    uint32_t mtu;                               /* bytes of a datagram that still pass, 0: all */
    uint32_t narrow;                            /* the same, from narrow_at on (P10) */
    uint64_t narrow_at;
    bool narrow_tcp; /* full TCP segments die there too (T8) */
    uint32_t cut, one_way, stop, pause, crash, vanish, close, rebind, swap; /* faults per 100 s */
    uint32_t reset, silent, refuse, corrupt_stream, half_open, slow_stream;
    uint32_t kernel_full, socket_full, ring_full;
    uint32_t forged_icmp, icmp, replay, garbage, rotate, watch, failing_alloc;
    uint64_t stop_max;                            /* ns, longest stop */
    uint64_t lateness;                            /* ns, of turns */
    uint64_t completion;                          /* ns, longest delay of WRITE, READ, ALLOC */
    bool udp_blocked, tcp_blocked, stays_blocked; /* by a middlebox; also after the heal */
    bool tcp_was_blocked;                         /* before the heal */
    bool aliases;
    bool drifting; /* clocks run at different speeds */
    bool direct;   /* connections have witnesses: some are direct, some have somebody between */
} swarm;

/* ---- one call, as the omniscient see it ---- */

typedef enum {
    DOES_REPLY,
    DOES_RAISE,
    DOES_REFUSE, /* NO_METHOD or BAD_REQUEST */
    DOES_BUSY,   /* refuses as busy, now and then */
    DOES_IGNORE_CANCEL,
    DOES_NEST,  /* calls somebody else first */
    DOES_SLEEP, /* far beyond the deadline */
    BEHAVIOURS
} behaviour;

typedef struct {
    uint64_t handle;
    uint64_t deadline;   /* world time */
    uint64_t due;        /* the same on the caller's clock */
    const uint8_t *body; /* of the reply, until it is taken */
    uint64_t body_size;
    uint64_t size, reply_size;
    uint64_t duration; /* of the handler */
    uint64_t begun, ended;
    uint64_t caller_life, target_life;
    uint64_t memory; /* of the request, when too big for a packet */
    uint32_t plan;   /* its number among those that applications wanted by themselves; 0: nested */
    uint32_t caller, target, depth;
    uint32_t runs;   /* handlers started: the journal */
    uint32_t parent; /* held request of the caller's node that waits for it, +1 */
    uint64_t parent_request;
    uint8_t does;
    uint8_t status, outcome;
    bool open; /* given to an engine that still lives, and no DONE yet */
    bool done;
    bool cancelled; /* by the application */
    bool settled;   /* begun after the heal: must succeed */
    bool steady;    /* of narrow.c: must succeed, and soon */
} sim_call;

/* One request at its answerer. */
typedef enum { ASKED_FREE, ASKED_NEW, ASKED_QUEUED, ASKED_RUNNING } asked_state;

typedef struct {
    uint64_t request, deadline, memory;
    const uint8_t *method, *body;
    uint64_t size;
    uint32_t call;       /* index in world.calls */
    uint32_t generation; /* of this entry: late happenings find another */
    uint8_t state;
    uint8_t method_size;
    bool cancelled;
} asked;

/* ---- memory that the engine names ---- */

typedef enum { MEMORY_FREE, MEMORY_ENGINE, MEMORY_APPLICATION } memory_owner;

typedef struct {
    uint8_t *bytes;
    uint64_t size;
    uint64_t verified; /* contiguous prefix that READs have verified */
    uint64_t written;  /* end of the highest WRITE */
    uint32_t users;    /* WRITEs and READs under way */
    uint32_t generation;
    uint8_t owner;
    bool received; /* made by ALLOC */
    bool reading;  /* a READ is under way; at most one (T2) */
} memory;

typedef struct {
    uint64_t token, due;
    uint64_t memory;     /* ALLOC: what was made */
    uint64_t names;      /* WRITE, READ: the memory it uses until it is reported */
    uint64_t read_to;    /* READ: end of the range */
    uint32_t connection; /* WRITE, READ */
    done_result result;
} completion;

typedef struct inbox_entry {
    struct inbox_entry *next;
    address local, remote;
    size_t size;
    uint8_t bytes[];
} inbox_entry;

typedef struct stream_end stream_end;

/* Where a transfer was when it last moved (Q18). */
typedef struct {
    uint64_t life, session, stamp, since, seen;
    uint32_t sequence, ordered;
    uint16_t slot;
    bool due; /* it should */
} moving;

#define TRANSFERS_MAX 64u /* of a node's config */

/* ---- a node: one process, in one of its lives ---- */

struct node {
    world *world;
    engine *engine; /* NULL: the process does not exist */
    void *memory;
    config config;
    hello_keys keys;
    uint64_t life; /* how often it was started */
    int64_t clock_offset;
    int64_t drift_ppm;
    uint32_t index;
    bool stopped;                    /* nothing runs (SIGSTOP, suspend) */
    bool paused;                     /* the application takes no events */
    bool host_down;                  /* vanished without a word */
    bool closing;                    /* its engine is closed, the process ends soon */
    bool in_verb;                    /* between node_enter and node_settle */
    bool all_wanted;                 /* the last drain left nothing out */
    uint64_t busy_since;             /* start of the last stop, for Q9 */
    uint64_t turn_at;                /* when the next turn is armed, TIME_NEVER: none */
    uint64_t send_from, events_from; /* before these moments SEND, EVENT are not wanted */
    uint64_t last_turn;
    uint32_t turns_now;  /* at one moment: a spinning engine is found by it */
    uint64_t last_clock; /* newest now given to the engine */
    address address[ALIASES];
    address source;           /* what others see as the sender: its NAT's (S8) */
    address dials[NODES_MAX]; /* where it looks for each other node */
    uint64_t kernel_drops;
    inbox_entry *inbox, **inbox_end;
    uint32_t inbox_count;
    stream_end **ends;
    uint32_t end_count, end_room;
    completion *completions;
    uint32_t completion_count, completion_room;
    memory *memories;
    uint32_t memory_count;
    uint32_t *handles; /* call + 1 by index of the handle */
    uint32_t *generations;
    asked *serves;
    uint32_t serve_count;
    uint32_t progress_queued;
    moving moving[TRANSFERS_MAX];
    uint64_t watched[NODES_MAX]; /* since when, 0: not */
};

typedef void (*happening_run)(world *w, void *what, uint64_t a, uint64_t b);

typedef struct {
    uint64_t at, order;
    happening_run run;
    void *what; /* freed by the world at its end, if owned and not yet run */
    uint64_t a, b;
    bool owned;
} happening;

typedef struct captured {
    address local, remote;
    size_t size;
    uint8_t bytes[PACKET_BUDGET];
} captured;

#define CAPTURED 32u

typedef struct {
    uint64_t *hash; /* one entry for each step of the first run */
    size_t count, room;
    bool comparing; /* second run */
    size_t at;
} step_record;

typedef struct pair {
    uint64_t cut_since;   /* no datagram or byte passes in this direction; 0: open */
    uint64_t line_free;   /* when the link has sent what it was given */
    uint64_t heard;       /* when the last datagram or byte arrived this way */
    uint64_t window_from; /* Q7 */
    uint32_t window_count;
    uint64_t datagrams; /* that were sent this way */
} pair;

struct world {
    sim_options options;
    swarm swarm;
    random_source chance;
    random_source
        later; /* for faults added since: drawn apart, so that no seed changes its story */
    uint64_t now;
    uint64_t order;
    happening *queue; /* a heap */
    size_t queue_count, queue_room;
    node nodes[NODES_MAX];
    uint32_t node_count;
    bool sealed;
    uint8_t rotation; /* K9: how far the change of the cluster key is, 0 to 3 */
    bool faulty;      /* before the heal */
    bool gentle;      /* nothing in this seed entitles anybody to call another lost (Q9) */
    bool counting;    /* Q17: applications do nothing unusual */
    bool planning;    /* what is drawn now is what an application wants */
    uint32_t planned;
    uint64_t healed; /* when */
    uint8_t keys[2][AEAD_KEY];
    pair pairs[NODES_MAX][NODES_MAX]; /* from, to */
    sim_call *calls;
    uint32_t call_count, call_room;
    uint32_t calls_planned;
    captured captured[CAPTURED];
    uint32_t captured_count;
    uint64_t replayed_at;
    uint64_t *nonces; /* Q4: a set of digests */
    size_t nonce_count, nonce_room;

    step_record *steps;
    struct stream *streams;
    uint64_t packets, bulk_bytes, bulk_again, happenings, succeeded, handlers;
};

/* ---- world.c ---- */

/* Arms one happening. An owned `what` is given over: run frees it. */
void world_at(world *w, uint64_t at, happening_run run, void *what, uint64_t a, uint64_t b);
void world_at_owned(world *w, uint64_t at, happening_run run, void *what, uint64_t a, uint64_t b);
/* Runs everything up to this moment; the world's clock then shows it. */
void world_run(world *w, uint64_t until);
void world_free(world *w);

/* Chance: below bound; true in `permille` of 1,000 cases; between two numbers, both included. */
uint64_t chance_below(world *w, uint64_t bound);
bool chance(world *w, uint32_t permille);
uint64_t chance_between(world *w, uint64_t low, uint64_t high);

/* One step of the trace (Q12): every number in it counts. And one line of it, if verbose. */
void step(world *w, uint64_t a, uint64_t b, uint64_t c);
void step_bytes(world *w, const uint8_t *bytes, size_t size);
#define say(w, ...)                                                                                \
    do {                                                                                           \
        if ((w)->options.verbose)                                                                  \
            say_line((w), __VA_ARGS__);                                                            \
    } while (0)
void say_line(world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* An oracle was broken: prints the message, the seed and how to run it again; ends the seed. */
_Noreturn void broken(world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define EXPECT(w, condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            broken((w), __VA_ARGS__);                                                              \
    } while (0)

/* ---- node.c ---- */

void node_start(node *n);
/* The process ends at once; `silent`: its host too, so that nobody is told by the kernel. */
void node_crash(node *n, bool silent);
void node_stop(node *n, bool stopped);
void node_pause(node *n, bool paused);
bool node_runs(const node *n);

uint64_t node_clock(const node *n);                      /* the engine's now */
uint64_t node_world_time(const node *n, uint64_t clock); /* the first moment that shows it */
void node_wake(node *n, uint64_t delay);

/* Every verb stands between these two. node_enter gives the moment to pass. */
uint64_t node_enter(node *n);
void node_settle(node *n);

const char *address_text(const address *a);
void node_addresses(node *n);

/* ---- network.c ---- */

void network_send(node *from, const action *a);
void network_receive(node *n);
void network_forget(node *n); /* its socket is closed */
void network_replay(world *w);
void network_garbage(world *w);
/* The node that this address leads to now, or NULL. */
node *network_find(world *w, const address *a);
bool network_cut(const world *w, uint32_t from, uint32_t to);

/* ---- narrow.c (P10) ---- */

/* Bytes of a datagram, or of an IP packet of a connection, that the path lets through; 0: all. */
uint32_t narrow_limit(const world *w, bool tcp);
void narrow_draw(world *w);
void narrow_begin(world *w);
void check_narrow(world *w, uint32_t call, const event *e);
void check_narrow_end(world *w); /* everything is quiet, and the path long whole */

/* ---- crowded.c (T9, Q18) ---- */

void crowded_draw(world *w);
void crowded_begin(world *w);

/* ---- batches.c (Q12) ---- */

config batches_config(config c);
void batches_ended(world *w, const sim_call *c, uint64_t size);
bool batches_run(const sim_options *options);

/* ---- streams.c and bulk.c ---- */

void streams_act(node *n, const action *a);
void streams_turn(node *n);
void streams_crash(node *n, bool silent);
void streams_healed(world *w);
void streams_strike(world *w); /* something happens to one of them */
void streams_free(world *w);

/* ---- memory.c ---- */

uint64_t memory_make(node *n, uint64_t size, memory_owner owner);
memory *memory_of(node *n, uint64_t handle);
void memory_release(node *n, uint64_t handle, memory_owner by);
void memory_to_application(node *n, uint64_t handle, uint64_t size);
void memory_crash(node *n);
uint32_t memory_held(const node *n);
void completion_add(node *n, const completion *c);
void completions_turn(node *n);
bool completions_pending(const node *n, uint32_t connection);
void memory_alloc(node *n, const action *a);

/* ---- workload.c and handler.c ---- */

void workload_begin(world *w);
void workload_healed(world *w);
void workload_event(node *n, const event *e);
void workload_crash(node *n);
/* Calls now; returns the number of the call, or UINT32_MAX if it could not be made. */
typedef struct {
    uint32_t caller, target;
    uint64_t size, reply_size, timeout, duration;
    behaviour does;
    bool settled, steady;
    uint32_t depth, parent, plan;
    uint64_t parent_request;
} call_plan;
uint32_t workload_call(world *w, const call_plan *plan);
void call_ended(node *n, uint32_t call);
bool workload_open(const world *w);

void handler_request(node *n, const event *e);
void handler_cancel(node *n, uint64_t request);
void handler_nested(node *n, uint32_t entry, uint64_t request);
uint32_t handler_count(const node *n);

/* Bytes that belong to a call: its request is part 0, its reply part 1. */
void pattern_fill(uint32_t call, unsigned part, uint8_t *out, size_t size);
bool pattern_matches(uint32_t call, unsigned part, const uint8_t *bytes, size_t size);
#define METHOD_SIZE 9u
void method_write(uint32_t call, uint8_t out[METHOD_SIZE]);
bool method_read(const uint8_t *method, size_t size, uint32_t *call);

/* ---- faults.c and swarm.c ---- */

void swarm_draw(world *w);
config swarm_config(world *w, uint32_t index);
void faults_begin(world *w);
void faults_heal(world *w);

/* ---- check.c ---- */

void check_begin(world *w);
void check_send(node *from, const action *a, node *to);
void check_turn(node *n); /* after a turn with nothing left out */
void check_done(node *n, uint32_t call, const event *e);
void check_start(node *n, const asked *s);
void check_peer(node *n, const event *e);
bool check_reached(node *n, uint32_t to); /* Q13 */
void check_idle(world *w);                /* Q6, Q10 */
void check_journal(world *w);             /* Q2 */
void check_flight(node *from, const action *a);
void check_write(stream_end *end, const action *a);
void check_moving_begin(world *w);
void check_cut(world *w, uint32_t from, uint32_t to, uint64_t since);
void check_free(world *w);

/* A whole seed. False: an oracle was broken. */
bool seed_run(const sim_options *options, step_record *steps);
/* 10,000 idle peers and one real node. */
int cluster_run(uint32_t peers, const sim_options *options);
/* 10,000 nodes that join at once. */
int join_run(uint32_t nodes, const sim_options *options);

#endif
