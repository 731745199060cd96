/* transfer.h - one big message on its way by lane: which bytes are where?
 *
 *   sender     OFFERING -> GRANTED -> writing segments ... -> all written -> COMPLETE
 *   receiver   WAITING for memory -> RECEIVING ... -> COMPLETE (remembered by its slot: T4)
 *
 *             0        position (receiver: verified)        written (sender: handed out)    total
 *             |===========|------------------------------|..............................|
 *
 * A transfer is (slot, sequence), as a call is (T1). It is assigned to one lane at a time; after a
 * break the sender assigns another by QUERY and the receiver's position counts (T3). The sender
 * owns the memory until RELEASE, which comes only when no WRITE names it any more (T5).
 *
 * Small ones do not wait: OFFERING -> written at once, if the peer has promised to take them (A1;
 * transfer_eager.c).
 *
 * The first lane needs no exchange: the receiver takes the one on which the first byte comes, since
 * nothing was written on any other. The final word is reliable, so its entry lives until that word
 * is acknowledged, and the slot remembers the end until its next sequence (T4). */
#ifndef RUDP_ENGINE_TRANSFER_H
#define RUDP_ENGINE_TRANSFER_H

#include "engine/engine.h"
#include "engine/session.h"

struct call;
struct serve;

typedef enum {
    TRANSFER_FREE,
    SEND_OFFERING,   /* OFFER leaves, or left; no memory there yet */
    SEND_ACTIVE,     /* granted: segments go */
    SEND_ASSIGNING,  /* lane changed: QUERY asks for the position */
    SEND_ASKING,     /* all written, nothing heard: QUERY (T4) */
    SEND_LEAVING,    /* ended; WRITEs outstanding or ABANDON not acknowledged */
    RECEIVE_WAITING, /* for credit and ALLOC */
    RECEIVE_ACTIVE,
    RECEIVE_LEAVING, /* ended; a READ or ALLOC outstanding, or the final word not acknowledged */
    TRANSFER_STATES,
} transfer_state;

typedef struct transfer {
    list_link at;      /* session.transfers, or the engine's leaving */
    list_link waiting; /* receiver: line for credit (A2) or ALLOC; sender: its lane's turns (T9) */
    message offer;     /* OFFER, then ABANDON */
    message query;
    message word;      /* receiver's TRANSFER */
    timer timer;       /* sender: ask, lane without progress; receiver: position report */
    session *session;  /* NULL once it ended while LEAVING */
    struct call *call; /* whose request or reply it is; one of the two, NULL: nobody's any more */
    struct serve *serve;
    uint32_t index;
    uint32_t sequence;
    uint16_t slot;
    uint8_t state;
    uint8_t what;       /* carries */
    uint8_t status;     /* of a REPLY: OK or EXCEPTION. Once REJECTED: why */
    uint8_t word_state; /* transfer_word to send */
    uint8_t lane_class;
    uint8_t asks;         /* sender: QUERYs since the peer was last heard (T4) */
    bool slot_held;       /* sender: ours to give. Receiver: the final word is not acknowledged */
    bool whole;           /* sender: the last byte was handed to a lane (O1) */
    bool alloc_due;       /* receiver: stands in engine.allocs */
    uint8_t pool;         /* receiver: credit_kind that it counts against (A1, A3) */
    bool eager;           /* sender: it went without a grant, and that is not known to have done.
                           Receiver: offered so (A1) */
    bool missed;          /* receiver: bytes came before there was memory, and are gone (A1) */
    uint32_t eager_bytes; /* sender: of the session's eager credit */
    bool read_busy;       /* receiver: a READ into its memory is outstanding, at position */
    bool word_due;        /* receiver: a QUERY waits for that READ (T3) */
    uint32_t lane;        /* number of the lane assigned, 0: none yet */
    uint32_t read_length;
    uint32_t read_connection; /* id */
    uint32_t operations;      /* WRITEs, READs and ALLOCs outstanding */
    uint32_t corrupt_at_same; /* checks failed at one offset (T6) */
    uint64_t corrupt_offset;
    uint64_t memory;
    uint64_t total;
    uint64_t position;    /* receiver: verified prefix. Sender: last heard */
    uint64_t written;     /* sender: handed to WRITEs so far */
    uint64_t peak;        /* sender: highest ever written, for counting what is sent again */
    uint64_t reported;    /* receiver: position last told */
    uint64_t progress_at; /* sender, ns: position last moved, or bytes began to be out */
    uint64_t quiet_since; /* sender, ns: last word heard or WRITE done (T4) */
    uint64_t credit;      /* receiver: bytes reserved */
} transfer;

