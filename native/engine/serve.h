/* serve.h - one incoming request: is it new, what became of it, and is its reply still needed?
 *
 *   RECEIVING (big: bytes arriving by lane) --> QUEUED --> HANDED (event taken) --> ANSWERED
 *   ANSWERED: reply kept until the packet that carried it is acknowledged, the slot moves on, or
 *   the session ends (C5). Then only the slot's sequence remembers (C1).
 *
 * Admission takes the record and one cell of the largest packet's size. The request lies in it
 * until it is handed over, then it is the room for the reply, so no reply ever lacks room (C5). A
 * reply that fits a smaller cell moves there. What is not admitted is REFUSED, finally (C4); the
 * refusal has a record of its own until it is acknowledged, and an eighth of the table is kept for
 * those. Without a record the packet is not acknowledged and comes again (P2).
 *
 * A CANCEL for a slot whose record is gone needs no answer: the record went when the packet with
 * the answer was acknowledged, and that was after the caller had applied it (P2). */
#ifndef RUDP_ENGINE_SERVE_H
#define RUDP_ENGINE_SERVE_H

#include "engine/engine.h"
#include "engine/peer.h"
#include "engine/transfer.h"

typedef enum {
    SERVE_FREE,
    SERVE_RECEIVING,
    SERVE_QUEUED,
    SERVE_HANDED,
    SERVE_ANSWERED, /* reply or refusal kept and sent until acknowledged */
    SERVE_SENDING,  /* big reply on its way by lane, or waiting for a transfer slot */
    SERVE_ORPHANED, /* session over or slot gone on; waits for the handler (O3) */
} serve_state;

typedef struct serve {
    list_link at;      /* session.serves, or the engine's orphans */
    list_link telling; /* REQUEST or CANCEL event due */
    list_link waiting; /* among requests that the application has not taken */
    message reply;
    timer deadline;
    uint64_t due;     /* ns, this node's clock (C8) */
    uint64_t id;      /* index + 1, generation above bit 32; the application's name for it */
    session *session; /* NULL once orphaned */
    uint32_t peer;    /* id, for the events */
    uint32_t index;
    uint32_t sequence;
    uint16_t slot;
    uint8_t state;
    uint8_t status; /* of the reply, or why refused */
    bool refused;
    bool cancelled; /* the caller gave up: a CANCEL event is due or told */
    bool big;       /* came by lane */
    bool told_cancel, taken;
    uint8_t method_size;
    uint16_t extension_size;
    uint8_t *body; /* cell: method, extension, body */
    uint32_t body_size;
    uint64_t memory; /* big request, complete: given to the application with the event */
    uint64_t memory_size;
    uint8_t pool;     /* credit_kind of the next */
    uint64_t credit;  /* bytes it holds until the handler ended (A4) */
    uint64_t arrived; /* ns */
    uint8_t *answer;  /* cell with the reply's body */
    uint32_t answer_size;
    uint64_t reply_memory; /* SENDING without a transfer yet */
    uint64_t reply_size;
    transfer *receiving, *sending;
} serve;

/* ---- engine.h's verbs ---- */
void serve_reply(engine *e, uint64_t now, const reply_command *command);
void serve_refuse(engine *e, uint64_t now, uint64_t request, status why);
void serve_taken(engine *e, uint64_t now, uint64_t request);

/* ---- asked by others ---- */
void serve_session_ended(engine *e, uint64_t now, session *s);
void serve_expired(engine *e, uint64_t now, serve *v); /* timer: a queued request's deadline */
/* Age of the oldest request the application has not taken (ns, 0: none), and how many. */
uint64_t serve_backlog(const engine *e, uint64_t now, uint32_t *count);
void serve_end_all(engine *e, uint64_t now, status why);
/* The slots of the session may be raised: more than three quarters are in use (C1). */
void serve_consider_grants(engine *e, uint64_t now, session *s);
/* The fence is lifted: what was queued behind it is told (L4). */
void serve_unfence(engine *e, uint64_t now, session *s);
/* A slot for transfers out is free again: waiting replies first, then waiting calls. */
void serve_retry_sending(engine *e, uint64_t now, session *s);

/* ---- messages ---- */
size_t serve_reply_size(engine *e, const message *m);
bool serve_reply_write(engine *e, uint64_t now, session *s, message *m, writer *w);
void serve_reply_acked(engine *e, uint64_t now, session *s, message *m);

/* ---- frames ---- */
applied serve_got_request(engine *e, uint64_t now, session *s, const frame *f);
applied serve_got_cancel(engine *e, uint64_t now, session *s, const frame *f);

/* ---- transfers ---- */
/* Whoever calls serve_offered sets serve.receiving to the transfer; all else about serve.receiving,
 * serve.sending and transfer.serve is set and cleared in here. */

/* False: the slot exists, and there is no cell now in which to note what becomes of its calls. */
bool serve_can_note(engine *e, session *s, uint16_t slot);
/* A big request is offered, and can be noted. The record in state RECEIVING, or NULL: reject with
 * *why; OK in *why with NULL means "a copy, sink it". Call it when a transfer entry is there to
 * carry the word: the sequence is burnt by a rejection. */
serve *serve_offered(engine *e, uint64_t now, session *s, const frame *f, status *why);
void serve_request_complete(engine *e, uint64_t now, serve *v, uint64_t memory, uint64_t size,
                            uint64_t credit);
void serve_receive_failed(engine *e, uint64_t now, serve *v, status why);
/* The big reply arrived whole, or never will. */
void serve_sent_complete(engine *e, uint64_t now, serve *v);
void serve_send_failed(engine *e, uint64_t now, serve *v, status why);

/* Fills the REQUEST or CANCEL event of a request taken off the telling list; false: nothing to tell
 * after all (its deadline has passed, its session is fenced). */
bool serve_tell(engine *e, uint64_t now, serve *v, event *out);

#endif
