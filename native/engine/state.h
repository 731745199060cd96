/* state.h - the engine's own struct: every table and list, and where each lies in memory.
 *
 * engine_init cuts one block into these, nothing grows afterwards. Tables are touched lazily: a
 * page that no session ever used stays untouched. Included by the engine's .c files only. */
#ifndef RUDP_ENGINE_STATE_H
#define RUDP_ENGINE_STATE_H

#include "base/cells.h"
#include "base/map.h"
#include "base/random.h"
#include "base/slots.h"
#include "base/timers.h"
#include "engine/call.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/peer.h"
#include "engine/serve.h"
#include "engine/transfer.h"
#include "seal/aead_cache.h"

/* timer.kind: whose it is. engine.c routes by a table. */
typedef enum {
    TIMER_SESSION_LOSS,
    TIMER_SESSION_ACK,
    TIMER_SESSION_PACE,
    TIMER_SESSION_LIFE,
    TIMER_PEER_DIAL,
    TIMER_CALL,
    TIMER_SERVE,
    TIMER_TRANSFER,
    TIMER_CONNECTION,
    TIMER_KINDS,
} timer_kind;

#define ENTROPY_ROOM 32u /* handshakes' worth of fresh bytes kept */

/* What a handshake over UDP waits to send: message 2 has no session queue (K4, K5). */
typedef struct {
    list_link at;
    path to;
    uint16_t size;
    uint8_t *bytes; /* cell */
} answer;

#define ANSWERS 64u

typedef struct {
    uint64_t limit, used;
    list_link line; /* transfers waiting, first come first served (A2) */
} credit_pool;

/* Which memory a received message counts against. The first two are what it waits for (A3). */
typedef enum { CREDIT_REQUESTS, CREDIT_REPLIES, CREDIT_EAGER, CREDIT_POOLS } credit_kind;

struct engine {
    config config;
    hello_keys keys;
    random_source random;
    uint64_t now;            /* latest seen; time never goes back (L5) */
    uint64_t packet_sent_at; /* ns, our clock: when the packet being applied left (C8) */
    uint64_t incarnation;
    uint64_t counter; /* of our message 1s (K4) */
    uint64_t ranks;   /* sessions dialled so far (S6) */
    uint64_t kernel_drops;
    uint64_t small_at;    /* ns: a call that was small both ways was last answered; 0: never */
    uint64_t progress_at; /* ns: the application last took events; 0: never */
    uint32_t progress_queued;
    uint32_t hellos_left; /* public-key operations left in this turn (K6) */
    uint32_t batch;       /* rises with each input, for bounds per turn */
    unsigned wanted;      /* action kinds the loop can take in this engine_next */
    bool draining, closed;
    uint64_t probe_tokens, probe_tokens_at; /* L2: probes per second */

    timers timers;
    cells cells;
    uint8_t *arena;
    aead_cache aead;
    seal_limits seal_limits;

    session *sessions;
    slots session_slots;
    list_link live;      /* sessions that are neither FREE nor HALF_OPEN */
    list_link half_open; /* oldest first */
    uint32_t half_open_count;
    list_link sending; /* sessions with something to send */
    map incarnations;  /* incarnation -> session index that takes new messages */
    map gone;          /* incarnation -> place in gone_counters (K4) */
    uint64_t *gone_counters;
    uint64_t *gone_keys;
    uint32_t gone_next;

    peer *peers;
    slots peer_slots;
    map peer_addresses; /* address digest -> peer index */
    list_link telling_peers;

    call *calls;
    slots call_slots;
    uint32_t calls_room; /* entries: more than config.calls, for slots still held (C3) */
    uint32_t *handles;   /* handle index -> call index + 1 */
    list_link telling_calls;
    uint32_t calls_held;   /* entries whose wire is not NONE (C3) */
    uint32_t retry_tenths; /* Rule 10: tenths of a retry that the budget still allows */
    uint64_t retry_filled; /* ns: when the budget was last topped up */

    serve *serves;
    slots serve_slots;
    list_link telling_serves;
    list_link orphans;
    list_link waiting_serves; /* not yet taken by the application, oldest first */
    uint32_t serves_waiting;  /* length of that list */

    transfer *transfers;
    slots transfer_slots;
    list_link leaving; /* transfers whose session is gone but whose operations are not */
    list_link allocs;  /* transfers with an ALLOC due, by `waiting` */
    bool coming;       /* an eager message was announced, and none has come since */
    uint32_t transfers_held[2][2]; /* entries in use: [1] of senders, [1] of replies (A3) */
    bool transfers_short;          /* a sender found no entry and must be told when there is one */
    credit_pool pools[CREDIT_POOLS];
    uint64_t eager_promised; /* bytes, the sum of sessions' eager_told: at most that pool's limit */
    uint64_t *releases; /* memory handles to RELEASE, a stack with room for every one possible */
    uint32_t release_count, release_room;

    connection *connections;
    slots connection_slots;
    list_link acting;
    list_link strangers;
    uint32_t stranger_count;

    record *records;
    uint32_t *free_records; /* stack of indexes */
    uint32_t free_record_count;
    uint32_t fresh_records; /* entries never used yet: taken in order, so memory stays untouched */

    answer answers[ANSWERS];
    list_link answers_due, answers_free;

    address stranger; /* who sent a handshake that does not verify (K10); family 0: nobody */
    uint64_t stranger_told;

    uint8_t entropy[ENTROPY_ROOM][ENGINE_ENTROPY];
    uint32_t entropy_count;

    counters counters;
    trace trace;
};

/* The first step of each verb that is told the time; what it is, never earlier than before. */
uint64_t engine_enter(engine *e, uint64_t now);

/* Draws the fresh bytes for one handshake; false: there are none, do without it now (K2). */
bool engine_draw_entropy(engine *e, uint8_t out[ENGINE_ENTROPY]);

static inline void engine_drop(engine *e, uint64_t now, drop why, uint32_t session_index)
{
    e->counters.dropped[why]++;
    trace_add(&e->trace, now, TRACE_PACKET_DROPPED, session_index)->detail = (uint32_t)why;
}

#endif
