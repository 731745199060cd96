/* machine.h - what may a cell of a state table say beside the next state?
 *
 *                event ->   fed by a peer      fed by ourselves
 *     state A               B, or STAY         B, or NEVER
 *
 * Two laws that a test checks on every table: a column fed by a peer contains no NEVER, because no
 * packet may stop us; a column fed by ourselves contains no STAY, because no mistake of ours may
 * pass in silence. */
#ifndef RUDP_ENGINE_MACHINE_H
#define RUDP_ENGINE_MACHINE_H

#include "base/ensure.h"

#include <stdint.h>

#define NEVER 254u /* our own mistake */
#define STAY  255u /* legal, and changes nothing */

/* The state after a cell of the table was looked up. */
static inline uint8_t machine_next(uint8_t state, uint8_t cell)
{
    ENSURE(cell != NEVER);
    return cell == STAY ? state : cell;
}

#endif
