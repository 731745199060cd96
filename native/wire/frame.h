/* frame.h - what can one packet say, once opened?
 *
 *   +------+--------+----------------+
 *   | type | length |  body          |    type 1 byte, length 2 bytes, little endian
 *   +------+--------+----------------+
 *
 * A packet is a sequence of frames. A type with the high bit set may be skipped by who does not
 * know it; any other unknown type, and any body shorter than its fields, fails the whole packet
 * (hard-points section 14). Fields past the known ones are ignored, so bodies may grow.
 *
 * Types 32 to 47 are reserved for channels (D1 to D5) and 48 for larger budgets.
 *
 * One struct holds any frame; only the fields named at its type are meaningful. Frames are small
 * and short-lived, so the waste of a union not taken is a cache line, and each reader of a frame
 * sees the same names everywhere. */
#ifndef RUDP_WIRE_FRAME_H
#define RUDP_WIRE_FRAME_H

#include "base/bytes.h"

#define FRAME_SKIPPABLE 0x80u
#define FRAME_HEAD      3u /* bytes before a frame's body */

typedef enum {
    FRAME_PROBE = 1,       /* beat: answer at once with a PONG (L1) */
    FRAME_PONG = 2,        /* beat; number: of the probe; sent_us: its send time; held_us */
    FRAME_REQUEST = 3,     /* slot, sequence, remaining_ms, flags, method, extension, body */
    FRAME_REPLY = 4,       /* slot, sequence, status (OK, EXCEPTION, CANCELLED ...), flags, body */
    FRAME_REFUSED = 5,     /* slot, sequence, status: it never ran and never will (C4) */
    FRAME_CANCEL = 6,      /* slot, sequence (C2) */
    FRAME_GRANTS = 7,      /* calls, transfers: slots to use from now on (C1); eager bytes (A1) */
    FRAME_OFFER = 8,       /* transfer slot and sequence, what, slot, sequence, total, ... (A1) */
    FRAME_TRANSFER = 9,    /* receiver's word: slot, sequence, state, status, lane, position (T1) */
    FRAME_QUERY = 10,      /* sender asks for the above; lane: assigned from now on (T3, T4) */
    FRAME_ABANDON = 11,    /* sender gives the transfer up: slot, sequence */
    FRAME_LANE_HELLO = 12, /* lane, nonce: first packet on a TCP connection (M4) */
    FRAME_LANE_WELCOME = 13, /* lane, nonce: its answer */
    FRAME_LANE_ASK = 14,     /* lane class (0, 1 or 2) the acceptor wants opened (M3) */
    FRAME_LANE_GONE = 15,    /* lane: dropped by the sender of this frame */
    FRAME_LANE_PARK = 16,    /* lane 0 is closed on purpose, its end means nothing (M1) */
    FRAME_DRAIN = 17,        /* this side starts nothing new in this session (S6) */
    FRAME_CLOSE = 18,        /* status: the session is over (S7) */
    FRAME_CHALLENGE = 19,    /* token (S8) */
    FRAME_RESPONSE = 20,     /* token */
    FRAME_PADDING = FRAME_SKIPPABLE | 1,
} frame_type;

/* What a transfer carries. */
typedef enum { CARRIES_REQUEST = 1, CARRIES_REPLY = 2 } carries;

#define OFFER_EAGER 1u /* flags of OFFER: its segments follow without waiting for memory (A1) */

/* The receiver's word on a transfer. */
typedef enum {
    TRANSFER_WAITING = 1,  /* known, no memory yet */
    TRANSFER_GRANTED = 2,  /* memory is there; position: where to start */
    TRANSFER_COMPLETE = 3, /* all verified */
    TRANSFER_REJECTED = 4, /* status says why; will not be taken */
    TRANSFER_UNKNOWN = 5,  /* never heard of it: offer again */
    TRANSFER_AGAIN = 6,    /* granted, but what came before that was thrown away (A1) */
} transfer_word;

typedef struct {
    uint32_t idle_ms;   /* since the application last took events; UINT32_MAX: it never did */
    uint32_t oldest_ms; /* age of the oldest request it has not taken */
    uint32_t queued;    /* requests it has not taken */
    uint32_t drops;     /* datagrams dropped by that node's kernel, low 32 bits of the count */
} beat;

typedef struct {
    uint8_t type;
    uint8_t status;
    uint8_t flags;
    uint8_t what;       /* carries, in OFFER */
    uint8_t state;      /* transfer_word, in TRANSFER */
    uint8_t lane_class; /* LANE_ASK; LANE_ASK_SMALL: its path is narrow (T8) */
    uint16_t slot;      /* call slot */
    uint32_t sequence;  /* of the call slot */
    uint16_t transfer_slot;
    uint32_t transfer_sequence;
    uint32_t remaining_ms; /* deadline, counted from the packet's send time (C8) */
    uint32_t lane;
    uint16_t calls; /* GRANTS */
    uint16_t transfers;
    uint32_t eager; /* GRANTS: bytes of big messages that need not wait for memory (A1) */
    uint64_t total; /* bytes of the offered message */
    uint64_t position;
    uint64_t number;  /* PONG: of the probe. CHALLENGE, RESPONSE: the token */
    uint32_t sent_us; /* PONG */
    uint32_t held_us;
    beat beat;
    uint8_t nonce[16];
    const uint8_t *method; /* REQUEST, OFFER of a request; not terminated */
    uint8_t method_size;
    const uint8_t *extension;
    uint16_t extension_size;
    const uint8_t *body; /* REQUEST, REPLY */
    uint32_t body_size;
} frame;

#define LANE_ASK_SMALL 0x80u

typedef enum { FRAME_READ, FRAME_END, FRAME_BAD } frame_result;

/* The next frame; skippable unknown ones are passed over. Pointers aim into the packet. */
frame_result frame_read(reader *r, frame *out);

/* Writes nothing and returns false when the frame does not fit whole. */
bool frame_write(writer *w, const frame *f);

/* Bytes that frame_write would take, header included. */
size_t frame_size(const frame *f);

/* Bytes of a REQUEST or REPLY around method, extension and body, frame header included. */
#define FRAME_REQUEST_OVERHEAD (FRAME_HEAD + 14u)
#define FRAME_REPLY_OVERHEAD   (FRAME_HEAD + 8u)

/* True for frames that ask for an acknowledgement (P3): all but PADDING and CLOSE. */
bool frame_elicits(uint8_t type);

const char *frame_name(uint8_t type);

#endif
