/* outbox.h - what leaves next in a session, and in which packet?
 *
 * P9: close, ack, pong, path; then resends; cancels, grants, words; replies; requests, the last
 * class at least one place in eight. Messages that are ready share a packet. */
#ifndef RUDP_ENGINE_OUTBOX_H
#define RUDP_ENGINE_OUTBOX_H

#include "engine/engine.h"
#include "engine/session.h"

/* Queues a message (if it is not queued); the session has something to send then. */
void outbox_push(engine *e, session *s, message *m);
/* The same for one that can wait for other company: the session is not woken for it, the caller
 * sees to that when it has waited long enough. */
void outbox_ride(session *s, message *m);
/* The packet that carried it is lost: first among the resends. */
void outbox_again(engine *e, session *s, message *m);
/* Takes it out of wherever it is: its owner has no more need of it. */
void outbox_drop(session *s, message *m);
/* The packet that carried it was acknowledged: its owner is told. */
void outbox_acked(engine *e, uint64_t now, session *s, message *m);
void outbox_control(engine *e, session *s, uint32_t controls);
/* Puts the session on the engine's list of those to look at. */
void outbox_wake(engine *e, session *s);

/* Builds one packet in `out`; 0: nothing may leave now. over: where it goes. */
size_t outbox_packet(engine *e, uint64_t now, session *s, uint8_t out[PACKET_BUDGET], path *over,
                     path_kind *kind);
/* A packet with exactly these frames, for lane hellos and welcomes, outside the queues. */
size_t outbox_single(engine *e, uint64_t now, session *s, const frame *f,
                     uint8_t out[PACKET_BUDGET]);
/* SEND or PUT of the next packet of any session. */
bool outbox_next(engine *e, uint64_t now, unsigned wanted, action *out,
                 uint8_t buffer[ACTION_BUFFER]);

#endif
