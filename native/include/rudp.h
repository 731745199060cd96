/* rudp.h - the whole C surface: everything Python can ask of the core, in some twenty functions.
 *
 *      Python thread                                 C thread of the node
 *   +-----------------+      submission ring      +------------------------+
 *   | rudp_call       | ------------------------> | lanes: bytes in and out|
 *   | rudp_reply ...  |                           | stands by: runs turns  |
 *   |                 |   +-----------------+     | only while nobody else |
 *   | rudp_turn ----------> engine, locked  <-------  does (Rule 4)        |
 *   | reads events    | <-- event ring      |     +------------------------+
 *   +-----------------+   +-----------------+
 *
 * Names. A function that may block ends in _wait; only those release the GIL (Rule 1), all others
 * are bounded and wait for no lock (Rule 2), a turn a millisecond at most. No function calls back
 * into Python.
 *
 * Ownership, in four sentences. Bytes passed to rudp_call and rudp_reply are copied before the call
 * returns. Memory named by rudp_memory_new is the core's until the RELEASED event with its token
 * arrives, or rudp_close_wait returns. What an event points to is the caller's until the event is
 * counted as taken by the next rudp_turn (or rudp_taken). Received memory (event.memory) is the
 * caller's until rudp_release, and outlives the node.
 *
 * Results. 0 or a count is success; a negative number is one of the RUDP_ codes below. After a
 * fork every function answers RUDP_FORKED in the child, before it touches any lock.
 *
 * The region between the two marker lines is what cffi reads, so it holds declarations only. */
#ifndef RUDP_INCLUDE_RUDP_H
#define RUDP_INCLUDE_RUDP_H

#include <stddef.h>
#include <stdint.h>

/* cffi begin */
#define RUDP_FORKED  -1 /* this process is a fork of the one that opened the node */
#define RUDP_CLOSED  -2 /* the node is closed or closing */
#define RUDP_BROKEN  -3 /* the core stopped after a broken invariant (E10) */
#define RUDP_FULL    -4 /* the submission ring or a table is full: nothing was taken */
#define RUDP_TIMEOUT -5 /* the wait ended without result */
#define RUDP_SIGNAL  -6 /* a signal arrived: check signals, call again (Rule 17) */
#define RUDP_INVALID -7 /* an argument is out of range: handle in use, too long a method ... */
#define RUDP_MEMORY  -8 /* no memory */
#define RUDP_SYSTEM  -9 /* a system call failed; the error text says which */

#define RUDP_EVENTS       1024 /* entries of the event ring, a power of two */
#define RUDP_PACKET_BODY  1125 /* bytes of method, extension and body that still fit one packet */
#define RUDP_PACKET_REPLY 1131 /* bytes of a reply's body that still fit one packet */
#define RUDP_METHOD_MAX   255  /* bytes of a method's name */
#define RUDP_TIMEOUT_MAX  1000000000000000 /* us, of a call: 31 years, and 1e9 s as a double */
#define RUDP_UNKNOWN      4294967295

/* An address: IPv4 in the first four bytes of ip. */
typedef struct {
    uint8_t ip[16];
    uint32_t scope;
    uint16_t port;
    uint8_t family; /* 4 or 6 */
    uint8_t unused;
} rudp_address;

/* What a node is opened with. Zero in a limit means the default of engine/config.h. */
typedef struct {
    rudp_address listen;      /* port 0: the system picks one, the same for UDP and TCP */
    const uint8_t *key;       /* 32 bytes: offered and accepted; NULL: plaintext */
    const uint8_t *other_key; /* 32 bytes: accepted too (K9); NULL: none */
    uint64_t max_message;     /* bytes */
    uint64_t request_credit;  /* bytes */
    uint64_t reply_credit;    /* bytes */
    uint64_t arena;           /* bytes */
    uint64_t lost_after_us;   /* silence after which a watched peer is lost */
    uint32_t calls;           /* calls in flight */
    uint32_t serves;          /* requests queued, running or with a reply kept */
    uint32_t peers;
    uint8_t no_udp, no_tcp; /* for networks that block one of them, and for tests (M1, M5) */
    uint8_t cipher;         /* 0: best of both; 1 AES-256-GCM, 2 ChaCha20-Poly1305 only */
    uint8_t no_direct;      /* plaintext: checksums also where nobody is between (io/witness.h) */
} rudp_options;

typedef struct rudp_node rudp_node;
typedef struct rudp_memory rudp_memory;

/* One thing that happened, 64 bytes, read by Python with one struct format. STRANGER (a handshake
 * came that does not verify, told at most every 10 s): id, deadline and offset are the 24 bytes of
 * the rudp_address it came from. */
typedef struct {
    uint8_t kind;    /* RUDP_DONE ... */
    uint8_t status;  /* DONE: how it ended; PEER: the reason (wire/status.h) */
    uint8_t outcome; /* DONE: 0 did not run, 1 unknown, 2 ran */
    uint8_t state;   /* PEER: 0 idle 1 dialling 2 up 3 suspect 4 lost */
    uint8_t flags;   /* PEER: 1 same life, 2 stalled */
    uint8_t method_size;
    uint16_t extension_size;
    uint32_t peer;
    uint32_t unused;
    uint64_t id;       /* DONE: handle; REQUEST, CANCEL: request; RELEASED: the memory's token */
    uint64_t deadline; /* REQUEST: microseconds left, counted from when the event was made */
    uint64_t offset;   /* of method, extension, body in the arena (when memory is 0, all three) */
    uint64_t size;     /* bytes of the body */
    uint64_t memory;   /* address of received memory, 0: the body lies in the arena */
    uint64_t made;     /* microseconds, node's clock: when the event was made */
} rudp_event;

