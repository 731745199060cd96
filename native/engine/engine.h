/* engine.h - the protocol, as a pure machine: what happened goes in, what to do comes out.
 *
 *   what happened                                    what to do
 *   engine_datagrams   packets came over UDP         SEND     this packet, from here, to there
 *   engine_bytes       bytes on a connection in      PUT      these bytes on a connection
 *                      packet mode
 *   engine_connection  opened, broke, accepted       OPEN     a TCP connection
 *   engine_segment     a verified segment header     SHUT     it
 *                      on a bulk lane                BULK     a connection became a bulk lane
 *   engine_done        a WRITE, READ or ALLOC ended  WRITE    one segment from this memory
 *   engine_call ...    the application's commands    READ     one segment's body into this memory
 *   engine_tick        time passed                   ALLOC    memory of this length
 *                                                    RELEASE  memory is the application's again
 *   engine_deadline -> when engine_tick is due       EVENT    for the application
 *
 * The contract
 *   - Every verb that can change anything takes now (ns, never decreasing: L5). The engine reads no
 *     clock, draws no randomness but from the seed, makes no system call, never allocates.
 *   - Feed one input or one batch, then call engine_next until it returns false. Actions are made
 *     on demand into the caller's struct and buffer, nothing is queued here that can overflow.
 *     `wanted` says which kinds the loop can take now: a loop whose socket is full leaves out SEND
 *     and asks again later (E3). What is not taken stays due.
 *   - WRITE, READ and ALLOC carry a token and stay outstanding until engine_done reports it, late
 *     and in any order (E2). Memory named by a WRITE or READ is the loop's until then (T5).
 *   - Payload of bulk lanes never passes through here: the engine owns positions.
 *   - Memory is an opaque 64-bit handle of the loop's: of a message to send (a list of buffers seen
 *     as one range of bytes), or of memory that ALLOC returned. 0 is no memory (READ: a sink).
 *   - Results do not depend on how inputs are batched (E5).
 *
 * Ids. The application chooses its call handles: index (low 24 bits, below config.calls) and a
 * generation above them that it changes on each reuse, so that anything late addresses nobody.
 * Requests, peers and connections are named by ids of the engine's that work the same way. */
#ifndef RUDP_ENGINE_ENGINE_H
#define RUDP_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/time.h"
#include "engine/config.h"
#include "engine/counters.h"
#include "engine/trace.h"
#include "seal/hello.h"
#include "seal/segment.h"
#include "wire/packet.h"
#include "wire/status.h"

typedef struct engine engine;

#define ENGINE_SEED    32u /* bytes */
#define ENGINE_ENTROPY 32u /* bytes of fresh kernel randomness per handshake (K2) */
#define ENGINE_BATCH   64u /* datagrams per input, packets and timers per turn (E6) */
#define RECORD_PREFIX  2u  /* bytes of length before a packet on a connection */
#define ACTION_BUFFER  (PACKET_BUDGET + RECORD_PREFIX) /* what engine_next may write */

/* ---- life ---- */

/* Bytes of memory the engine needs for this configuration; engine_init uses exactly that. */
size_t engine_size(const config *c);
engine *engine_init(void *memory, const config *c, const hello_keys *keys,
                    const uint8_t seed[ENGINE_SEED], uint64_t now);

/* libcrypto's contexts are the only thing to give back. */
void engine_free(engine *e);

/* Fresh bytes for one handshake each. The loop keeps engine_entropy_room() at 0. */
uint32_t engine_entropy_room(const engine *e);
void engine_entropy(engine *e, const uint8_t bytes[ENGINE_ENTROPY]);

/* The cluster keys changed (K9): the offered one is used for new dials; sessions made under a key
 * that is no longer known end. Every live session is dialled anew under the offered key. */
void engine_rotate(engine *e, uint64_t now, const hello_keys *keys);

/* ---- the network ---- */

typedef struct {
    address local, remote; /* local.family 0: not known */
    uint8_t *bytes;        /* opened in place: contents are lost */
    size_t size;
} datagram;

/* kernel_drops: datagrams the own kernel has dropped in all (SO_RXQ_OVFL). */
void engine_datagrams(engine *e, uint64_t now, const datagram *batch, size_t count,
                      uint64_t kernel_drops);

/* What the kernel said about a datagram we sent: hints, never proof (P11). */
typedef enum { SEND_REFUSED, SEND_UNREACHABLE, SEND_TOO_BIG } send_fault;
void engine_send_failed(engine *e, uint64_t now, const address *remote, send_fault fault);

typedef enum {
    CONNECTION_OPENED,  /* an OPEN succeeded */
    CONNECTION_REFUSED, /* an OPEN failed: actively refused */
    CONNECTION_TIMEOUT, /* an OPEN failed: no answer */
    CONNECTION_ENDED,   /* end of stream: the peer closed */
    CONNECTION_BROKE,   /* reset, timeout, or any other error */
    CONNECTION_GONE,    /* after SHUT, or after any of the three above: closed, nothing follows */
} connection_news;

