/* lane_set.h - "which lanes have something to do, and which something to tell?"
 *
 *   hear ---> ready ---> step: bytes move ---> done   commands that are over
 *                                         `--> news   a segment came, or the lane has ended
 *
 * The lanes whose bytes move in one place, and under one lock or by one thread: lanes.h has two
 * such sets. A lane is in one set at a time. */
#ifndef RUDP_IO_LANE_SET_H
#define RUDP_IO_LANE_SET_H

#include "io/lane.h"

typedef struct lane_set {
    int epfd; /* where its lanes are watched */
    list_link all, ready, news, done;
    lane_tools tools;
} lane_set;

/* step: most bytes that a lane moves each way by one lane_set_step. False: no memory. */
bool lane_set_open(lane_set *s, uint32_t step);
/* It has no lanes any more. */
void lane_set_close(lane_set *s);

/* Watched from here on under `data`; one that cannot be has ended. Nothing is known of its socket,
 * so it is tried both ways. */
void lane_set_add(lane_set *s, lane *l, epoll_data_t data);
void lane_set_remove(lane_set *s, lane *l);

/* epoll's events of one of its lanes. */
void lane_set_hear(lane_set *s, lane *l, uint32_t events);
/* READ or WRITE; one that comes too late fails. */
void lane_set_give(lane_set *s, lane_command *c);
void lane_set_shut(lane_set *s, lane *l);

/* Each that is ready moves once, until `most` bytes have moved; the others stay ready. */
void lane_set_step(lane_set *s, uint64_t most);

/* Some lane could go on at once, or there is something to tell. */
bool lane_set_busy(const lane_set *s);
bool lane_set_has_news(const lane_set *s);

#endif
