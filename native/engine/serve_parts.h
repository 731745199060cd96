/* serve_parts.h - what do the files about served requests share among themselves?
 *
 *   serve.c         state table; what the application is told and takes; grants
 *   serve_admit.c   frames and offers: is it new, and is there room (C1, C2, C4, A5)
 *   serve_answer.c  reply, refusal, and their way to the caller
 *   serve_end.c     records given back; slots that move on; sessions that end (O3)
 *
 * A verb that may free the record says so here; after it the record must not be touched. */
#ifndef RUDP_ENGINE_SERVE_PARTS_H
#define RUDP_ENGINE_SERVE_PARTS_H

#include "engine/machine.h"
#include "engine/serve.h"

typedef enum {
    SERVE_ADMITTED,      /* ours: a small request is here */
    SERVE_OFFERED,       /* ours: a big one may come */
    SERVE_DECLINED,      /* ours: a record only for saying no */
    SERVE_COMPLETE,      /* the peer's: the last byte of a big one is verified */
    SERVE_TELLING,       /* ours */
    SERVE_REPLIED,       /* ours: a small reply is kept */
    SERVE_REPLIED_BIG,   /* ours */
    SERVE_FELL_BACK,     /* ours: a big reply that cannot be sent becomes a small word */
    SERVE_REFUSED,       /* ours */
    SERVE_CANCELLED,     /* the peer's */
    SERVE_ARRIVED,       /* the peer's: it has the answer */
    SERVE_ABANDONED,     /* the peer's: session over, slot gone on, or offer withdrawn */
    SERVE_HANDLER_ENDED, /* ours: of an orphan */
    SERVE_EVENTS,
} serve_event;

extern const uint8_t serve_table[SERVE_ORPHANED + 1][SERVE_EVENTS];

/* ---- serve.c ---- */
void serve_step(serve *v, serve_event what);
/* The request whole: it waits for the application, or behind the fence (L4). */
void serve_queue(engine *e, uint64_t now, serve *v);
void serve_note_taken(engine *e, serve *v); /* counts no more among the waiting */
serve *serve_find(engine *e, uint64_t request);

/* ---- serve_answer.c ---- */

/* Never started and never will (C4): the record now carries the refusal. */
void serve_turn_down(engine *e, uint64_t now, serve *v, serve_event by, status why);
/* Request memory that the application never got, and credit, go back. */
void serve_release_request(engine *e, uint64_t now, serve *v);
/* They go on without the request, to their own end; what is being received is rejected. */
void serve_part_transfers(engine *e, uint64_t now, serve *v, status why);

/* The reply that is being sent, or waits to be, is given up: that there was one is told in a
 * packet, for an OFFER may have to wait for room. Whichever comes second is dropped as a copy. */
void serve_withdraw_reply(engine *e, uint64_t now, serve *v, status why);

/* ---- serve_end.c ---- */

/* The record leaves its session and is free, or is an orphan while its handler runs. */
void serve_leave(engine *e, uint64_t now, serve *v, serve_event by);
/* What a change of the session's list means to the session, which may end. */
void serve_left(engine *e, uint64_t now, session *s);

#endif
