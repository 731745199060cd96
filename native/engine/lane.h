/* lane.h - one TCP connection: whose is it, what may it carry, and is it any good?
 *
 *   dialler:   OPENING --opened--> GREETING (LANE_HELLO sent) --LANE_WELCOME--> PACKETS or BULK
 *   dialling:  OPENING --opened--> HANDSHAKING (message 1) --adopted--> GREETING ...
 *   acceptor:  STRANGER --message 1--> HANDSHAKING --LANE_HELLO--> PACKETS or BULK
 *              STRANGER --LANE_HELLO of a session we know--> (welcome sent) PACKETS or BULK
 *   either:    any --end, error, or dropped by us--> CLOSING --gone--> FREE
 *
 * A connection speaks records until it is a bulk lane: two bytes of length, then the same packet
 * (or handshake message) as in a datagram (M1, M4). Class 0 stays in packet mode for ever; classes
 * 1 and 2 carry segments. Lane numbers rise and are never reused in a session; the number modulo 4
 * is the class, so that a hello need not say it.
 *
 *   session.lanes[class] -> newest connection --older--> ... : up, coming, or bad and to be dropped
 *
 * The trap: no bulk, no payload before the welcome (M4): until then bytes are asked for exactly, so
 * that nothing of a lane's first segment is swallowed. */
#ifndef RUDP_ENGINE_LANE_H
#define RUDP_ENGINE_LANE_H

#include "engine/engine.h"
#include "engine/session.h"
#include "engine/transfer.h"

#define LANE_STEP         4u      /* lane numbers: their remainder is the class */
#define LANE_WRITES       2u      /* WRITEs outstanding per lane; of short messages ... */
#define LANE_SHORT_MOST   32768u  /* ... of so many bytes ... */
#define LANE_WRITES_MOST  16u     /* ... so many, which is bits of write_whole ... */
#define LANE_WRITES_BYTES 131072u /* ... until together they are so long */
#define LANE_MISSED       8u      /* by transfer slot, so that with 8 slots they never collide */
#define LANE_UNSENT_MAX   65536u  /* bytes that wait in lane 0 before packets wait here (M1) */
#define LANE_SMALL        536u    /* TCP_MAXSEG that every path carries: of lane 0, and see T8 */

typedef enum {
    CONNECTION_FREE,
    CONNECTION_OPENING,
    CONNECTION_GREETING,
    CONNECTION_STRANGER,
    CONNECTION_HANDSHAKING, /* message 1 or 2 went over it, no session yet or just keyed */
    CONNECTION_PACKETS,     /* lane 0 */
    CONNECTION_BULK,
    CONNECTION_CLOSING,
    CONNECTION_STATES,
} connection_state;

