/* lanes.h - "who moves the bytes of all lanes, and how do they and the engine speak?"
 *
 *      engine's lock held, any thread             no lock, the node's C thread alone
 *   lanes_write, lanes_read ... -> inbox  ------> lanes_take_in   to the lanes
 *                                                 lanes_step      bytes move, 1 MiB per lane
 *   lanes_tell <- done commands, news    <------  (collected)
 *
 * The inbox and the table of free commands belong to the engine's lock; everything else to the
 * thread. The thread takes the lock for about a microsecond per segment: it tells, lets the engine
 * decide, takes in, and moves bytes again without it.
 *
 * Waking: `asleep` and `attention` are two flags each side sets before it looks at the other's
 * (sequentially consistent), so one of them always sees.
 *
 * The trap: a lane's memory and descriptor go only in lanes_tell, after every command was done and
 * the engine has heard CONNECTION_GONE (T5). */
#ifndef RUDP_IO_LANES_H
#define RUDP_IO_LANES_H

#include <stdatomic.h>
#include <sys/epoll.h>

#include "io/lane.h"

enum {
    LANES_COMMANDS = 2048, /* under way at once; the engine is asked for no more */
    LANES_EVENTS = 64,
    LANES_STREAM = 256 << 10, /* bytes read within LANES_STREAM_TIME: much comes */
    LANES_TAG_MOST = 16, /* epoll data below this are not lanes but the thread's own business */
};

#define LANES_ALONE       (100 * NS_PER_MS) /* without a small call: large pieces */
#define LANES_STREAM_TIME (400 * NS_PER_US)
#define LANES_NAP         (50 * NS_PER_US)

/* Where ciphers live: memory which a fork wipes (K2). */
typedef struct lane_keys {
    lane_cipher send, receive;
    struct lane_keys *next;
} lane_keys;

typedef struct {
    /* The engine's lock. */
    lane_command *commands;
    list_link free, inbox;
    uint32_t under_way;
    lane_keys *keys, *free_keys;
    /* Anybody. */
    atomic_bool attention, asleep;
    int wake_fd; /* an eventfd, edge-triggered, never read */
    /* The thread. */
    int epfd;
    uint64_t streamed_at; /* ns: when the last LANES_STREAM bytes had been read */
    bool called;          /* somebody wants attention: the inbox is to be taken in */
    list_link all, ready, news, done;
    lane_tools tools;
} lanes;

/* keys: wiped memory for `lanes_most` lanes. False: no memory or descriptor. */
bool lanes_open(lanes *s, lane_keys *keys, uint32_t lanes_most);
/* After the thread has ended. */
void lanes_close(lanes *s);

/* ---- under the engine's lock ---- */

/* Room for one more command of each kind. */
bool lanes_room(const lanes *s);
/* A connection becomes a lane; the descriptor and `prefix` are the lane's now. NULL: no memory. */
lane *lanes_join(lanes *s, uint32_t connection, int fd, const lane_cipher *send,
                 const lane_cipher *receive, uint8_t *prefix, size_t prefix_size);
void lanes_write(lanes *s, lane *l, const action *a);
void lanes_read(lanes *s, lane *l, const action *a);
void lanes_shut(lanes *s, lane *l);

/* Called by the thread. Something to tell, or to take in? `gone` hears of each lane that is no
 * more, before its memory goes. */
bool lanes_have_news(const lanes *s);
void lanes_tell(lanes *s, engine *e, uint64_t now, void (*gone)(void *, uint32_t), void *context);
void lanes_take_in(lanes *s);

/* ---- the thread, without the lock ---- */

/* Sleeps at most that long (-1: for ever, 0: only looks). Events that are not of lanes are left in
 * out, at most LANES_EVENTS; their number, or a negative errno. */
int lanes_wait(lanes *s, int timeout_ms, struct epoll_event *out);
void lanes_step(lanes *s);
/* Some lane could go on at once, or there is something to tell. */
bool lanes_busy(const lanes *s);

/* ---- anybody ---- */
void lanes_wake(lanes *s);

#endif
