/* streams.h - what is a TCP connection, seen from both of its ends?
 *
 *   end 0 (opened it)                                     end 1 (accepted it)
 *   PUT, WRITE -> out -> | chunks under way, in order | -> in -> engine_bytes or segments
 *                        | held while the path is cut |
 *                        | swallowed once it is dead  |
 *
 * At most `capacity` bytes are between `out` of one end and the reading application at the other:
 * both kernels' buffers. The kernel gives a connection up after 4 s without progress. Streams
 * live until the world ends, because late chunks may still name them. */
#ifndef RUDP_SIM_STREAMS_H
#define RUDP_SIM_STREAMS_H

#include "world.h"

typedef struct {
    uint8_t *bytes;
    size_t from, to, room;
} fifo;

static inline size_t fifo_size(const fifo *f)
{
    return f->to - f->from;
}

void fifo_push(fifo *f, const uint8_t *bytes, size_t size);
void fifo_drop(fifo *f);

typedef enum {
    END_OPENING,   /* connect() is under way */
    END_ACCEPTING, /* in the listener's queue */
    END_OPEN,
    END_OVER, /* engine knows or said so; GONE follows when nothing is outstanding */
    END_GONE,
} end_state;

typedef struct write_order {
    struct write_order *next;
    uint64_t token, memory;
    segment segment;
    uint32_t written; /* bytes of the body */
    bool begun, ended;
} write_order;

typedef enum { READING_HEAD, READING_WAITS, READING_BODY, READING_TRAILER, READING_DEAD } reading;

struct stream;

struct stream_end {
    node *owner; /* NULL: nobody accepted */
    struct stream *stream;
    uint64_t life; /* of the owner */
    uint32_t id;   /* the engine's */
    uint8_t side, state;
    bool bulk;
    bool outcome_due; /* result of the OPEN is known and not told yet */
    uint8_t outcome;
    bool ended, reset; /* the peer's FIN or RST arrived; FIN counts behind the bytes of `in` */
    uint64_t gone_at;
    size_t unsent_told;
    fifo in, out;
    /* bulk */
    lane_cipher send, receive;
    write_order *writes;
    uint32_t ordered; /* WRITEs, ever */
    uint8_t reading;
    uint64_t read_token, read_memory;
    segment read;
    uint32_t read_done;
};

typedef struct chunk {
    struct chunk *next;
    struct stream *stream;
    uint8_t from, kind;
    size_t size;
    uint8_t bytes[];
} chunk;

enum { CHUNK_DATA, CHUNK_END, CHUNK_RESET };

typedef struct stream {
    world *world;
    struct stream *next;
    stream_end end[2];
    uint32_t at[2];       /* the nodes, also when their processes are gone */
    address remote, seen; /* dialled address; what the acceptor sees */
    uint32_t capacity;
    uint32_t segment_size; /* TCP_MAXSEG */
    uint64_t witness[2];   /* what each end is told; 0: nothing */
    size_t under_way[2];   /* by sender's side, held ones included */
    uint64_t arrived[2];   /* when the last chunk arrives: order is kept */
    bool dead[2];
    chunk *held[2];
    bool slow;
} stream;

/* Both ends were told the same: nobody is between, so nothing is corrupted either. */
static inline bool stream_is_direct(const stream *s)
{
    return s->witness[0] != 0 && s->witness[0] == s->witness[1];
}

stream_end *end_of(node *n, uint32_t id);
/* Tells the engine that the connection failed; orders under way fail, GONE follows. */
void end_over(stream_end *end, connection_news news);
void end_flush(stream_end *end);
size_t end_take(stream_end *end, uint8_t *out, size_t most); /* from `in` */

/* bulk.c */
void bulk_begin(stream_end *end, const action *a);
void bulk_order(stream_end *end, const action *a);
void bulk_turn(stream_end *end);
void bulk_over(stream_end *end);

#endif
