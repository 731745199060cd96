/* config.h - every limit of the engine: its name, unit, default and place.
 *
 * The defaults are section 0 of the design's hard points. The simulator runs with tiny tables, so
 * that full ones happen in every run. config_valid() names the first field out of range. */
#ifndef RUDP_ENGINE_CONFIG_H
#define RUDP_ENGINE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    /* Tables: entries. Memory is reserved for all of them and touched when used. */
    uint32_t sessions;       /* also tombstones and half-open handshakes; at most 65,535 */
    uint32_t peers;          /* addresses and nodes known to the application */
    uint32_t calls;          /* outgoing calls of this node in flight */
    uint32_t serves;         /* incoming calls queued, running or with a reply kept */
    uint32_t transfers;      /* messages on lanes, both directions together */
    uint32_t connections;    /* TCP connections */
    uint32_t records;        /* packets sent and not yet accounted for */
    uint32_t gone;           /* incarnations remembered after their session (K4) */
    uint64_t arena;          /* bytes for small messages (A5) */
    uint64_t request_credit; /* bytes of big requests being received or not yet handled (A1, A3) */
    uint64_t reply_credit;   /* bytes of big replies likewise */
    uint64_t eager_credit;   /* bytes of all promises to take messages at once (A1); 0: none */
    uint32_t eager_share;    /* bytes of one session's: also the largest such message, 256 KiB */
    uint64_t max_message;    /* bytes of one message, in or out (A1) */

    /* Slots per session (C1). */
    uint16_t call_slots, call_slots_max;         /* 64, 4096 */
    uint16_t transfer_slots, transfer_slots_max; /* 8, 256 */

    /* Time: nanoseconds. */
    uint64_t max_ack_delay;                /* 25 ms */
    uint64_t pto_initial;                  /* 200 ms, until there is a sample */
    uint64_t pto_max;                      /* 1 s */
    uint64_t probe_after;                  /* 1 s of silence, watched */
    uint64_t probe_repeat;                 /* 150 ms, or the PTO if longer */
    uint64_t suspect_after;                /* 2 s, watched */
    uint64_t lost_after;                   /* 4 s, watched */
    uint64_t parked_probe_after;           /* 5 s */
    uint64_t parked_suspect_after;         /* 7 s */
    uint64_t parked_lost_after;            /* 9 s */
    uint64_t hello_retry, hello_retry_max; /* 250 ms doubling to 1 s */
    uint64_t tcp_dial_after;               /* 250 ms without an answer over UDP (M2) */
    uint64_t half_open;                    /* 5 s: acceptor's unconfirmed session */
    uint64_t unconfirmed;                  /* 6 s: dialler's; longer than half_open (S5) */
    uint64_t tombstone;                    /* 30 s (S7) */
    uint64_t drain_max;                    /* 30 s (S6) */
    uint64_t lane_welcome;                 /* 1 s */
    uint64_t lane_progress; /* 2 s without a position while probes are answered (T7), or without an
                               answer to a dial (M2) */
    uint64_t lane_retry;    /* 5 s between attempts while no lane can be made (M5) */
    uint64_t lane0_park;    /* 60 s (M1) */
    uint64_t stranger_life; /* 5 s: connection that has not authenticated (M4) */
    uint64_t own_stall;     /* 200 ms: a later turn is our own stall (L3) */
    uint64_t watch_lane0;   /* 50 ms watched: open lane 0 (L6) */

    /* Packets. */
    uint32_t window_initial;           /* 16 full packets */
    uint32_t window_max;               /* 512 full packets */
    uint32_t segment_min, segment_max; /* bytes: 16 KiB, 1 MiB; up to a sixteenth more (T9) */
    uint32_t probes_per_second;        /* 20,000 per node (L2) */
    uint32_t strangers;                /* unauthenticated connections: 256 */
    uint32_t hellos_per_turn;          /* public-key operations: 8 (K6) */
    uint32_t hellos_waiting;           /* 1,024 */
    uint64_t rekey_packets;            /* 2^24 (K7) */
    uint64_t rekey_after;              /* 1 h */
    uint16_t port;                     /* on which this node listens; 0: nowhere */
    bool tcp;                          /* lanes may be used at all */
    bool udp;                          /* UDP may be used at all (tests of M1 switch it off) */
    uint8_t ciphers;                   /* bit per cipher offered; CIPHER_PLAIN only without a key */
} config;

/* Defaults for a real node. */
config config_default(void);

/* Tiny tables for tests: 4 call slots, 3 peers, windows of 8. */
config config_tiny(void);

/* NULL, or the name of the first field that is out of its range. */
const char *config_fault(const config *c);

#endif
