/* packet.h - what do the bytes of one packet say, before and after it is opened?
 *
 *   datagram, or record on lane 0                                     bytes
 *   +------+----------+------------+---------------+----------------------+-----+
 *   | kind | reserved | session id | packet number | sealed ...           | tag |
 *   |  1   |    1     |     8      |       8       |                      | 4/16|
 *   +------+----------+------------+---------------+----------------------+-----+
 *                                                  | prologue 24 | frames |
 *
 *   kind      0x2e: high nibble 2 = packet of a session; e = two epoch bits (K7), two zero bits.
 *             0x11 and 0x12 are the handshake's two messages (seal/hello.h). First nibble 1 is
 *             version 1 of the handshake; packets need no version, their session fixed it.
 *   session   chosen by the receiver of the packet (S1)
 *   number    never sent twice under one session; also the nonce (P1, K1)
 *   prologue  send time (us, 32 bits, sender's clock: C8), then what the sender has received:
 *             largest number, bitmap of the 64 numbers below it, delay of the largest (P1)
 *
 * All integers are little endian. A packet never exceeds PACKET_BUDGET bytes on the wire.
 * The trap: the prologue acknowledges nothing when ack_largest is 0; numbers start at 1. */
#ifndef RUDP_WIRE_PACKET_H
#define RUDP_WIRE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define PACKET_BUDGET   1200u /* bytes of a UDP payload, headers and tag included */
#define PACKET_HEADER   18u   /* bytes in the clear, authenticated */
#define PACKET_PROLOGUE 24u   /* bytes at the start of the sealed part */
#define PACKET_KIND     0x20u /* high nibble of a session's packet */
#define PACKET_TAG_MAX  16u   /* bytes of the longest tag */
/* Room for frames in one packet, whichever cipher: 1142 bytes. */
#define PACKET_ROOM (PACKET_BUDGET - PACKET_HEADER - PACKET_PROLOGUE - PACKET_TAG_MAX)

typedef struct {
    uint8_t epoch;    /* 0 to 3 */
    uint64_t session; /* receiver's */
    uint64_t number;
} packet_header;

typedef struct {
    uint32_t sent_us;      /* sender's clock, microseconds, wraps */
    uint32_t ack_delay_us; /* between the arrival of ack_largest and this packet's making */
    uint64_t ack_largest;  /* 0: nothing received yet */
    uint64_t ack_bits;     /* bit i: number ack_largest - 1 - i was received */
} packet_prologue;

/* False when the bytes are not a session packet; nothing is verified yet. */
bool packet_header_read(const uint8_t *bytes, size_t size, packet_header *out);
void packet_header_write(uint8_t out[PACKET_HEADER], const packet_header *header);

/* The prologue is written last, when the packet leaves: its acknowledgements are then newest. */
bool packet_prologue_read(reader *r, packet_prologue *out);
void packet_prologue_write(uint8_t out[PACKET_PROLOGUE], const packet_prologue *prologue);

/* True when ack acknowledges number. */
bool packet_acknowledges(const packet_prologue *ack, uint64_t number);

#endif
