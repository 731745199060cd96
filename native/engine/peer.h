/* peer.h - whom does the application mean by this address?
 *
 * A peer is a cheap handle: an address, and the session that serves it now. Several peers may share
 * a session (`localhost` and `127.0.0.1`, S6). A node that dialled us is a peer too, at the address
 * it listens on. Calls wait here until a session has a slot for them (O2). */
#ifndef RUDP_ENGINE_PEER_H
#define RUDP_ENGINE_PEER_H

#include "engine/engine.h"
#include "engine/session.h"

struct peer {
    list_link in_session; /* session.peers */
    list_link in_dial;    /* dialling.dialling_peers */
    list_link telling;    /* among peers whose state the application must be told */
    list_link waiting;    /* calls without a slot, oldest first */
    uint32_t index;
    uint32_t id; /* index + 1 with a generation above bit 20 */
    address remote;
    session *session;       /* serves it; NULL: none */
    session *dialling;      /* a dial under way, NULL: none */
    uint64_t incarnation;   /* of the last session, 0: never met */
    uint64_t unverified_at; /* ns: something there answered that did not verify, 0 (K10) */
    uint32_t watchers;
    uint32_t calls; /* waiting or open */
    uint32_t stuck; /* handlers there when its last session ended (C3), the oldest since: */
    uint64_t stuck_since;
    uint8_t told;   /* peer_state last told */
    uint8_t reason; /* status */
    bool ours;      /* made by the application, so its address may be dialled (S4) */
    bool same_life;
    bool told_stalled;
    timer dial; /* next attempt */
};

/* ---- peer.c ---- */
uint32_t peer_id(const peer *p);
peer *peer_by_id(engine *e, uint32_t id);                     /* NULL: no such */
peer *peer_at(engine *e, const address *remote);              /* NULL: none */
peer *peer_make(engine *e, const address *remote, bool ours); /* finds or makes; NULL: full */
/* A peer for the node behind a confirmed session, by incarnation, then address, else made. */
peer *peer_of_session(engine *e, session *s);
void peer_attach(engine *e, uint64_t now, peer *p, session *s);
void peer_detach(engine *e, uint64_t now, peer *p, status reason);
/* Something of it may have changed: tells the application if its state did. */
void peer_changed(engine *e, uint64_t now, peer *p);
bool peer_wanted(const peer *p); /* has calls or watchers: dial, keep watched */
void peer_view_fill(const engine *e, uint64_t now, const peer *p, peer_view *out);

/* ---- dial.c: the handshake, both roles ---- */

/* Starts a dial if there is none and no session. */
void dial_start(engine *e, uint64_t now, peer *p);
/* A fresh handshake beside a session in doubt (S3). */
void dial_doubt(engine *e, uint64_t now, session *s);
/* A fresh handshake under the offered cluster key, if the session is up and was made with another
 * (K9). Only its dialler dials: two who offer different keys would renew each other's for ever. */
void dial_renew(engine *e, uint64_t now, session *s);
/* Next attempt, or giving up. */
void dial_expired(engine *e, uint64_t now, session *s);
void dial_stop(engine *e, uint64_t now, session *s);
/* Why the dial of this peer came to nothing, or would now, as far as it may be known (K10). */
status dial_verdict(const peer *p);
/* The hello states of a dial are not needed any more. */
void dial_forget(engine *e, session *s);
/* Message 1 or 2 arrived; connection 0: over UDP from `from`. */
bool dial_got_first(engine *e, uint64_t now, const path *from, uint32_t connection, uint8_t *bytes,
                    size_t size); /* false: it does not verify */
void dial_got_second(engine *e, uint64_t now, const path *from, uint32_t connection, uint8_t *bytes,
                     size_t size);
/* What both messages say of this node alike. */
parameters dial_parameters(const engine *e);
/* Somebody there accepts TCP: if nothing else comes, that is what was seen (K10). */
void dial_accepted(uint64_t now, session *s);
/* The host refused: ICMP for a message 1 (P11), or RST for its TCP connection. */
void dial_refused(session *s);
/* Writes a new message 1 (fresh ephemeral key each time); 0: no entropy now. */
size_t dial_write(engine *e, uint64_t now, session *s, uint8_t *out);

#endif