/* What can befall a transfer; the table is in transfer.c. */
typedef enum {
    HEARD_GRANTED, /* the receiver has memory */
    HEARD_RESUME,  /* ... and said from where to go on, on the lane we assigned */
    HEARD_FINAL,   /* COMPLETE or REJECTED */
    HEARD_MISSING, /* UNKNOWN */
    HEARD_BURN,    /* the sender gave it up, or its slot moved on */
    DO_MOVE,       /* its lane is gone after bytes were written */
    DO_ASK,        /* all written, nothing heard */
    DO_FILL,       /* ALLOC succeeded */
    DO_LEAVE,      /* finished or given up by us */
    DO_OFFER,      /* a new one, to send */
    DO_HURRY,      /* its offer leaves, and needs no grant (A1) */
    DO_ADMIT,      /* a new one, to receive */
    DO_FORGET,     /* nothing needs the entry any more */
    TRANSFER_INPUTS,
} transfer_input;

/* Tokens of WRITE, READ and ALLOC:
 *
 *     bits 62-63 kind | 56-61 running number | 32-55 transfer's index + 1, 0: sink | connection
 *
 * A transfer lives until its operations are reported, so a late report finds the right one. The
 * running number keeps those apart that are outstanding together. */
typedef enum { TOKEN_WRITE = 1, TOKEN_READ = 2, TOKEN_ALLOC = 3 } token_kind;

#define TOKEN_NUMBERS   64u
#define TOKEN_TRANSFERS 0xffffffu

static inline uint64_t token_make(token_kind kind, uint8_t number, const transfer *t,
                                  uint32_t connection)
{
    uint64_t which = t == NULL ? 0 : (uint64_t)t->index + 1;
    return (uint64_t)kind << 62 | (uint64_t)(number % TOKEN_NUMBERS) << 56 | which << 32 |
           connection;
}

/* ---- sending: transfer_send.c ---- */

/* Starts sending memory in the session; takes the memory over. NULL: no slot or table entry now
 * (nothing was taken; try again when one is free). */
transfer *transfer_send_request(engine *e, uint64_t now, session *s, struct call *c);
transfer *transfer_send_reply(engine *e, uint64_t now, session *s, struct serve *v, uint64_t memory,
                              uint64_t size);
/* Its call or request has no more interest. */
void transfer_abandon(engine *e, uint64_t now, transfer *t);

/* ---- receiving: transfer_receive.c ---- */
void transfer_refuse(engine *e, uint64_t now, transfer *t, status why); /* REJECT, any time (C7) */
void transfer_credit_back(engine *e, uint64_t now, uint8_t pool, uint64_t bytes);

/* ---- both: transfer.c ---- */
void transfer_session_ended(engine *e, uint64_t now, session *s);
void transfer_expired(engine *e, uint64_t now, transfer *t); /* timer */
/* Memory that was given to the engine and never used is given back. */
void transfer_release_memory(engine *e, uint64_t memory);
/* ALLOC and RELEASE. */
bool transfer_next(engine *e, uint64_t now, unsigned wanted, action *out);

/* ---- for lanes ---- */