#define RUDP_DONE     1
#define RUDP_REQUEST  2
#define RUDP_CANCEL   3
#define RUDP_PEER     4
#define RUDP_STRANGER 5
#define RUDP_RELEASED 6
#define RUDP_STOPPED  7 /* the core stopped (E10): every open call has been ended */

/* ---- life ---- */

/* Opens the sockets, starts the C thread. On failure *error holds a sentence. */
int rudp_open_wait(const rudp_options *options, rudp_node **node, char *error, size_t error_size);
/* Delivers what was accepted for at most timeout_us, then ends the rest; frees the node. taken: as
 * of rudp_turn; the memory of events read is the reader's, that of all others goes back.
 * RUDP_UNKNOWN: whatever the reader was told of counts as read. */
int rudp_close_wait(rudp_node *node, uint32_t taken, uint64_t timeout_us);
/* In a forked child: closes the copied descriptors, nothing else. */
int rudp_forget(rudp_node *node);
void rudp_listening(rudp_node *node, rudp_address *address);
/* The one descriptor to wait on: readable when a turn is due (Rule 11). */
int rudp_descriptor(rudp_node *node);
/* Memory to map once: the event ring and the arena. */
rudp_event *rudp_events(rudp_node *node);
uint8_t *rudp_arena(rudp_node *node, size_t *size);
/* Who will run turns from now on: 1 a loop, 0 nobody (the C thread drives at once, Rule 5). */
int rudp_driver(rudp_node *node, int loop);

/* ---- turns ---- */

/* One turn: take in, let the engine decide, send out; bounded. taken: events consumed since the
 * last turn. queued: requests the application holds and has not begun (L9). Returns how many
 * events are ready to be read after those taken. */
int rudp_turn(rudp_node *node, uint32_t taken, uint32_t queued);
/* For a reader who found nothing and expects something at once: looks again for at most most_us,
 * yielding the CPU, if that has paid lately (Rule 15). Keeps the GIL. */
int rudp_linger(rudp_node *node, uint32_t most_us);
/* The same for a blocking dispatcher: waits until there are events. */
int rudp_events_wait(rudp_node *node, uint32_t taken, uint32_t queued, uint64_t timeout_us);

/* ---- calls ---- */

/* Peer by address; names are resolved by the caller. Returns its id (> 0). */
int64_t rudp_peer_wait(rudp_node *node, const rudp_address *address);
int rudp_watch(rudp_node *node, uint32_t peer, int watch);

/* handle: index below options.calls, generation above bit 24, chosen by the caller. owner: 0 the
 * result comes as an event in the ring, 1 it waits for rudp_call_wait. Exactly one DONE follows
 * unless the result is negative. method + extension + body fit RUDP_PACKET_BODY. Nothing leaves
 * before the next turn (asyncio flushes once per tick). */
int rudp_call(rudp_node *node, uint64_t handle, uint32_t peer, int owner, uint64_t timeout_us,
              const char *method, size_t method_size, const char *body, size_t size);
/* The same with memory of any size. The memory is the core's even when the result is negative. */
int rudp_call_memory(rudp_node *node, uint64_t handle, uint32_t peer, int owner,
                     uint64_t timeout_us, const char *method, size_t method_size,
                     rudp_memory *memory);
int rudp_cancel(rudp_node *node, uint64_t handle);
/* Blocks until the call (owner 1) is done; runs turns itself, one leader at a time (Rule 16). */
int rudp_call_wait(rudp_node *node, uint64_t handle, rudp_event *done, uint64_t timeout_us);
/* The blocking caller has copied what done pointed to. */
int rudp_taken(rudp_node *node, uint64_t handle);

int rudp_reply(rudp_node *node, uint64_t request, int status, const char *body, size_t size);
int rudp_reply_memory(rudp_node *node, uint64_t request, int status, rudp_memory *memory);
int rudp_refuse(rudp_node *node, uint64_t request, int status);

/* ---- memory ---- */

/* A message made of parts, sent as one range of bytes. The parts stay where they are. token comes
 * back in RELEASED; NULL: no memory. */
rudp_memory *rudp_memory_new(uint64_t token, uint32_t count, void *const *parts,
                             const size_t *sizes);
/* Received memory is given back. From any thread, also after the node is closed. */
void rudp_release(void *memory);

/* ---- looking in (may wait for the engine's lock) ---- */

typedef struct {
    uint8_t state, stalled, path, reason;
    uint32_t calls, lanes, stuck; /* stuck: handlers that do not end though we gave up (C3) */
    uint64_t incarnation, rtt_us, rtt_variance_us, stalled_us, stuck_us, sent, lost;
    int64_t clock_offset_us;
    rudp_address remote;
} rudp_peer_view;

int rudp_peer_view_wait(rudp_node *node, uint32_t peer, rudp_peer_view *out);
/* Copies up to count numbers, in the order of rudp_counter_name; returns how many there are. */
int rudp_counters_wait(rudp_node *node, uint64_t *out, uint32_t count);
const char *rudp_counter_name(uint32_t index); /* NULL past the last */
/* Copies the newest entries of the trace ring as 40-byte records, oldest first. */
int rudp_trace_wait(rudp_node *node, uint8_t *out, size_t size);
const char *rudp_trace_name(uint32_t kind);
/* New cluster keys (K9); other may be NULL. */
int rudp_rotate_wait(rudp_node *node, const uint8_t *key, const uint8_t *other);

const char *rudp_status_name(uint32_t status); /* "DEADLINE" */
const char *rudp_status_text(uint32_t status);
const char *rudp_code_text(int code);
/* cffi end */

#endif
