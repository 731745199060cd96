/* scratch.h - "where are bytes put together or taken apart, for a moment?" In buffers that all
 * lanes of one set borrow from each other: a lane at rest has none. */
#ifndef RUDP_IO_SCRATCH_H
#define RUDP_IO_SCRATCH_H

#include "io/lane.h"

/* LANE_SEALED bytes; NULL: no memory. */
uint8_t *scratch_borrow(lane_tools *tools);
/* From this set or another; may be NULL. */
void scratch_return(lane_tools *tools, uint8_t *scratch);

#endif