/* The lane it was assigned to is gone: another is assigned (T3). */
void transfer_lane_lost(engine *e, uint64_t now, transfer *t);
/* Assigns the lane that is up now; asks for one if there is none. */
void transfer_assign(engine *e, uint64_t now, transfer *t);
/* True while it sends and its lane matters. */
bool transfer_sending(const transfer *t);
/* A WRITE of the next length bytes was handed out, or is done. */
void transfer_wrote(engine *e, uint64_t now, transfer *t, uint32_t length);
void transfer_write_done(engine *e, uint64_t now, transfer *t);

/* A call that was refused while WRITEs named its memory may try again. */
void transfer_tell_busy(engine *e, uint64_t now, transfer *t);

/* T2: where does the body of this segment go? */
typedef enum {
    READ_SINK,
    READ_INTO,
    READ_WAIT, /* for an operation on that transfer to end */
    READ_HOLD, /* for its OFFER, which it has overtaken: only for a while (A1) */
} read_target;
read_target transfer_read_target(engine *e, session *s, uint32_t lane, const segment *g,
                                 transfer **into);
/* BUFFER_CHANGED and whoever else failed is told inside; CORRUPT: the caller drops the lane. */
void transfer_read_done(engine *e, uint64_t now, transfer *t, done_result result);
void transfer_allocated(engine *e, uint64_t now, transfer *t, done_result result, uint64_t memory);

/* ---- between the files of transfers ---- */
/* NULL: its part of the table is full. */
transfer *transfer_new(engine *e, session *s, transfer_input how, carries what);
void transfer_input_apply(transfer *t, transfer_input input);
/* LEAVING: gives back what nothing needs any more, at last the entry itself. Do not touch the
 * transfer afterwards: this may also end a drained session. */
void transfer_settle(engine *e, uint64_t now, transfer *t);
void transfer_message_drop(transfer *t, message *m);
void transfer_send_expired(engine *e, uint64_t now, transfer *t);
void transfer_receive_expired(engine *e, uint64_t now, transfer *t);
bool transfer_is_sender(const transfer *t);
/* Receiver: its slot remembers how it ended, the entry is not needed for that. */
void transfer_slot_ended(session *s, transfer *t);
/* A slot or an entry for sending is free: replies and calls that waited for one try again, in any
 * session. Named is the one whose slot it was; NULL: that is over, and only the entry is free. */
void transfer_room(engine *e, uint64_t now, session *s);

/* ---- credit.c ---- */
void credit_ask(engine *e, transfer *t);      /* stands in line, or has an ALLOC due */
void credit_withdraw(engine *e, transfer *t); /* leaves the line, or the allocs */
/* A promise to the peer begins or ends: it is watched, has a lane, or has not (A1). */
void credit_promise(engine *e, session *s);
void credit_promise_end(engine *e, session *s); /* without a word: the session is over */

/* ---- transfer_eager.c (A1) ---- */
/* Its OFFER leaves for the first time: may the bytes follow at once? If so it is as granted. */
bool transfer_eager_fits(const engine *e, const transfer *t);
void transfer_eager_begin(engine *e, uint64_t now, transfer *t);
void transfer_eager_back(transfer *t); /* the session's credit is free again */
/* The receiver threw away what came: from the beginning. */
void transfer_eager_again(engine *e, uint64_t now, transfer *t);
/* Receiver: the OFFER has come. Did bytes of it come, and go, before? */
bool transfer_eager_missed(engine *e, session *s, uint16_t slot, uint32_t sequence);

/* ---- messages ---- */
size_t transfer_message_size(engine *e, const message *m);
bool transfer_message_write(engine *e, uint64_t now, session *s, message *m, writer *w);
void transfer_message_acked(engine *e, uint64_t now, session *s, message *m);

/* ---- frames ---- */
applied transfer_got_offer(engine *e, uint64_t now, session *s, const frame *f);
applied transfer_got_word(engine *e, uint64_t now, session *s, const frame *f);
applied transfer_got_query(engine *e, uint64_t now, session *s, const frame *f);
applied transfer_got_abandon(engine *e, uint64_t now, session *s, const frame *f);

#endif
