/* call_parts.h - what do the files about calls share among themselves?
 *
 *   call.c           state tables; what the application asks: submit, cancel, taken
 *   call_dispatch.c  from waiting to a slot; the pauses of a busy peer
 *   call_end.c       everything by which a call or its slot ends
 *   call_frames.c    messages, frames and transfers: what the peer makes of it
 *
 * A verb that may free the call says so here; after it the call must not be touched. */
#ifndef RUDP_ENGINE_CALL_PARTS_H
#define RUDP_ENGINE_CALL_PARTS_H

#include "engine/call.h"
#include "engine/machine.h"

typedef enum {
    CALL_SUBMITTED, /* ours */
    CALL_ANSWERED,  /* the peer's */
    CALL_GIVEN_UP,  /* ours */
    CALL_TELLING,   /* ours */
    CALL_TAKING,    /* ours */
    CALL_FORGOTTEN, /* ours */
    CALL_APP_EVENTS,
} call_app_event;

typedef enum {
    WIRE_QUEUED,     /* ours: admitted */
    WIRE_DISPATCHED, /* ours: has a slot */
    WIRE_GOT_ACK,    /* the peer's */
    WIRE_GOT_BUSY,   /* the peer's, if there is something to try again with */
    WIRE_GOT_END,    /* the peer's: reply or refusal */
    WIRE_CANCEL,     /* ours */
    WIRE_REQUEUED,   /* ours: no packet had left (O2) */
    WIRE_LEFT,       /* ours: nothing on the wire any more */
    WIRE_EVENTS,
} call_wire_event;

extern const uint8_t call_app_table[APP_GONE + 1][CALL_APP_EVENTS];
extern const uint8_t call_wire_table[WIRE_CANCELLING + 1][WIRE_EVENTS];

#define CALL_STUCK_AFTER NS_PER_S /* a handler that took longer to stop is stuck (C3) */

/* ---- call.c ---- */
void call_app_step(call *c, call_app_event what);
void call_wire_step(engine *e, call *c, call_wire_event what);
void call_free_body(engine *e, call *c);

/* ---- call_dispatch.c ---- */
void call_wait_for_slot(engine *e, uint64_t now, call *c); /* at the end of its peer's line */
void call_try_later(engine *e, uint64_t now, call *c);     /* refused as busy, slot already given */
void call_retry_due(engine *e, uint64_t now, call *c);

/* ---- call_end.c ---- */

/* The application's half ends, if it has not: counted, traced and put among those to tell. */
void call_end(engine *e, uint64_t now, call *c, call_app_event by, status why, outcome ran);
outcome call_outcome(const call *c); /* O1, without a word from the peer */
/* Ends a call that waits for a slot. */
void call_fail(engine *e, uint64_t now, call *c, status why);
/* Ends an open call from our side: deadline, cancel, trouble. */
void call_give_up(engine *e, uint64_t now, call *c, status why);
/* Slot and messages are given back, by this event. The call may be free afterwards. */
void call_slot_over(engine *e, uint64_t now, call *c, call_wire_event by);
/* Slot, messages, transfers and place among the session's calls: all gone. */
void call_leave_session(engine *e, uint64_t now, call *c);
/* A slot was freed: others may take it, or the session may be done. The session may end. */
void call_slots_changed(engine *e, uint64_t now, session *s);
void call_maybe_free(engine *e, call *c);
/* The memory of an offer that was not granted is the call's again, to be offered elsewhere; the
 * transfer goes on without any. */
bool call_take_back(call *c);

#endif
