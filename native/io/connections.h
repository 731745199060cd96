/* connections.h - "which TCP connections carry packets, and what waits on them?"
 *
 *   DIALLING --writable--> PACKETS --BULK--> LANE (the bytes are for lanes.h from here)
 *   accepted ------------> PACKETS
 *
 * Everything here happens under the engine's lock, in turns. The descriptors that turns look after
 * (listener, dialling, packets, quick lanes) lie in one epoll set of their own, whose descriptor
 * stands in the loop's: one thing to look at, and seldom.
 *
 * A PUT joins the bytes that wait; all of them leave by one write at the end of the turn. What the
 * kernel does not take stays, and the engine knows how much that is (engine_unsent).
 *
 * The traps: never more than engine_room bytes are read at once, or the first segment of a lane
 * would be swallowed; where the room is 0 the connection is held, without interest in input, else
 * its readable descriptor would keep everybody awake. And a forked child's copy keeps a descriptor
 * in the epoll set after close, so it is always taken out by hand. */
#ifndef RUDP_IO_CONNECTIONS_H
#define RUDP_IO_CONNECTIONS_H

#include "base/indices.h"
#include "base/map.h"
#include "engine/engine.h"
#include "io/lanes.h"
#include "io/tcp.h"
#include "io/witness.h"

enum {
    CONNECTION_UNSENT = (64 << 10) + 4096, /* bytes; the engine stops at 64 KiB */
    CONNECTION_READ = 16 << 10,            /* bytes per system call in packet mode */
};

typedef enum { CARRIER_FREE, CARRIER_DIALLING, CARRIER_PACKETS, CARRIER_LANE } carrier_state;

typedef struct {
    uint32_t id; /* the engine's */
    int fd;
    carrier_state state;
    uint32_t interest; /* epoll events asked for */
    bool dirty;        /* stands among those to be flushed */
    uint8_t *unsent;   /* malloc'ed while something waits */
    size_t unsent_size;
    lane *lane;
    list_link held;  /* among those without room */
    list_link flush; /* among those with something to write */
} carrier;

typedef struct {
    engine *engine;
    lanes *lanes;
    int epfd, listener;
    uint8_t family;    /* of the sockets */
    uint64_t patience; /* ns, of tcp.h */
    witness_host here; /* known only if lanes may be direct */
    uint64_t paused;   /* no descriptors left: the listener rests until then; 0: it does not */
    carrier *table;
    indices free;
    map by_id;
    void *memory; /* of free and by_id */
    list_link held, flush;
    uint8_t bytes[CONNECTION_READ];
} connections;

/* listener: a descriptor, owned from here on, or -1. False: no memory or descriptor. */
bool connections_open(connections *c, engine *e, lanes *s, int listener, uint32_t most);
void connections_close(connections *c);

/* Looks at every descriptor once and tells the engine. True if there was anything. */
bool connections_look(connections *c, uint64_t now);

/* Connections that were held get their input back if the engine has room again. */
void connections_release_held(connections *c);

/* Everything that waits is written, as far as the kernel takes it. */
void connections_flush(connections *c, uint64_t now);

void connections_open_to(connections *c, uint64_t now, const action *a);
void connections_put(connections *c, const action *a);
void connections_shut(connections *c, uint64_t now, uint32_t id);
void connections_bulk(connections *c, uint64_t now, const action *a);
/* WRITE and READ. */
void connections_move(connections *c, uint64_t now, const action *a);

/* Hears when a lane is no more; its descriptor is closed by the lane. */
lanes_owner connections_own(connections *c);

#endif
