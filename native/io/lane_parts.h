/* lane_parts.h - what lane.c and lane_short.c say to each other. */
#ifndef RUDP_IO_LANE_PARTS_H
#define RUDP_IO_LANE_PARTS_H

#include <sys/types.h>
#include <sys/uio.h>

#include "io/lane.h"

/* ---- lane.c ---- */

void lane_command_finish(lane_command *c, done_result result, lane_tools *tools);
/* One system call; how much it took. A short count means that the socket is full now. */
ssize_t lane_send(lane *l, struct iovec *ranges, uint32_t count);
/* Seals into `out`, or sums where that is NULL; how many bytes, at most LANE_RANGES buffers. */
uint64_t lane_seal_range(lane *l, const lane_command *c, uint64_t from, uint64_t size,
                         uint8_t *out);

/* ---- lane_short.c ---- */

/* Takes the next commands together, if there are several short ones. They are done then. */
bool lane_stage(lane *l, lane_tools *tools);
/* One system call; how much has left. */
size_t lane_write_staged(lane *l, lane_tools *tools);

/* Something came along that has not been looked at. */
bool lane_ahead(const lane *l);
/* Where more than was asked for may come, if short segments are likely. */
bool lane_want_ahead(lane *l, lane_tools *tools, struct iovec *room);
/* So much more came. */
void lane_got_ahead(lane *l, lane_tools *tools, size_t size);
/* What came along, as if it were received now. */
size_t lane_take_ahead(lane *l, lane_tools *tools, const struct iovec *ranges, int count);

/* The lane is over. */
void lane_short_end(lane *l, lane_tools *tools);

#endif
