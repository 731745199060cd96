/* node.h - "what is a node made of, and who may touch which part of it?"
 *
 *   engine's lock   engine, loop, lanes' inbox, event ring's writing side, released list
 *   one reader      taken (Python's loop or dispatcher thread)
 *   one waiter      its call cell, from rudp_call until rudp_taken
 *   C thread        lanes' own part, standby state
 *   anybody         status, pending, moves, submissions, doorbells
 *
 * The lock, by Rule 2: whoever wants a turn says so in `pending` and tries the lock. Failing is
 * fine, since whoever holds it looks at `pending` before and after letting go (node_unlock): E6.
 * Who was woken by a descriptor waits a millisecond for it (lock_soon says why), functions named
 * _wait and the C thread as long as it takes, and nobody holds it while asking for the GIL (Rule
 * 3).
 *
 * The trap is fork: a child has this memory but not the thread, and shares every descriptor with
 * its parent. `alive` points into a page the child finds wiped, and is looked at before anything
 * else (node_gate). */
#ifndef RUDP_API_NODE_H
#define RUDP_API_NODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/ring.h"
#include "include/rudp.h"
#include "io/doorbell.h"
#include "io/loop.h"

enum {
    NODE_OPEN = 0,
    NODE_ALIVE = 0x616c6976, /* what the wiped page holds in the process that opened the node */
    NODE_OWNER_RING = 0,
    NODE_OWNER_WAITER = 1,
};

/* What may be said to somebody who waits, by bits of a word (a futex). */
enum {
    WAIT_NEWS = 1,     /* what you wait for is here */
    WAIT_LEAD = 2,     /* nobody runs turns: you do (Rule 16) */
    WAIT_SLEEPING = 4, /* he sleeps on the word */
    WAIT_POLLING = 8,  /* he leads, and sleeps on the descriptors */
};

/* A blocking call's result, one per call index. */
typedef struct {
    _Atomic uint32_t word; /* WAIT_ bits: how its caller sleeps */
    _Atomic uint32_t done; /* 1: event is complete */
    rudp_event event;
} call_cell;

/* Something submitted while the lock was taken; bytes follow. */
typedef enum {
    SUBMIT_CALL,
    SUBMIT_CANCEL,
    SUBMIT_TAKEN,
    SUBMIT_REPLY,
    SUBMIT_REFUSE,
    SUBMIT_WATCH,
} submit_kind;

enum { SUBMIT_COUNT = 4096, SUBMIT_BYTES = 1200 };

typedef struct {
    uint64_t id;       /* handle or request */
    uint64_t deadline; /* ns */
    uint64_t memory;
    uint32_t peer;
    uint16_t method_size, size;
    uint8_t kind, owner, status, watch;
    uint8_t bytes[SUBMIT_BYTES];
} submission;

typedef struct {
    uint64_t written;       /* under the lock; published in `ready` */
    uint64_t freed;         /* the engine knows that these were taken */
    _Atomic uint64_t ready; /* events made, in all: the reader's acquire (Rule 7) */
    _Atomic uint64_t taken; /* events the reader is done with, in all */
    _Atomic uint64_t shown; /* events the reader was told of, in all: it may have read these */
    rudp_event *events;     /* RUDP_EVENTS of them */
} event_ring;

typedef struct {
    pthread_t thread;
    bool started;
    atomic_bool stop;
} standby;

/* Whether looking again and again has paid lately (Rule 15). */
typedef struct {
    uint64_t after;  /* ns: not before */
    uint64_t pause;  /* ns: how long it rested last; doubles */
    uint64_t earned; /* ns: may be lost again */
    uint32_t misses; /* in a row */
} spin_account;

/* Of one who waits: beside a lane on the same CPU, and without one. */
typedef struct {
    spin_account yielding, keeping;
} spin;

/* Two threads on one CPU: whoever runs turns, and the C thread with its lanes. */
typedef struct {
    _Atomic int cpu;           /* on which Python or a blocking caller last ran a turn */
    _Atomic uint64_t moved_at; /* ns: when the C thread last had bytes to move at once; 0: never */
    _Atomic uint32_t made;     /* 1: the C thread sleeps on this word, or is about to */
    uint64_t moves;            /* the C thread's: as many when it last did */
} way;

struct rudp_node {
    const _Atomic uint32_t *alive;
    _Atomic int status; /* NODE_OPEN, RUDP_CLOSED, RUDP_BROKEN */
    pthread_mutex_t lock;
    _Atomic uint32_t pending;        /* somebody wants a turn: turn_kind + 1 */
    _Atomic uint64_t moves;          /* turns by Python and blocking callers (Rule 4) */
    _Atomic uint32_t driver;         /* 1: a loop runs turns (Rule 5) */
    _Atomic uint64_t called;         /* ns: when a blocking call last ended */
    _Atomic uint64_t requested;      /* ns: when a request last came */
    _Atomic uint32_t leader;         /* 1: a blocking caller does */
    _Atomic uint32_t users;          /* threads inside a _wait function */
    _Atomic uint32_t queued;         /* what the reader said last (L9) */
    _Atomic uintptr_t reader_thread; /* pthread_self of who ran rudp_turn or rudp_events_wait */
    atomic_bool submitted;           /* something, since the reader's last turn */
    atomic_bool asked;               /* a call that rides in a packet, and no such was answered */
    atomic_bool coming;              /* bytes that left already, to whoever lingers (Rule 15) */
    atomic_bool progressed;          /* the reader took events since the engine was told */
    uint64_t small_at;               /* under the lock: engine_small_at, as of the last turn */
    bool reading;                    /* under the lock: this turn's runner is the reader (Rule 8) */
    bool ring_later;                 /* under the lock: the bell rings when the lock is free */