typedef struct connection {
    list_link acting; /* among those with an OPEN, SHUT, BULK, PUT, READ or WRITE due */
    list_link at;     /* strangers, oldest first */
    list_link turns;  /* transfers with bytes for this bulk lane, oldest first (T9) */
    timer timer;      /* opening, welcome, stranger's life, parking */
    session *session; /* NULL: none yet, or it has been parted from it */
    session *dial;    /* a dial that uses it (M2) */
    uint32_t index;
    uint32_t id;
    uint32_t older; /* id of the next in the session's chain of this class, 0: none */
    uint32_t lane;  /* its number in the session */
    uint8_t state;
    uint8_t lane_class;
    bool ours;             /* we opened it */
    uint16_t segment_size; /* TCP_MAXSEG, if we did; 0: the system's (T8) */
    bool given;            /* OPEN was handed out, so GONE will come */
    bool open_due, shut_due, bulk_due;
    bool hello_due, welcome_due, first_due, second_due; /* records to PUT */
    bool parked;     /* its end was announced: means nothing (M1) */
    bool used;       /* something was sent on it since it was established */
    bool progressed; /* at least one position moved on it, or packet came over it (T8) */
    bool full;       /* bulk: ... by more than one TCP segment takes */
    bool stuck;      /* what it does not carry is its own fault: the peer lives without it (T8) */
    bool bad;        /* no progress: another is being opened in its place (T7) */
    bool counted;    /* among session.lanes_stalled (T8) */
    bool read_due;   /* bulk: a segment header came, READ not yet given */
    bool held;       /* bulk: ... because its OFFER has not come (A1) */
    uint8_t writes;  /* bulk: WRITEs outstanding */
    uint8_t number;  /* bulk: of the next token */
    uint8_t turn;    /* every eighth segment goes to the oldest (T9) */
    address local, remote;
    uint64_t witness; /* engine_witness; 0: none */
    uint8_t nonce_ours[SEGMENT_NONCE], nonce_theirs[SEGMENT_NONCE];
    uint8_t prefix[RECORD_PREFIX];
    uint8_t *record;                  /* cell: a record of which a part has come */
    uint32_t record_size, record_got; /* prefix included in got */
    uint8_t *answer;                  /* cell: message 2 waiting to be PUT */
    uint16_t answer_size;
    uint64_t began;       /* ns: entry taken, then established */
    uint64_t got_bytes;   /* while a stranger */
    uint64_t parked_at;   /* ns: its session was first seen parked, 0: is not */
    uint64_t progress_at; /* ns: a position last moved on it (T7) */
    size_t unsent;
    uint32_t segment_bytes;                  /* present segment size: 2 ms of the lane's rate */
    uint32_t write_length[LANE_WRITES_MOST]; /* of those outstanding, oldest first */
    uint16_t write_whole;                    /* bit per each: is the whole of a message */
    uint64_t write_began;                    /* ns: when there was none before */
    uint64_t write_ended;                    /* ns: the last that was done */
    uint64_t hold_due; /* ns: when that is given up, as the timer knows; 0: not meant by it */
    struct {
        uint32_t sequence; /* 0: none */
        uint16_t slot;
    } missed[LANE_MISSED];     /* transfers of which segments were thrown away before the OFFER */
    segment reading;           /* the header for which a READ is due */
    lane_cipher send, receive; /* until BULK is taken */
} connection;

/* ---- engine.h's verbs ---- */
uint32_t lane_accept(engine *e, uint64_t now, const address *local, const address *remote);
void lane_witness(engine *e, uint32_t id, uint64_t witness);
void lane_news(engine *e, uint64_t now, uint32_t id, connection_news news);
size_t lane_room(const engine *e, uint32_t id);
void lane_bytes(engine *e, uint64_t now, uint32_t id, uint8_t *bytes, size_t size);
void lane_unsent(engine *e, uint32_t id, size_t bytes);
void lane_segment(engine *e, uint64_t now, uint32_t id, const segment *s);
void lane_done(engine *e, uint64_t now, uint64_t token, done_result result, uint64_t memory);

/* ---- asked by others ---- */
connection *lane_by_id(const engine *e, uint32_t id);                         /* NULL: no such */
connection *lane_by_number(const engine *e, const session *s, uint32_t lane); /* NULL: none */
/* The newest good lane of the class that is up; NULL: none. */
connection *lane_usable(const engine *e, const session *s, uint8_t lane_class);
/* Wants a lane of this class: opens or asks for one if none is up or coming. */
void lane_want(engine *e, uint64_t now, session *s, uint8_t lane_class);
/* True when big messages cannot be sent at present; tries again when it is time (M5). */
bool lane_unavailable(engine *e, uint64_t now, session *s);
/* Dial by TCP too (M2): a connection to the address over which message 1 will go; if there is one
 * already, the next message 1 goes over it too. */
void lane_dial(engine *e, uint64_t now, session *s, const address *remote);
/* The dial made its session: the connection becomes its lane 0. connection_id 0: the dial was won
 * over UDP, and the connection that was made for it, if any, is meant. */
void lane_adopt(engine *e, uint64_t now, uint32_t connection_id, session *s);
/* Message 2 (in `bytes`) is to go back over this connection. */
void lane_answer(engine *e, uint64_t now, uint32_t connection_id, const uint8_t *bytes,
                 size_t size);
void lane_drop(engine *e, uint64_t now, connection *c); /* SHUT; transfers move */
/* No progress on it though the peer answers: another is opened, then it is dropped (T7). */
void lane_suspect(engine *e, uint64_t now, connection *c);
/* The path swallows large packets (P10), and full segments too, for all we know: bulk lanes that
 * are up are replaced by some with small ones (T8). */
