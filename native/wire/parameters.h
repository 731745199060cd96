/* parameters.h - what do two nodes tell each other in the handshake's payloads?
 *
 * The same struct travels in both messages (rules K3, K4, S3, C1): message 1 offers, message 2
 * chooses and answers. It is length-prefixed and read up to the fields known, so later versions
 * may append. Never application bytes (K5). */
#ifndef RUDP_WIRE_PARAMETERS_H
#define RUDP_WIRE_PARAMETERS_H

#include "base/bytes.h"

/* In message 2: what the acceptor knows of the session that message 1 doubts (S3). */
typedef enum { DOUBT_NONE = 0, DOUBT_ALIVE = 1, DOUBT_UNKNOWN = 2 } doubt_verdict;

typedef struct {
    uint64_t incarnation;      /* of the sender */
    uint64_t counter;          /* rises with each message 1 of that incarnation (K4) */
    uint64_t doubted;          /* session id (the acceptor's) in doubt, 0: none */
    uint64_t max_message;      /* bytes the sender accepts in one message */
    uint32_t max_ack_delay_us; /* P3 */
    uint32_t lost_ms;          /* silence after which the sender declares a watched peer lost */
    uint16_t port;             /* on which the sender listens, UDP and TCP; 0: nowhere (S4) */
    uint16_t budget;           /* largest packet the sender takes */
    uint16_t calls;            /* call slots granted to the receiver of this */
    uint16_t transfers;        /* transfer slots granted likewise */
    uint8_t ciphers;           /* message 1: bit per cipher offered. Message 2: the one chosen */
    uint8_t verdict;           /* message 2: doubt_verdict */
} parameters;

#define PARAMETERS_SIZE 52u /* bytes written, prefix included */

void parameters_write(writer *w, const parameters *p);

/* False when cut short. */
bool parameters_read(reader *r, parameters *out);

#endif
