/* hello.h - "how do two nodes that share a cluster key become a session?"
 *
 *      dialler                                            acceptor
 *   hello_write_first  --- message 1, padded --->  hello_check_first   (one HMAC: any flood)
 *                                                  hello_read_first    (no X25519 yet)
 *   hello_read_second  <-- message 2, padded ----  hello_write_second  (two X25519)
 *   hello_split                                    hello_split
 *
 * Both are the same bytes over UDP and TCP. Little endian, sizes in bytes:
 *
 *   message 1   kind 0x11:1 version:1 pattern:1 zero:1 | dialler's session:8
 *               check:16 | size:2 | body:size | zeros up to the padded size
 *   message 2   kind 0x12:1 version:1 pattern:1 zero:1 | dialler's session:8 acceptor's session:8
 *               check:16 | size:2 | body:size | zeros up to the padded size
 *
 *   pattern 1 (NNpsk0)   check = HMAC-SHA256-128 under a key made from the cluster key, over all of
 *                        the message but itself and the zeros; body = Noise message. The header of
 *                        message 1 is the prologue; the header of message 2 stands once more at
 *                        the beginning of its sealed payload.
 *   pattern 0 (plain)    check = CRC32C of the same, then 12 zeros; body = payload (K11)
 *
 * Pattern 2 is free for node identities (XXpsk3, K12). No application bytes ride here (K5): the
 * payload is parameters and the offered or chosen cipher.
 *
 * Traps. A replayed message 1 passes every check in this file: the payload must hold what tells it
 * from a new one (K4: incarnation and counter). Message 2 must not be larger than message 1 was.
 * Whatever fails is dropped without a byte of answer; the verdict is for the counters. */
#ifndef RUDP_SEAL_HELLO_H
#define RUDP_SEAL_HELLO_H

#include "seal/noise.h"

#define HELLO_FIRST       0x11
#define HELLO_SECOND      0x12
#define HELLO_VERSION_NOW 1
#define HELLO_ROOM        1200 /* both messages fill a full packet over UDP (P10) */

enum { HELLO_PATTERN_PLAIN = 0, HELLO_PATTERN_NNPSK0 = 1 };

#define HELLO_CHECK         16
#define HELLO_FIRST_IDS     12 /* header of message 1 up to the check */
#define HELLO_SECOND_IDS    20 /* header of message 2 up to the check */
#define HELLO_FIRST_HEADER  (HELLO_FIRST_IDS + HELLO_CHECK + 2)
#define HELLO_SECOND_HEADER (HELLO_SECOND_IDS + HELLO_CHECK + 2)

/* What a payload may hold in both patterns when the message is padded to HELLO_ROOM. */
#define HELLO_FIRST_PAYLOAD_MAX (HELLO_ROOM - HELLO_FIRST_HEADER - NOISE_OVERHEAD)
#define HELLO_SECOND_PAYLOAD_MAX                                                                   \
    (HELLO_ROOM - HELLO_SECOND_HEADER - HELLO_SECOND_IDS - NOISE_OVERHEAD)

/* The cluster keys a node knows (K9): dials with key[offered], accepts both. Wipe with
 * hello_keys_set(keys, NULL, NULL). */
typedef struct {
    uint8_t count;   /* 0 = plaintext */
    uint8_t offered; /* which one message 1 is made with */
    uint8_t key[2][AEAD_KEY];
    uint8_t check[2][AEAD_KEY];
    uint64_t name[2]; /* tells keys apart without showing them; never 0 */
} hello_keys;

/* Key 0 is the one offered. NULL for none; both NULL is plaintext. */
void hello_keys_set(hello_keys *keys, const uint8_t *key0_or_null, const uint8_t *key1_or_null);

/* Whether a session made with the key of this name may go on (K9). Plaintext has the name 0. */
bool hello_keys_hold(const hello_keys *keys, uint64_t name);

/* What the dialler keeps between the messages, and the acceptor from message 1 to the split. */
typedef struct {
    noise noise;
    uint8_t check[AEAD_KEY];
    uint64_t session_dialler, session_acceptor;
    uint64_t key_name; /* of the cluster key in use, 0 in plaintext */
    uint8_t pattern;
} hello_state;

typedef enum {
    HELLO_OK,
    HELLO_MALFORMED,  /* not a message of this kind at all */
    HELLO_VERSION,    /* a version we do not speak; not verified either */
    HELLO_UNVERIFIED, /* wrong key or mode, or altered on the way */
} hello_verdict;

/* Keys of a session. Plaintext has no secrets: send and receive then hold the session id of who
 * receives, lane holds both, and they only make packets of other sessions fail their checksum. */
typedef struct {
    uint8_t send[AEAD_KEY], receive[AEAD_KEY];
    uint8_t lane[AEAD_KEY]; /* all lane keys are derived from it (M4) */
} session_secrets;

/* Message 1 of exactly `room` bytes (at most HELLO_ROOM). 0 if the payload does not fit. `entropy`
 * is used once: 32 fresh bytes for every call (K2). */
size_t hello_write_first(hello_state *h, const hello_keys *keys, const uint8_t entropy[32],
                         uint64_t session, const uint8_t *payload, size_t size, uint8_t *out,
                         size_t room);

/* The cheap check: form, version, HMAC under at most two keys. No public-key operation (K4). */
hello_verdict hello_check_first(const hello_keys *keys, const uint8_t *in, size_t size);

/* Does the cheap check itself, then opens the message; `payload` has room for HELLO_ROOM bytes.
 * `session` is the dialler's, where the answer goes. Opening takes no X25519, answering two. */
hello_verdict hello_read_first(hello_state *h, const hello_keys *keys, const uint8_t *in,
                               size_t size, uint64_t *session, uint8_t *payload,
                               size_t *payload_size);

/* Message 2 of exactly `room` bytes, after hello_read_first on the same state. 0 if the payload
 * does not fit or the dialler's key is of the kind that gives everyone the same secret. */
size_t hello_write_second(hello_state *h, const uint8_t entropy[32], uint64_t session_dialler,
                          uint64_t session_acceptor, const uint8_t *payload, size_t size,
                          uint8_t *out, size_t room);

/* Anything but HELLO_OK leaves `h` as it was: the genuine answer may still come. */
hello_verdict hello_read_second(hello_state *h, const hello_keys *keys, const uint8_t *in,
                                size_t size, uint64_t *session_acceptor, uint8_t *payload,
                                size_t *payload_size);

/* The session's keys, once message 2 was written or read. Wipe `h` afterwards. */
void hello_split(hello_state *h, bool dialler, session_secrets *out);

void hello_wipe(hello_state *h);

#endif