void lane_narrow(engine *e, uint64_t now, session *s);
/* Lane 0 is silent and small packets are answered over UDP (P10): as above. */
void lane_zero_silent(engine *e, uint64_t now, session *s);
/* All of the session's connections, or of the dial's, are shut. say: a CLOSE leaves over lane 0
 * first, if that is the session's way: UDP may be blocked (L7). */
void lane_session_ended(engine *e, uint64_t now, session *s, bool say);
void lane_expired(engine *e, uint64_t now, connection *c); /* timer */

/* ---- lane 0, for outbox.c ---- */
connection *lane_zero(const engine *e, const session *s); /* NULL: not up */
bool lane_can_put(const engine *e, const session *s);     /* lane 0 is up and takes a packet */
/* A record of so many bytes was PUT. */
void lane_put(connection *c, size_t size);

/* ---- bulk ---- */
/* Makes a transfer wait for its turn on the lane it is assigned to. */
void lane_enlist(engine *e, transfer *t);
void lane_unlist(transfer *t);
/* A position moved on the lane, by so many bytes: it is good. */
void lane_progressed(engine *e, uint64_t now, session *s, uint32_t lane, uint64_t moved);

/* Next action of connections: OPEN, SHUT, BULK, PUT of hellos and answers, READ, WRITE. */
bool lane_next(engine *e, uint64_t now, unsigned wanted, action *out,
               uint8_t buffer[ACTION_BUFFER]);

/* ---- frames; `connection` is where the packet came from, 0: UDP ---- */
applied lane_got_hello(engine *e, uint64_t now, session *s, uint32_t connection_id, const frame *f);
applied lane_got_welcome(engine *e, uint64_t now, session *s, uint32_t connection_id,
                         const frame *f);
applied lane_got_ask(engine *e, uint64_t now, session *s, const frame *f);
applied lane_got_gone(engine *e, uint64_t now, session *s, const frame *f);
applied lane_got_park(engine *e, uint64_t now, session *s, const frame *f);

/* ---- between the files of lanes ---- */

/* What can befall a connection; the table is in lane.c. */
typedef enum {
    HEARD_OPENED_LANE, /* the OPEN of a lane succeeded */
    HEARD_OPENED_DIAL, /* ... of a dial's connection */
    HEARD_FIRST,       /* message 1 that verified */
    HEARD_HELLO_ZERO,  /* LANE_HELLO of class 0 */
    HEARD_HELLO_BULK,
    HEARD_WELCOME_ZERO, /* LANE_WELCOME of class 0 */
    HEARD_WELCOME_BULK,
    HEARD_END, /* refused, timed out, ended, broke */
    DO_OPEN,
    DO_ACCEPT,
    DO_ADOPT,
    DO_DROP,
    DO_FREE,
    CONNECTION_INPUTS,
} connection_input;

void connection_input_apply(connection *c, connection_input input);
connection *connection_new(engine *e, uint64_t now, connection_input how); /* NULL: table full */
void connection_chain(session *s, connection *c); /* becomes the newest of its class */
void connection_act(engine *e, connection *c);    /* may have an action due */
void connection_leave_strangers(engine *e, connection *c);
/* An OPEN or hello failed, or an ASK was in vain (M5). began: when it was tried. */
void connection_attempt_failed(engine *e, uint64_t now, session *s, uint64_t began);
/* Nothing moves on it though something should: one more in a row (T8). */
void connection_stalled(engine *e, session *s, connection *c);
/* Our nonce is to leave now: in plaintext its second half is the witness, if there is one (M4). */
void connection_show_witness(connection *c);
/* The engine's copies of the lane's keys are not needed any more. */
void connection_wipe(connection *c);
bool connection_can_write(const connection *c);
bool connection_write(engine *e, uint64_t now, connection *c, action *out);
bool connection_read(engine *e, uint64_t now, connection *c, action *out);
void connection_hold_over(engine *e, uint64_t now, connection *c); /* timer (A1) */

#endif
