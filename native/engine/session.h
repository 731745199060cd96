/* session.h - what do two incarnations share since one handshake between them?
 *
 *   dialler                                   acceptor
 *   DIALLING   --- message 1 --->             (nothing)
 *              <-- message 2 ---              HALF_OPEN     5 s
 *   UNCONFIRMED  6 s
 *              --- first packet ---->         UP
 *   UP         <-- first packet back ---
 *   UP or DRAINING ... (S6) ... TOMBSTONE 30 s (S7) ... FREE
 *
 * Everything on the wire is found by session id, chosen by the receiver of the packet (S1):
 *
 *     bits 0-15 index | 16-25 generation | 26-27 attempt | 28-31 shard, 0 | 32-63 random
 *
 * A session ends for good (S2). The next one, with the same incarnation or another, starts with
 * fresh keys and slots and inherits no call. */
#ifndef RUDP_ENGINE_SESSION_H
#define RUDP_ENGINE_SESSION_H

#include "base/address.h"
#include "base/list.h"
#include "base/timers.h"
#include "engine/acks.h"
#include "engine/age.h"
#include "engine/applied.h"
#include "engine/message.h"
#include "engine/rtt.h"
#include "engine/slot_table.h"
#include "engine/window.h"
#include "seal/seal.h"
#include "wire/frame.h"
#include "wire/parameters.h"
#include "wire/status.h"

typedef struct engine engine;
typedef struct peer peer;
typedef struct record record;

typedef enum {
    SESSION_FREE,
    SESSION_DIALLING,
    SESSION_HALF_OPEN,
    SESSION_UNCONFIRMED,
    SESSION_UP,
    SESSION_DRAINING,
    SESSION_TOMBSTONE,
    SESSION_STATES,
} session_state;

/* Session-level frames that are due, as bits: a record remembers which it carried. */
typedef enum {
    CONTROL_PROBE = 1,
    CONTROL_PONG = 2,
    CONTROL_CHALLENGE = 4,
    CONTROL_RESPONSE = 8,
    CONTROL_CLOSE = 16,
    CONTROL_GRANTS = 32,
    CONTROL_DRAIN = 64,
    CONTROL_ASK_0 = 128, /* LANE_ASK of class 0, 1, 2 */
    CONTROL_ASK_1 = 256,
    CONTROL_ASK_2 = 512,
    CONTROL_PARK = 1024,
    CONTROL_CONFIRM = 2048, /* nothing but "answer me": an empty, eliciting packet (S5) */
    /* These are said again when the packet that carried them is lost. */
    CONTROL_RELIABLE = CONTROL_GRANTS | CONTROL_DRAIN | CONTROL_ASK_0 | CONTROL_ASK_1 |
        CONTROL_ASK_2 | CONTROL_PARK | CONTROL_CONFIRM,
    /* These leave though the window is full or the peer silent (P6, P8). */
    CONTROL_EXEMPT = CONTROL_PROBE | CONTROL_PONG | CONTROL_CHALLENGE | CONTROL_RESPONSE |
        CONTROL_CLOSE,
} control;

typedef enum { PATH_NONE, PATH_UDP, PATH_LANE0 } path_kind;

/* Liveness (L1, L2): silence is counted from the send time of the newest packet answered. */
typedef struct {
    uint64_t proof;  /* ns: send time of my newest acknowledged packet, or a later floor */
    uint64_t probed; /* ns: when the last probe left */
    uint64_t fence;  /* ns: nothing starts until a packet sent after this is answered; 0 (L4) */
    uint64_t judge_after; /* ns: no `lost` before this (L3) */
    uint64_t stalled;     /* ns: end of our last own stall */
    uint32_t unanswered;  /* probes since proof */
    uint32_t refused;     /* probes in a row that the peer's host refused (P11) */
    uint64_t refused_at;  /* ns: the last of these */
    uint64_t heard;       /* ns: the last packet that verified */
    uint64_t soon;        /* ns: a probe out of turn, 0: none (L6) */
    uint64_t doubted_at;  /* ns: the last fresh handshake beside this session (S3) */
    uint32_t soon_left;   /* such probes still to go */
    bool watched;
    bool suspect;
} pulse;

typedef struct {
    address local, remote;
} path;