/* Somebody connected. 0: refused, the loop closes it (M4). */
uint32_t engine_accept(engine *e, uint64_t now, const address *local, const address *remote);
/* What only the two ends of this connection know, if they are in one kernel and nobody is between
 * them (io/witness.h); not 0. Told before CONNECTION_OPENED or right after engine_accept, or never:
 * then it is not known. Lanes on which both are told the same are direct (seal/segment.h). */
void engine_witness(engine *e, uint32_t connection, uint64_t witness);
/* After CONNECTION_GONE the id is forgotten; its WRITEs and READs must be reported before. */
void engine_connection(engine *e, uint64_t now, uint32_t connection, connection_news news);

/* How many bytes of a connection in packet mode may be read and given to engine_bytes now; 0: none
 * at present. Exact until the lane is established, so that nothing of a lane's first segment is
 * swallowed. */
size_t engine_room(const engine *e, uint32_t connection);
void engine_bytes(engine *e, uint64_t now, uint32_t connection, uint8_t *bytes, size_t size);

/* Bytes given by PUT that the kernel has not taken yet; the engine gives no more above 64 KiB. */
void engine_unsent(engine *e, uint32_t connection, size_t bytes);

/* A segment's header was read and verified on a bulk lane. Exactly one READ for its body follows
 * (at once, or when memory or an older READ lets it), or a SHUT. */
void engine_segment(engine *e, uint64_t now, uint32_t connection, const segment *s);

typedef enum {
    DONE_OK,
    DONE_FAILED,  /* the connection broke, or there is no memory */
    DONE_CORRUPT, /* READ: the body's tag does not verify (T10) */
} done_result;

/* token: from the action. memory: of an ALLOC that succeeded. */
void engine_done(engine *e, uint64_t now, uint64_t token, done_result result, uint64_t memory);

/* ---- the application ---- */

/* Finds or makes the peer at an address. 0: no room in the table. Cheap; sends nothing. */
uint32_t engine_peer(engine *e, uint64_t now, const address *remote);
/* watch: someone wants to be told of the peer's fate; dials if need be and keeps it watched. */
void engine_peer_watch(engine *e, uint64_t now, uint32_t peer, bool watch);

typedef struct {
    uint64_t handle; /* the application's, see above */
    uint32_t peer;
    uint8_t owner;     /* given back in the event: which ring or waiter (E9) */
    uint64_t deadline; /* ns, engine's clock */
    const uint8_t *method;
    uint8_t method_size;
    const uint8_t *extension;
    uint16_t extension_size;
    const uint8_t *body; /* copied before the verb returns; NULL when memory is given */
    size_t size;         /* of the body, or of the memory */
    uint64_t memory;     /* of a message too big for body; the engine RELEASEs it exactly once */
    bool notify_sent;    /* reserved */
} call_command;

/* Bytes of method, extension and body that still ride in a packet; beyond it memory is needed. */
#define REQUEST_ROOM (PACKET_ROOM - 17u)
#define REPLY_ROOM   (PACKET_ROOM - 11u)

/* Always ends in exactly one DONE event for the handle, and soon if it cannot be sent. Returns
 * false only when the handle is in use or out of range: then nothing was taken and no event comes
 * (a mistake of the caller's). A handle whose DONE event was made may be used again at once, with
 * another generation: that says the event was taken. Body bytes must fit REQUEST_ROOM, else use
 * memory. */
bool engine_call(engine *e, uint64_t now, const call_command *command);
/* The caller lost interest: a DONE event (CANCELLED) comes at once if the call was still open. */
void engine_cancel(engine *e, uint64_t now, uint64_t handle);
/* The application has taken the DONE event and copied the body: cell or credit are free again. */
void engine_taken(engine *e, uint64_t now, uint64_t handle);

typedef struct {
    uint64_t request;    /* from the REQUEST event */
    uint8_t status;      /* OK or EXCEPTION: it ran. CANCELLED: ran, but its caller had gone */
    const uint8_t *body; /* copied; NULL when memory is given */
    size_t size;
    uint64_t memory; /* RELEASEd exactly once, even if the request is long gone */
} reply_command;

void engine_reply(engine *e, uint64_t now, const reply_command *command);
/* The request never started and never will: DEADLINE, CANCELLED, NO_METHOD, BAD_REQUEST, BUSY. */
void engine_refuse(engine *e, uint64_t now, uint64_t request, status why);
/* The application copied the REQUEST event's bytes: its cell is free (A5). Credit comes back with
 * the reply (A4). */
void engine_request_taken(engine *e, uint64_t now, uint64_t request);

/* The application took events just now (L9); queued: requests it holds without having begun. */
void engine_progress(engine *e, uint64_t now, uint32_t queued);

/* When a call whose request and reply rode in packets was last answered, here or by the peer; 0:
 * never. Who moves bulk may take its time when nobody makes such calls. */
uint64_t engine_small_at(const engine *e);

/* True if a message was announced whose bytes left together with the announcement (A1) and are not
 * here: they are worth a look, and a moment's wait, once. engine_waited: that was it. */
