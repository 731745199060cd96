/* lane.h - "how do one lane's bytes move between memory and its connection?"
 *
 *   reading    HEAD ---> WAIT ---> BODY ---> HEAD         one system call takes the rest of a
 *              48 bytes  engine    bytes     ^  with the   body, its tag and the next head
 *              verified  says      into      |  next head
 *                        where     memory ---+  if it came along
 *
 *   writing    [head][piece of the body, sealed just before][tag]   then the next command
 *
 * A lane belongs to one set of lanes (lane_set.h), and with it to the turn or to the C thread; so
 * do its two ciphers (K1). The engine says by commands which range of which memory is the next
 * segment and where an arrived one goes; what has happened is left in the command and in the lane,
 * for the engine's next look (lanes.h).
 *
 * Plaintext goes by writev straight from the application's memory; sealed bytes are made piece by
 * piece in a scratch buffer that the lane borrows while a segment is under way. Several short
 * segments are copied and leave together, and are received together (lane_short.c). A segment that
 * was begun is finished, whatever is cancelled (T5), or the lane fails.
 *
 *   plaintext  [head k][piece][piece]   [tag k][head k+1][piece] ...
 *                             each summed when it has left
 *
 * The sum of a large plaintext segment is taken from each piece after the kernel has copied it: the
 * copy waits less for memory than the sum does, and leaves the bytes in the cache (measured: 0.22
 * to 0.20 s of a CPU per GB). So its tag is owed, and leaves with the next head, or by itself if
 * nothing follows.
 *
 * The traps: SO_RCVLOWAT must never exceed what will still come, or the lane hangs (Rule 26):
 * lane_lowat. And memory is final only when the tag has verified (T2, T10). */
#ifndef RUDP_IO_LANE_H
#define RUDP_IO_LANE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/list.h"
#include "engine/engine.h"
#include "seal/segment.h"

enum {
    LANE_STEP = 1088 << 10,  /* most bytes per system call, and per direction and turn (Rule 26) */
    LANE_PIECE = 256 << 10,  /* the same beside small calls, when it writes ... */
    LANE_TAKE = 64 << 10,    /* ... and when it reads: that is the side with time to spare */
    LANE_SEALED = 512 << 10, /* most bytes sealed at a time: they stay in the cache */
    LANE_SHORT = 256 << 10,  /* most bytes of a segment that leaves with its tag, and in the turn */
    LANE_RANGES = 60,        /* buffers per system call */
    LANE_SPARES = 64,        /* scratch buffers that are kept for the next segment */
};

typedef enum { COMMAND_JOIN, COMMAND_WRITE, COMMAND_READ, COMMAND_SHUT } lane_command_kind;

/* From the engine to a lane, and back with its result. */
typedef struct {
    list_link link;
    struct lane *lane;
    uint64_t token, memory;
    segment segment;
    lane_command_kind kind;
    done_result result;
} lane_command;

typedef enum { LANE_HEAD, LANE_WAIT, LANE_BODY } lane_phase;

typedef struct {
    lane_phase phase;
    uint8_t head[SEGMENT_HEADER];
    uint8_t trailer[SEGMENT_TRAILER];
    uint32_t head_have, trailer_have;
    uint64_t have;         /* bytes of the body */
    lane_command *command; /* READ for the present body */
    segment segment;       /* of the newest head */
    int lowat;             /* as the kernel has it */
} lane_reading;

typedef struct {
    lane_command *command; /* WRITE under way */
    uint8_t head[SEGMENT_HEADER];
    uint8_t trailer[SEGMENT_TRAILER];
    uint32_t head_sent, trailer_sent;
    uint64_t sealed, sent; /* bytes of the body */
    uint64_t scratch_from; /* the body's byte at which the scratch buffer begins */
    uint8_t *scratch;      /* LANE_SEALED bytes, borrowed; NULL in plaintext */
    bool complete;         /* the tag is made */
    bool sums_after;       /* plaintext: what has left is summed, and the tag will be owed */
} lane_writing;

/* Short segments that leave together, or came together (lane_short.c). */
typedef struct {
    uint8_t *bytes; /* borrowed; NULL: none */
    size_t size, gone;
} lane_buffer;

typedef struct lane {
    list_link link;       /* among all of its set */
    list_link ready;      /* among those with something to do */
    list_link news;       /* among those with something to tell the engine */
    struct lane_set *set; /* NULL: on its way from one to the other */
    uint32_t connection;
    int fd;
    bool streams;         /* made for long messages (T9): never in a turn */
    epoll_data_t name;    /* by which the turn's set is told of its socket */
    uint64_t streamed_at; /* ns: when it last had to do with a long segment */
    lane_cipher *send, *receive;
    uint8_t *prefix; /* records from before it was a lane, to be written first; malloc'ed */
    size_t prefix_size, prefix_sent;
    list_link writes; /* WRITE commands not begun */
    lane_reading in;
    lane_writing out;
    lane_buffer staged, ahead;
    uint8_t owed[SEGMENT_TRAILER]; /* tag of the segment before: leaves first */
    uint32_t owed_left;
    bool readable, writable; /* until the kernel says otherwise */
    bool drained;            /* by the last reception */
    bool segment_came;       /* in.segment is to be told */
    bool shut;               /* the engine wants it gone */
    bool ended;              /* told as `how`, nothing moves any more */
    connection_news how;
} lane;

/* What the lanes of one set share. */
typedef struct {
    uint32_t step;   /* LANE_PIECE, or LANE_STEP while nobody makes small calls ... */
    uint32_t take;   /* ... and LANE_TAKE, or LANE_STEP: the same for what is read */
    bool ahead;      /* more may be received than the segment under way */
    uint64_t read;   /* bytes of bodies, since somebody set it to 0 ... */
    uint64_t wrote;  /* ... and the same written */
    uint8_t *sink;   /* LANE_STEP bytes for bodies nobody wants (T2) */
    uint8_t *spare;  /* a chain of scratch buffers, by their first bytes */
    uint32_t spares; /* how many */
    list_link *done; /* where finished commands go */
} lane_tools;

/* The scratch buffers that no lane has borrowed, and the sink, go. */
void lane_tools_free(lane_tools *tools);

void lane_init(lane *l, uint32_t connection, int fd);

/* The engine's answer to the segment that came. */
void lane_give_read(lane *l, lane_command *read, lane_tools *tools);
void lane_give_write(lane *l, lane_command *write);

/* Moves what can be moved now, at most LANE_STEP each way. True: it could go on at once. */
bool lane_step(lane *l, lane_tools *tools);

/* Nothing is under way, either way: it may move to another set. */
bool lane_is_quiet(const lane *l);

/* Something has not left yet. */
bool lane_has_writing(const lane *l);

/* All its commands fail and are done; the scratch buffer goes back. */
void lane_fail_all(lane *l, lane_tools *tools);

/* What to wait for: bytes that will certainly still come before the sender may pause. */
int lane_lowat(const lane_reading *r);

#endif
