/* call.h - one outgoing call: what does the application know of it, and what does the wire hold?
 *
 * The two are apart (C3): after a deadline the application has its answer at once, while the slot
 * is free only when the answerer has said what became of the handler.
 *
 *   app    OPEN  --result, deadline, cancel, session end-->  READY  --event made-->  TOLD
 *                                                                    --taken-->      GONE
 *   wire   WAITING  --slot taken-->  SENT  --packet acked-->  ACKED   --reply, refused-->  NONE
 *             ^                      SENT, ACKED  --deadline, cancel-->  CANCELLING  --...-->  NONE
 *             +-- after a pause, anew -- SENT, ACKED: refused, busy (Rule 10)
 *
 * The call is free when app is GONE and wire is NONE. The state tables are in call.c.
 *
 * An entry of the table serves a handle or holds a slot, or both. Entries that hold something on
 * the wire are limited to calls_room - config.calls, so each handle always finds an entry in which
 * to be told at least that the node is busy. */
#ifndef RUDP_ENGINE_CALL_H
#define RUDP_ENGINE_CALL_H

#include "engine/engine.h"
#include "engine/peer.h"
#include "engine/transfer.h"

typedef enum { APP_FREE, APP_OPEN, APP_READY, APP_TOLD, APP_GONE } call_app;
typedef enum { WIRE_NONE, WIRE_WAITING, WIRE_SENT, WIRE_ACKED, WIRE_CANCELLING } call_wire;

typedef struct call {
    list_link at;      /* peer.waiting or session.calls, by wire */
    list_link telling; /* among the engine's events due */
    message request;
    message cancel;
    timer deadline;        /* also the busy retry, whichever is earlier */
    uint64_t due;          /* ns */
    uint64_t retry_at;     /* ns: busy, try again then; 0: not waiting for that */
    uint64_t cancelled_at; /* ns: since when wire is CANCELLING */
    uint64_t handle;
    peer *peer;
    session *session; /* while wire is not NONE or WAITING */
    uint32_t index;
    uint32_t sequence;
    uint16_t slot;
    uint8_t app, wire;
    uint8_t status, outcome; /* once READY */
    uint8_t owner;
    uint8_t method_size;
    uint16_t extension_size;
    uint8_t busy_tries;
    bool big;           /* came with memory: goes by lane */
    bool left;          /* a packet with the request (or its OFFER's last byte) left: O1 */
    bool proved;        /* something of the reply was verified: it ran */
    uint8_t *body;      /* cell: method, extension, body; NULL once not needed or the reply's */
    uint32_t body_size; /* of the body alone */
    uint64_t memory;    /* big request: not yet handed to a transfer; 0 after */
    uint64_t memory_size;
    transfer *sending;   /* big request under way */
    transfer *receiving; /* big reply under way */
    uint8_t *reply;      /* the same cell, with a small reply (Rule 10) */
    uint64_t reply_size;
    uint64_t reply_memory; /* big reply */
    uint8_t reply_pool;    /* credit_kind of the next */
    uint64_t reply_credit; /* bytes it holds until the application has taken it (A4) */
} call;

/* ---- engine.h's verbs ---- */
bool call_submit(engine *e, uint64_t now, const call_command *command);
void call_cancel(engine *e, uint64_t now, uint64_t handle);
void call_taken(engine *e, uint64_t now, uint64_t handle);

/* ---- asked by others ---- */

/* The peer has a session (or more slots, or a lane): waiting calls take what there is. */
void call_dispatch(engine *e, uint64_t now, peer *p);
void call_dispatch_session(engine *e, uint64_t now, session *s); /* for every peer it serves */
/* The peer cannot be reached: waiting calls end with this status, outcome no. */
void call_fail_waiting(engine *e, uint64_t now, peer *p, status why);
/* The session ended: O1 for those that left; O2: those without a packet wait anew. */
void call_session_ended(engine *e, uint64_t now, session *s, status why);
void call_expired(engine *e, uint64_t now, call *c); /* timer */
void call_end_all(engine *e, uint64_t now, status why);

/* ---- messages: called through the table of outbox.c ---- */
size_t call_request_size(engine *e, const message *m);
bool call_request_write(engine *e, uint64_t now, session *s, message *m, writer *w);
void call_request_acked(engine *e, uint64_t now, session *s, message *m);
size_t call_cancel_size(engine *e, const message *m);
bool call_cancel_write(engine *e, uint64_t now, session *s, message *m, writer *w);
void call_cancel_acked(engine *e, uint64_t now, session *s, message *m);

/* ---- frames: called through the table of incoming.c ---- */
applied call_got_reply(engine *e, uint64_t now, session *s, const frame *f);
applied call_got_refused(engine *e, uint64_t now, session *s, const frame *f);

/* ---- transfers ---- */
/* Whoever calls these sets call.sending and call.receiving only through them: the transfer module
 * sets call.receiving to what it makes of call_offered; all else is set and cleared in here, and
 * transfer.call is cleared here too when the call has no more interest. */

/* A reply is offered: proves that the handler ran. NULL: refuse it with *why; OK in *why with NULL
 * means "a copy": the call has a transfer already. */
call *call_offered(engine *e, uint64_t now, session *s, const frame *f, status *why);
/* The transfer is still call.receiving: its status and credit pass to the call, memory too. */
void call_reply_complete(engine *e, uint64_t now, call *c, uint64_t memory, uint64_t size);
/* The transfer that carried the request or reply ended badly. */
void call_send_failed(engine *e, uint64_t now, call *c, status why);
void call_receive_failed(engine *e, uint64_t now, call *c, status why);
/* The last byte of a big request was handed to a lane (O1); the peer has all of it (ACKED). */
void call_sent_whole(engine *e, uint64_t now, call *c);
void call_sent_complete(engine *e, uint64_t now, call *c);

/* C3: how many slots are held by handlers that do not stop, and since when the first. */
uint32_t call_stuck(const session *s, uint64_t now, uint64_t *since);

/* Fills an EVENT of a call on the telling list. */
void call_tell(engine *e, uint64_t now, call *c, event *out);

#endif