bool engine_coming(const engine *e);
void engine_waited(engine *e);

/* No new calls in or out; what was accepted is finished. engine_idle says when it is. */
void engine_drain(engine *e, uint64_t now);
bool engine_idle(const engine *e);
/* CLOSE to everybody, all calls end NODE_CLOSED. */
void engine_close(engine *e, uint64_t now);

/* ---- what to do ---- */

typedef enum {
    ACTION_SEND = 1,
    ACTION_PUT = 2,
    ACTION_OPEN = 4,
    ACTION_SHUT = 8,
    ACTION_BULK = 16,
    ACTION_WRITE = 32,
    ACTION_READ = 64,
    ACTION_ALLOC = 128,
    ACTION_RELEASE = 256,
    ACTION_EVENT = 512,
    ACTION_ALL = 1023,
} action_kind;

typedef enum { EVENT_DONE = 1, EVENT_REQUEST, EVENT_CANCEL, EVENT_PEER, EVENT_STRANGER } event_kind;

typedef enum { PEER_IDLE, PEER_DIALLING, PEER_UP, PEER_SUSPECT, PEER_LOST } peer_state;

typedef struct {
    event_kind kind;
    uint8_t status;  /* DONE: how it ended. PEER: the reason */
    uint8_t outcome; /* DONE: what is known of the handler */
    uint8_t owner;   /* DONE: from the command */
    uint8_t state;   /* PEER: peer_state */
    bool same_life;  /* PEER up again: same incarnation as before (S2) */
    bool stalled;    /* PEER: its application does not answer (L9) */
    uint8_t method_size;
    uint16_t extension_size;
    uint32_t peer;
    uint64_t id;           /* DONE, CANCEL of a call: handle. REQUEST, CANCEL: request */
    uint64_t deadline;     /* REQUEST: ns, this node's clock */
    const uint8_t *method; /* REQUEST; followed by extension, then body when memory is 0 */
    const uint8_t *body;
    uint64_t size;   /* of the body, or of the memory */
    uint64_t memory; /* the body came by lane: now the application's to release */
    address remote;  /* PEER, STRANGER */
} event;

typedef struct {
    action_kind kind;
    uint32_t connection;   /* PUT, OPEN, SHUT, BULK, WRITE, READ */
    uint64_t token;        /* WRITE, READ, ALLOC */
    uint64_t memory;       /* WRITE, READ, RELEASE */
    uint64_t length;       /* ALLOC */
    segment segment;       /* WRITE, READ: offset and length name the range of the memory */
    address local, remote; /* SEND, OPEN */
    const uint8_t *bytes;  /* SEND, PUT: in the caller's buffer */
    size_t size;
    uint16_t segment_size; /* OPEN: TCP_MAXSEG to set before connecting, 0: the system's (T8) */
    uint8_t lane_class;    /* OPEN, BULK: 0 packets, 1 small messages, 2 large */
    lane_cipher *send, *receive; /* BULK: copy them; the engine wipes its own */
    event event;
} action;

/* Makes the next action among the wanted kinds (a mask of action_kind); false when there is none.
 * An EVENT's pointers stay valid until engine_taken or engine_request_taken. */
bool engine_next(engine *e, uint64_t now, unsigned wanted, action *out,
                 uint8_t buffer[ACTION_BUFFER]);

/* Time passed: at most 64 expiries per call (E5); engine_deadline stays in the past until done. */
void engine_tick(engine *e, uint64_t now);
uint64_t engine_deadline(const engine *e);

/* ---- looking in ---- */

typedef struct {
    uint8_t state; /* peer_state */
    bool stalled;
    uint8_t path;         /* 0 none, 1 UDP, 2 lane 0 */
    uint8_t reason;       /* status of the last end */
    uint32_t calls;       /* open calls to it */
    uint32_t lanes;       /* bulk lanes up */
    uint32_t stuck;       /* handlers there that do not end though we gave up on them (C3), now or
                             when the last session ended */
    uint64_t stuck_since; /* ns: the oldest of these */
    uint64_t incarnation;
    uint64_t rtt; /* smoothed, ns; 0: no sample */
    uint64_t rtt_variance;
    uint64_t stalled_since;  /* ns of this clock, 0: not stalled */
    uint64_t sent, lost;     /* packets of the present session */
    int64_t clock_offset_us; /* its clock minus ours */
    address remote;
} peer_view;

bool engine_peer_view(const engine *e, uint64_t now, uint32_t peer, peer_view *out);
const counters *engine_counters(const engine *e);
const trace *engine_trace(const engine *e);

/* Where small messages lie: an EVENT's method and body point in here. */
uint8_t *engine_arena(engine *e, size_t *size);
/* Slabs of it that are idle may be given back to the system, one per call (A6). */
bool engine_idle_slab(engine *e, uint8_t **bytes);

/* Q6: every table, cell, credit and slot is free (sessions aside). */
bool engine_all_free(const engine *e);

#endif
