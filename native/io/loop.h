/* loop.h - "one turn: what comes in, what does the engine decide, what goes out?"
 *
 *   receive a batch ----> engine_datagrams --+
 *   look at connections > engine_bytes ------+--> engine_tick --> engine_next until it says no
 *                                                                  |  SEND -> batch -> sendmmsg
 *                                                                  |  PUT, OPEN, SHUT, BULK
 *                                                                  |  WRITE, READ -> lane thread
 *                                                                  |  ALLOC -> pool
 *                                                                  +  EVENT, RELEASE -> the api
 *
 * Whoever holds the engine's lock may run a turn; everything in this structure belongs to that
 * lock. A turn never waits and is bounded: 64 datagrams in, 128 out, 64 timers (E6). What did not
 * fit makes the timer due at once, so that somebody comes back.
 *
 * System calls are what a turn costs: one to receive, one to send, and nothing else as a rule. A
 * turn right after one that emptied the socket, called because there is something to send, does not
 * ask the socket again; the connections are looked at when the socket had nothing, and every
 * sixteenth time; the timer is set only for an earlier moment than it is set for (Rule 6).
 *
 * The traps: timerfd is readable until it is set again, so a turn after its time always sets it.
 * And a turn that comes over 200 ms late first empties the socket, then lets timers run (L3). */
#ifndef RUDP_IO_LOOP_H
#define RUDP_IO_LOOP_H

#include "engine/engine.h"
#include "io/connections.h"
#include "io/lanes.h"
#include "io/parcel.h"
#include "io/udp.h"

/* What the layer above does with what comes out. */
typedef struct {
    void *context;
    bool (*room)(void *context); /* for one more event and one more release */
    void (*event)(void *context, uint64_t now, const event *e);
    void (*released)(void *context, parcel *m);
} loop_owner;

typedef struct {
    engine *engine;
    loop_owner owner;
    lanes *lanes;
    int timer_fd;
    uint64_t now;      /* of the newest turn: time never goes back (L5) */
    uint64_t armed;    /* what the timer is set for; TIME_NEVER: not set */
    uint64_t received; /* when the socket was last found empty, or was emptied; 0: not */
    uint64_t retry;    /* when a full socket is tried again */
    uint32_t looks;    /* turns since the connections were looked at */
    bool more;         /* the last turn left something to do */
    connections connections;
    udp udp;
    uint8_t spare[ACTION_BUFFER];
} loop;

typedef struct {
    engine *engine;
    const config *config;
    address listen;
    lanes *lanes;
    bool direct; /* lanes may be direct (io/witness.h) */
    loop_owner owner;
} loop_options;

/* The port of UDP and TCP is the same. l is all zeros before. 0, or an errno with *what naming the
 * call; the engine is attached later, since it must know the port. */
int loop_open(loop *l, const loop_options *options, const char **what);
void loop_attach(loop *l, engine *e);
void loop_close(loop *l);

/* The clock, never going back. */
uint64_t loop_now(loop *l);

typedef enum {
    TURN_ALL,   /* take in everything that may be there */
    TURN_FLUSH, /* something was submitted: receive only if that was not done just now */
    TURN_OUT,   /* nothing is taken in: the lane thread has something to send */
} turn_kind;

void loop_turn(loop *l, uint64_t now, turn_kind kind);

#endif