/* S8: a move that is being tried, either way. Rare, so it lives in a cell, not in each session. */
typedef struct {
    path candidate;     /* family 0: none */
    uint64_t token;     /* of the challenge */
    uint64_t token_due; /* ns: when the challenge is given up */
    uint32_t got, sent; /* bytes from and to the candidate */
    path response_to;
    uint64_t response; /* token to send back */
} detour;

/* S8, M2: where packets go. */
typedef struct {
    path now;
    detour *detour;       /* NULL: nothing was ever tried */
    uint64_t udp_since;   /* ns: of the present mode */
    uint64_t udp_tried;   /* ns: last full-size UDP probe while on lane 0 */
    uint64_t full_proved; /* ns: when the newest full packet left that was answered over UDP */
    uint16_t udp_answers; /* in a row */
    uint8_t mode;         /* path_kind of ordinary packets */
    bool lane0_doubted;   /* probes over lane 0 stayed without an answer */
    bool narrow;          /* it swallows large packets, as far as we know (P10) */
    bool full_asked;      /* a probe of full size is to tell whether it is narrow */
    bool pong_by_udp;     /* a probe came that way: it is answered that way, too */
    uint8_t large_lost;   /* large packets lost since one as large was answered (P10) */
    uint16_t large_least; /* bytes: the smallest of these */
    bool test_small;      /* the last test of UDP was: they take turns while lane 0 is doubted */
    uint32_t put_at;      /* ms: when lane 0 got what it has shown no answer for; 0: nothing */
} route;

#define LANE_CLASSES 3u /* 0 packets, 1 messages up to 1 MiB, 2 larger */

typedef struct session {
    list_link listed;         /* among the engine's live sessions */
    list_link sending;        /* among those with something to send */
    list_link peers;          /* the application's peers that this session serves */
    list_link dialling_peers; /* those for whom this dial is made */
    uint32_t index;
    uint8_t state;
    bool dialler;
    bool ours_drained, theirs_drained; /* S6 */
    uint8_t reason;                    /* status: why it ended */
    bool quiet;                        /* P6: three PTOs without an answer, only probes fly */
    bool handshake_tcp;                /* a hello goes over TCP too in this dial (M2) */
    bool hello_due;                    /* dialling: a message 1 should leave over UDP */
    uint8_t refusals;                  /* dialling: times the host refused (P11) */
    uint8_t cipher;
    bool beat_known;       /* theirs_drops was told */
    uint8_t attempt;       /* dialling: which of the hello states is newest */
    uint32_t theirs_drops; /* datagrams its kernel dropped, by its last beat (P8) */
    uint16_t theirs_port;  /* on which the peer says it listens (S4) */
    uint64_t id, peer_id;
    address dialled; /* where message 1 went, if we dialled: known to work (M3) */
    uint64_t incarnation;
    uint64_t began; /* ns: created, then confirmed, then ended */
    uint64_t rank;  /* counter of the message 1 that made it: which is newer (S6) */
    uint64_t theirs_max_message;
    uint64_t theirs_max_ack_delay, theirs_lost_after; /* ns */
    uint8_t *hello;                                   /* cell with the hello states of a dial */
    struct session *doubts; /* dialling: the session that this dial was made to ask about (S3) */
    struct session *doubted_by; /* the other end of that */

    seal seal;
    uint8_t lane_secret[AEAD_KEY];
    uint64_t key_name; /* of the cluster key (K9) */

    route route;
    acks acks;
    rtt rtt;
    window window;
    age age;
    pulse pulse;
    list_link records; /* packets sent, oldest first */
    list_link queues[QUEUES];
    uint32_t queued;     /* messages in them */
    uint32_t served_low; /* P9: packets since the last class had its place */
    uint32_t controls;   /* control bits due */
    uint32_t pto_count;  /* in a row */
    uint32_t reorder;    /* packets: loss threshold, 3 to 64 (P5) */
    uint32_t serving;    /* length of the list serves: the peer's share (A5) */
    uint64_t largest_acked;
    uint64_t last_answer;    /* ns: when the last new acknowledgement came */
    uint64_t eliciting_sent; /* ns: when the last packet that asks for one left */
    uint64_t pace_from;      /* ns: when the pacer's burst began (P8) */
    uint32_t pace_sent;      /* bytes in it */
    uint32_t pong_sent_us;
    uint64_t pong_number;   /* of the probe to answer */
    uint64_t pong_got;      /* ns */
    uint64_t stalled_since; /* ns, 0: not (L9) */
    int64_t clock_offset_us;
    uint64_t packets_sent, packets_lost; /* of this session */

    timer loss; /* loss or PTO */
    timer ack;
    timer pace; /* probes and liveness */
    timer life; /* dial retry, half-open, drain, tombstone; one at a time */

    slot_table call_slots;                     /* as caller */
    slot_table answer_slots;                   /* as answerer */
    slot_table sends;                          /* transfers out */
    slot_table receives;                       /* transfers in */
    uint16_t granted_calls, granted_transfers; /* what we last told the peer to use */
    uint32_t eager_told;                       /* bytes we promised to take at once (A1) */
    uint32_t eager_theirs;                     /* bytes the peer promised to take at once ... */
    uint32_t eager_out;                        /* ... and those of them in use */
    list_link calls;                           /* calls that hold a slot here */
    list_link serves;
    list_link transfers;
    uint32_t lanes[LANE_CLASSES];      /* connection id per class, 0: none */
    uint32_t next_lane;                /* number of the next lane to open */
    uint64_t asked_lane[LANE_CLASSES]; /* ns: when LANE_ASK last left */
    uint32_t lane_failures;            /* attempts in a row (M5) */
    uint32_t lanes_stalled;            /* lanes that died in a row without progress (T8) */
    uint64_t lane_failing_since, lane_next_attempt; /* ns */
    uint16_t segment_size;        /* TCP_MAXSEG for the next bulk lane, 0: the system's (T8) */
    bool asked_small;             /* the peer's last LANE_ASK said that its path is narrow */
    bool parked_by_peer;          /* lane 0's end was announced (M1) */
    uint16_t contender, contends; /* index + 1: S6, see session_proved; 0: none */
    uint64_t contended;           /* ns: a proof of life since then settles it */
    uint64_t watched_since;
    uint64_t interest_at; /* ns: somebody was last seen to have interest */
} session;

