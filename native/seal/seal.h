/* seal.h - "is this packet genuine, new, and ours?", and how to make one that is.
 *
 *     packet:  [ header, authenticated | body, encrypted in place | tag ]
 *               0               header                header+size   +seal_tag_size
 *
 *   numbers    1, 2, 3 ... one counter per direction is also the nonce; rekeying or moving to
 *              another path never resets it, so no (key, nonce) pair ever repeats (K1)
 *
 *   window     late <-| highest-2047 ........ highest |-> new       K8: moves only after the tag
 *                       one bit each: seen or not
 *
 *   epochs     each direction changes keys on its own, the lowest two bits ride in the header
 *
 *              sender    epoch 4 ---- 2^24 packets or 1 h, and one of them acknowledged ---- 5
 *              receiver  [3: until retired] [4: current] [5: derived when a packet says so]
 *
 *   A key is the HMAC of the one before, so a wiped key cannot be found again. The sender leaves an
 *   epoch only after an acknowledgement of a packet in it: the receiver is then never two behind,
 *   and two bits plus at most one trial of a key per packet are enough (K7).
 *
 * Plaintext (K11) is the same with a tag of four bytes: CRC32C over the receiver's session id, the
 * number, header and body.
 *
 * Trap: after SEAL_TAG the bytes of the packet may be garbage, so what the caller wants to log of a
 * packet it reads before. Nothing else has changed then. */
#ifndef RUDP_SEAL_SEAL_H
#define RUDP_SEAL_SEAL_H

#include "seal/aead_cache.h"
#include "seal/hello.h"

#define SEAL_TAG_MAX 16
#define SEAL_WINDOW  2048

/* K7. Must outlive every seal started with it. */
typedef struct {
    uint64_t packets; /* of one epoch, before the next key is due */
    uint64_t age;     /* nanoseconds, likewise */
    uint64_t keep;    /* nanoseconds the previous receive key lives at least */
} seal_limits;

extern const seal_limits seal_limits_default; /* 2^24 packets, 1 h, 3 s */

typedef struct {
    uint64_t next;    /* number of the next packet to send */
    uint64_t highest; /* highest number that verified, 0 before the first */
    uint64_t window[SEAL_WINDOW / 64];
    uint8_t send[AEAD_KEY];
    uint8_t receive[AEAD_KEY];
    uint8_t previous[AEAD_KEY];
    const seal_limits *limits;
    uint64_t send_since;    /* when the present sending epoch began */
    uint64_t receive_since; /* when the present receiving epoch began */
    uint64_t retire;        /* when to look at the previous key again, UINT64_MAX: there is none */
    uint64_t epoch_first;   /* first number of the present sending epoch */
    uint8_t kind;           /* cipher */
    uint8_t send_epoch;
    uint8_t receive_epoch;
    bool acknowledged; /* a packet of the present sending epoch has been */
    bool stale;        /* `send` is still of the epoch before: the next packet renews it */
    bool held;         /* previous holds a key */
} seal;

typedef enum {
    SEAL_OK,
    SEAL_SHORT,  /* no room for header and tag */
    SEAL_LATE,   /* below the window: older than we can judge */
    SEAL_REPLAY, /* this number was seen */
    SEAL_EPOCH,  /* of an epoch whose key is gone, or that cannot be yet */
    SEAL_TAG,    /* not authentic */
} seal_verdict;

void seal_start(seal *s, cipher kind, const session_secrets *secrets, bool dialler, uint64_t now,
                const seal_limits *limits);

/* 16, or 4 in plaintext. */
size_t seal_tag_size(cipher kind);

/* Draws a number. Each is for one packet; one that is not used is a gap and does no harm. */
uint64_t seal_next_number(seal *s);

/* Of the packets to be sent: two bits for the header, 0 to 3. Changes only inside seal_acknowledged
 * and seal_tick, so a header written before seal_protect stays true. */
uint8_t seal_epoch(const seal *s);

/* Seals packet[header, header + size) in place and appends the tag; returns the whole size. */
size_t seal_protect(seal *s, aead_cache *cache, uint8_t *packet, size_t header, size_t size,
                    uint64_t number);

/* `size` is the whole packet. SEAL_OK: the body stands at packet + header, `plain` bytes of it. */
seal_verdict seal_open(seal *s, aead_cache *cache, uint8_t *packet, size_t header, size_t size,
                       uint64_t number, uint8_t epoch, uint64_t now, size_t *plain);

/* The peer has acknowledged this packet: the next epoch may start, and does if it is due. */
void seal_acknowledged(seal *s, uint64_t number, uint64_t now);

/* Starts an epoch that is due by age; wipes the previous receive key `keep_previous` (3 PTO, at
 * least limits->keep) after it was replaced. */
void seal_tick(seal *s, uint64_t now, uint64_t keep_previous);

/* When seal_tick has something to do, UINT64_MAX for never. */
uint64_t seal_deadline(const seal *s);

/* Overwrites everything. A cache may still hold contexts of it: seal_forget first. */
void seal_wipe(seal *s);

/* Drops the contexts keyed with this session's keys from a cache. */
void seal_forget(const seal *s, aead_cache *cache);

#ifdef RUDP_SIMULATION
/* Oracle Q4: told of every (key, nonce) that seals a packet or a part of a lane segment. */
extern void (*seal_nonce_probe)(const uint8_t key[AEAD_KEY], uint64_t nonce);
#endif

#endif
