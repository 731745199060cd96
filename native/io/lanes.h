/* lanes.h - "who moves the bytes of all lanes, and how do they and the engine speak?"
 *
 *      engine's lock held, any thread             no lock, the node's C thread alone
 *   quick    short segments: in the turn itself
 *      |                ^ back, when nothing long came for LANES_SETTLED
 *      v a long segment | or a full socket
 *   inbox  --------------------------------->  lanes_take_in   to the streams
 *                                              lanes_step      bytes move, 1 MiB per lane
 *   lanes_tell <- done commands, news    <---  (collected)
 *
 * Whoever runs turns moves short segments himself: to give 2 KiB to another thread and to be told
 * of the answer by it takes four wake-ups, each of them longer than the copy. Long ones are for
 * the C thread, beside Python and outside of the lock, and so is all that a lane of class 2
 * carries.
 *
 * The inbox, the quick lanes and the table of free commands belong to the engine's lock; everything
 * else to the thread. The thread takes the lock for about a microsecond per segment: it tells, lets
 * the engine decide, takes in, and moves bytes again without it.
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

#include "io/lane_set.h"

enum {
    LANES_COMMANDS = 2048, /* under way at once; the engine is asked for no more */
    LANES_EVENTS = 64,
    LANES_STREAM = 256 << 10, /* bytes read within LANES_STREAM_TIME: much comes */
    LANES_TAG_MOST = 16, /* epoll data below this are not lanes but the thread's own business */
};

#define LANES_ALONE       (100 * NS_PER_MS) /* without a small call: large pieces */
#define LANES_SETTLED     (20 * NS_PER_MS)  /* without a long segment: quick again */
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
    lane_set quick; /* in the set of the connections */
    lane_keys *keys, *free_keys;
    /* Anybody. */
    atomic_bool attention, asleep;
    int wake_fd; /* an eventfd, edge-triggered, never read */
    /* The thread. */
    lane_set streams;
    uint64_t streamed_at; /* ns: when the last LANES_STREAM bytes had been read */
    bool called;          /* somebody wants attention: the inbox is to be taken in */
} lanes;

/* Who hears of each lane that is no more, before its memory goes. */
typedef struct {
    void *context;
    void (*gone)(void *context, uint32_t connection);
} lanes_owner;

/* keys: wiped memory for `lanes_most` lanes. False: no memory or descriptor. */
bool lanes_open(lanes *s, lane_keys *keys, uint32_t lanes_most);
/* After the thread has ended. */
void lanes_close(lanes *s);

/* ---- under the engine's lock ---- */

/* Room for one more command of each kind. */
bool lanes_room(const lanes *s);
/* A connection becomes a lane, known by `name` in the set of the connections if it is quick; the
 * descriptor and `prefix` are the lane's now. NULL: no memory. */
typedef struct {
    uint32_t connection;
    int fd;
    bool streams; /* the thread's, whatever it carries */
    epoll_data_t name;
    const lane_cipher *send, *receive;
    uint8_t *prefix;
    size_t prefix_size;
} lane_start;
lane *lanes_join(lanes *s, const lane_start *start);
/* WRITE or READ. */
void lanes_move(lanes *s, lane *l, uint64_t now, const action *a);
void lanes_shut(lanes *s, lane *l);

/* Quick lanes: what epoll says of one, moving their bytes, telling the engine. */
void lanes_hear(lanes *s, lane *l, uint32_t events);
bool lanes_quick(const lanes *s);
/* How many bytes have moved: `most`, or a little more. */
uint64_t lanes_move_quick(lanes *s, engine *e, uint64_t now, uint64_t most,
                          const lanes_owner *owner);

/* Called by the thread. Something to tell, or to take in? */
bool lanes_have_news(const lanes *s);
void lanes_tell(lanes *s, engine *e, uint64_t now, const lanes_owner *owner);
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