    engine *engine;
    config config;
    uint8_t *arena;
    loop loop;
    lanes lanes;
    event_ring ring;
    call_cell *cells;
    _Atomic uint32_t reader_word; /* of a dispatcher in rudp_events_wait */
    ring submissions;
    list_link outgoing;         /* messages the engine holds; under the lock */
    _Atomic(parcel *) released; /* messages to be reported as released, newest first */
    parcel *reporting;          /* the same, oldest first; under the lock */

    int core_fd;   /* what a loop waits on (Rule 11) */
    doorbell bell; /* in it: events for the reader */
    doorbell kick; /* for a leader who sleeps on the descriptors */
    pthread_mutex_t followers_lock;
    list_link followers; /* blocking callers who sleep */
    spin leading;        /* the leader's */
    spin lingering;      /* the loop's, in rudp_linger */
    standby standby;
    way way;

    void *wiped; /* mapping: alive, lane keys, engine */
    size_t wiped_size;
    void *mapped; /* mapping: events, cells, submissions */
    size_t mapped_size;
    char broken[ENSURE_MESSAGE_SIZE];
};

typedef struct rudp_node node;

/* Before any function does anything: 0, or why it must not. */
static inline int node_forked(const node *n)
{
    return atomic_load_explicit(n->alive, memory_order_relaxed) == NODE_ALIVE ? 0 : RUDP_FORKED;
}

static inline int node_gate(const node *n)
{
    int forked = node_forked(n);
    return forked != 0 ? forked : atomic_load(&n->status);
}

/* ---- turns.c ---- */

/* The core stops (E10). The lock is held; ensure_message says why. */
void node_break(node *n);
/* Work with the engine under the lock. A broken invariant stops the node and gives false (E10). */
bool node_guard(node *n, void (*work)(node *, void *), void *argument);
/* Lets go; turns that were asked for meanwhile are run first, or by the next holder (E6). */
void node_unlock(node *n);
/* A turn, by us or by whoever holds the lock. reading: we are the reader and will look. */
void node_turn(node *n, turn_kind kind, bool reading);

/* ---- submit.c ---- */

void submissions_take(node *n, uint64_t now);
/* A message nobody will send: it is reported as released. Any thread. */
void parcel_released(node *n, parcel *m);

/* ---- events.c ---- */

void events_open(node *n);
loop_owner events_owner(node *n);
/* The engine hears what the reader has taken, and that it lives. */
void events_settle(node *n, uint64_t now);
/* How many events wait beyond those taken. */
uint32_t events_ready(const node *n);
/* The same, told to the reader. */
int events_show(node *n);
/* The reader reads no more: see rudp_close_wait. */
void events_leave(node *n, uint32_t taken);
/* RELEASED events for messages the engine let go, as long as there is room. */
void events_report_released(node *n, uint64_t now);
/* The core stopped: the reader and everybody who waits hear it. */
void events_stopped(node *n);
/* Nobody reads any more: what waits counts as taken, its memory goes back. */
void events_discard(node *n, uint64_t now);
void events_close(node *n);

/* A call of ours that rode in a packet has no answer yet, and was not looked for in vain. */
static inline bool node_asked(const node *n)
{
    return atomic_load_explicit(&n->asked, memory_order_relaxed);
}

/* ---- waiters.c, spin.c ---- */

/* Sets bits of somebody's word and wakes him if he sleeps. */
void waiter_tell(node *n, _Atomic uint32_t *word, uint32_t bits);
/* Everybody who waits looks again. */
void waiters_wake_all(node *n);

typedef bool (*waiter_ready)(node *n, void *context);

/* Runs turns for a while, yielding the CPU between them, if that has paid lately (Rule 15). True:
 * ready says so. */
bool spin_until(node *n, spin *s, uint64_t most, bool reading, waiter_ready ready, void *context);

/* Runs turns or sleeps until ready says so: 0; or RUDP_TIMEOUT, RUDP_SIGNAL, the node's status. */
int waiter_wait(node *n, _Atomic uint32_t *word, waiter_ready ready, void *context,
                uint64_t deadline);

/* ---- way.c ---- */

/* Who runs turns: I run here; I have nothing more to do. */
void way_note(node *n);
void way_free(node *n);
/* The C thread, between two pieces: Python goes first, if it has to do something on this CPU. */
void way_make(node *n);
/* The C thread wants the CPU that we are on. */
bool way_is_taken(const node *n);

/* ---- standby.c ---- */

/* Whether a turn would find something: a packet, a timer, a connection's news. */
bool node_has_work(const node *n);

/* Before the core's set is made: who registers later is woken first (Rule 4). */
bool standby_prepare(node *n);
bool standby_start(node *n);
void standby_stop(node *n);

#endif