/* A packet that left and is not yet accounted for. */
struct record {
    list_link in_session;
    list_link carried; /* messages whose newest copy this packet is */
    uint64_t number;
    uint64_t sent;     /* ns */
    uint16_t size;     /* bytes on the wire */
    uint16_t controls; /* control bits it carried */
    uint8_t path;      /* path_kind */
    bool eliciting;
    bool given_up;      /* lost or timed out; kept to notice a late acknowledgement */
    bool declared_lost; /* by later acknowledgements, so the window was cut (P5) */
    bool flying;        /* counted in window.flying */
    uint32_t index;
};

/* ---- session.c ---- */

/* The session has been answered: if a newer one contends with it (S6), that one is not needed. */
void session_proved(engine *e, uint64_t now, session *s, uint64_t sent);

/* A new session in the given state with a fresh id; NULL: table full. */
session *session_new(engine *e, uint64_t now, session_state state, bool dialler);
session *session_find(engine *e, uint64_t id); /* by our id, exact; attempt bits ignored */
bool session_live(const session *s);           /* UNCONFIRMED, UP or DRAINING */
bool session_takes_new(const session *s);      /* new messages may be queued on it */
/* The keys are known: packets may flow. */
void session_keyed(engine *e, uint64_t now, session *s, const session_secrets *secrets,
                   const parameters *theirs);
/* The first packet opened: it counts from now on, S6 chooses. */
void session_confirm(engine *e, uint64_t now, session *s);
/* Ends it: outcomes, events, tombstone. say: a CLOSE(reason) leaves first. */
void session_end(engine *e, uint64_t now, session *s, status reason, bool say);
void session_drain(engine *e, uint64_t now, session *s);
/* Something ended or was taken: closes a drained session that is empty. */
void session_maybe_empty(engine *e, uint64_t now, session *s);
void session_expired(engine *e, uint64_t now, session *s); /* timer life */
/* Gives the struct back without words: dial given up, half-open expired, tombstone over. */
void session_free(engine *e, uint64_t now, session *s);

/* Somebody waits for something of it, or wants to be told of its fate (L8). */
bool session_interesting(const session *s);
/* Interest may have begun: the session is watched from now on. */
void session_watch(engine *e, uint64_t now, session *s);

#endif
