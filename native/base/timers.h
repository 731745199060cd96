/* timers.h - "what is due, and when must we look again?"
 *
 *              [ 1 ]                       a heap with four children to a node: half as deep as
 *      /      /     \      \               one with two, and the four lie side by side in cache
 *   [ 2 ]  [ 3 ]  [ 4 ]  [ 5 ]
 *   6..9   10..13   ...
 *
 * Timers live inside the things they wake; the heap holds pointers and every timer knows its
 * place, so to arm again or to disarm is a walk of a few levels and never a search. Timers due
 * at the same moment fire in the order in which they were armed: with one seed there is one
 * course of events.
 *
 * The trap: an armed timer must not be moved, copied or freed; disarm it first. A timer of zeros
 * is not armed. */
#ifndef RUDP_BASE_TIMERS_H
#define RUDP_BASE_TIMERS_H

#include "base/time.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t due;   /* the moment, nanoseconds; valid while armed */
    uint64_t order; /* counts armings, breaks ties */
    uint32_t place; /* place in the heap from 1, 0 while not armed */
    uint8_t kind;   /* the owner's: what it is for; never read here */
} timer;

typedef struct {
    timer **heap;    /* heap[0] is the earliest; place 1 */
    uint32_t count;  /* armed now */
    uint32_t room;   /* armed at most */
    uint64_t orders; /* armings so far */
} timers;

/* memory: room pointers. One more than `room` armed at once is a broken promise. */
void timers_init(timers *t, timer **memory, uint32_t room);

/* Arms the timer or, if it is armed, moves it (to the end of its moment's line). TIME_NEVER
 * disarms it. */
void timer_arm(timers *t, timer *which, uint64_t due);

/* Does nothing if the timer is not armed. */
void timer_disarm(timers *t, timer *which);

static inline bool timer_armed(const timer *which)
{
    return which->place != 0;
}

/* The moment at which timers_take will next have something; TIME_NEVER if nothing is armed. */
static inline uint64_t timers_earliest(const timers *t)
{
    return t->count == 0 ? TIME_NEVER : t->heap[0]->due;
}

/* The earliest timer with due <= now, already disarmed, or NULL. */
timer *timers_take(timers *t, uint64_t now);

#endif
