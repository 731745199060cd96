/* serial.h - "which of two numbers that wrap around came first?"
 *
 *            before a <------- a -------> after a
 *   ... a - 2^31 + 1 ... a - 1   a   a + 1 ... a + 2^31 - 1 ...
 *
 * RFC 1982: half of the circle lies before a number and half behind it.
 *
 * The trap: exactly opposite numbers (2^31 apart) have no order. Both questions answer false
 * then, so a peer who sends such a number finds it "not newer" and is dropped. It also follows
 * that this is no order to sort by. */
#ifndef RUDP_BASE_SERIAL_H
#define RUDP_BASE_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

/* True if a comes before b. */
static inline bool serial_before32(uint32_t a, uint32_t b)
{
    uint32_t ahead = b - a;
    return ahead != 0 && ahead < UINT32_C(0x80000000);
}

#endif
