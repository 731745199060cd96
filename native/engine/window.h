/* window.h - how much may be under way to one peer over UDP?
 *
 * A window in bytes on the wire (P8). It starts at 16 full packets, never falls below 4, is cut to
 * 0.7 at most once per round trip on declared loss, and grows only while it is what limits us: by
 * what is acknowledged in slow start, by one packet per window after. A resend timer alone cuts
 * nothing, three in a row set the minimum. Acknowledgements, pongs and closes are exempt. */
#ifndef RUDP_ENGINE_WINDOW_H
#define RUDP_ENGINE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define WINDOW_PACKET 1200u /* bytes of a full packet */
#define WINDOW_LEAST  4u    /* full packets */
#define WINDOW_BURST  16u   /* packets in a row when paced (P8) */

typedef struct {
    uint64_t size;       /* bytes */
    uint64_t threshold;  /* bytes; below it slow start */
    uint64_t max;        /* bytes */
    uint64_t flying;     /* bytes sent and neither acknowledged nor given up */
    uint64_t cut_number; /* losses of packets up to this one belong to the last cut */
    uint64_t before_size, before_threshold; /* to undo a cut that was spurious */
    bool limited; /* something had to wait for the window since the last growth */
} window;

static inline void window_init(window *w, uint32_t initial_packets, uint32_t max_packets)
{
    *w = (window){.size = (uint64_t)initial_packets * WINDOW_PACKET,
                  .threshold = UINT64_MAX,
                  .max = (uint64_t)max_packets * WINDOW_PACKET};
}

static inline bool window_open(const window *w, uint64_t bytes)
{
    return w->flying + bytes <= w->size;
}

static inline void window_acked(window *w, uint64_t bytes, uint64_t number)
{
    if (!w->limited || number <= w->cut_number)
        return;
    if (w->size < w->threshold)
        w->size += bytes;
    else
        w->size += (uint64_t)WINDOW_PACKET * bytes / w->size + 1;
    if (w->size > w->max)
        w->size = w->max;
    if (!window_open(w, w->size / 2))
        return;
    w->limited = false;
}

/* A packet was declared lost; next: the number the next packet will have. */
static inline void window_lost(window *w, uint64_t number, uint64_t next)
{
    if (number <= w->cut_number)
        return;
    w->before_size = w->size;
    w->before_threshold = w->threshold;
    w->cut_number = next;
    w->size = w->size * 7 / 10;
    if (w->size < (uint64_t)WINDOW_LEAST * WINDOW_PACKET)
        w->size = (uint64_t)WINDOW_LEAST * WINDOW_PACKET;
    w->threshold = w->size;
}

/* The loss that caused the last cut had not happened (P5). */
static inline void window_undo(window *w, uint64_t number)
{
    if (number > w->cut_number || w->before_size <= w->size)
        return;
    w->size = w->before_size;
    w->threshold = w->before_threshold;
}

static inline void window_collapse(window *w)
{
    w->size = (uint64_t)WINDOW_LEAST * WINDOW_PACKET;
}

#endif
