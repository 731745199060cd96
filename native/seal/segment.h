/* segment.h - "what stands on a bulk lane, and who believes it?"
 *
 *   a lane, one direction:   segment 0        segment 1              segment 2
 *                           [head|body|tag]  [head|body........|tag] [head] ...
 *                             48    n   16
 *
 *   head   kind:1 flags:1 slot:2 sequence:4 | offset:8 | length:4 zero:4 | zero:8    encrypted
 *          tag:16
 *   body   length bytes, encrypted, then trailer:16; nothing at all if length is 0
 *
 * T10: head k is sealed with nonce 2k and body k with 2k+1, so no length is believed before its tag
 * verified, and nothing can be left out, repeated or moved. Every lane and direction has a key of
 * its own (K1, M4) and whoever runs the lane owns the counter; no lock is needed. A lane is in
 * order, so a key change is a mark (SEGMENT_RATCHET) in the last segment before it: every 64 GiB,
 * both sides count (K7).
 *
 * In plaintext the tags are CRC32C and 12 zeros, seeded with a value derived like the key, so a
 * segment of another lane fails. On a direct lane, whose ends are known to be in one kernel with
 * nobody between them, the sum of a body leaves the body out: as for the loopback device itself,
 * which sums nothing, the way is a copy in memory. Heads and places are checked all the same.
 *
 * Bodies are never gathered in one buffer: sealing goes from the application's memory (untouched)
 * to a scratch buffer, opening happens in place, piece by piece as bytes arrive and are in the
 * cache. Trap: memory is final only when segment_open_finish has said true. Any false means the
 * lane is lost: drop it and open another (never the session). */
#ifndef RUDP_SEAL_SEGMENT_H
#define RUDP_SEAL_SEGMENT_H

#include "seal/aead.h"

#define SEGMENT_FIELDS  32
#define SEGMENT_HEADER  (SEGMENT_FIELDS + AEAD_TAG)
#define SEGMENT_TRAILER AEAD_TAG
#define SEGMENT_NONCE   16

/* This segment is the last under its key. Set and checked here; callers leave it alone. */
#define SEGMENT_RATCHET       0x80
#define SEGMENT_RATCHET_BYTES (UINT64_C(64) << 30)

/* Its transfer was offered as eager: it may come before the OFFER (A1). */
#define SEGMENT_EAGER 0x01

enum { SEGMENT_DATA = 1, SEGMENT_OFFER = 2 };

typedef struct {
    uint8_t kind, flags;
    uint16_t slot;     /* of the transfer */
    uint32_t sequence; /* of the transfer in its slot */
    uint64_t offset;
    uint32_t length; /* of the body */
} segment;

/* One direction of one lane. Holds a context of libcrypto once used: end with lane_cipher_wipe. */
typedef struct {
    aead_context context;
    uint8_t key[AEAD_KEY];
    uint64_t counter;       /* heads so far; head k has nonce 2k */
    uint64_t bytes;         /* bodies under this key */
    uint64_t ratchet_bytes; /* SEGMENT_RATCHET_BYTES; tests set less, on both sides */
    uint64_t body_left;     /* bytes of the present body still to come */
    uint32_t crc;           /* of the present body, in plaintext */
    uint8_t kind;           /* cipher */
    bool ratchet;           /* the next head is sealed under the next key */
    bool body_open;         /* between begin and finish */
    bool direct;            /* plaintext: bodies are not summed; false unless set after the start */
} lane_cipher;

/* `nonce_dialler` and `nonce_acceptor` are of the lane's hello and welcome (M4). Start one of these
 * for each direction; only the writer of a direction seals with it, only the reader opens. */
void lane_cipher_start(lane_cipher *c, cipher kind, const uint8_t lane_secret[AEAD_KEY],
                       uint32_t lane, const uint8_t nonce_dialler[SEGMENT_NONCE],
                       const uint8_t nonce_acceptor[SEGMENT_NONCE], bool from_dialler);
void lane_cipher_wipe(lane_cipher *c);

/* What a segment with a body of this length takes on the wire, header and trailer included. */
static inline uint64_t segment_wire_size(uint32_t length)
{
    return SEGMENT_HEADER + (length ? (uint64_t)length + SEGMENT_TRAILER : 0);
}

void segment_protect_header(lane_cipher *c, const segment *s, uint8_t out[SEGMENT_HEADER]);
bool segment_open_header(lane_cipher *c, const uint8_t in[SEGMENT_HEADER], segment *out);

/* The body of the header just made or read; not called at all for length 0. The pieces must add up
 * to its length. Sealing copies from `in` to `out` (may be the same); in plaintext `out` may be
 * NULL: the bytes are only summed, and sent from where they are. */
void segment_seal_update(lane_cipher *c, const uint8_t *in, uint8_t *out, size_t size);
void segment_seal_finish(lane_cipher *c, uint8_t trailer[SEGMENT_TRAILER]);
void segment_open_update(lane_cipher *c, uint8_t *inout, size_t size);
bool segment_open_finish(lane_cipher *c, const uint8_t trailer[SEGMENT_TRAILER]);

#endif
