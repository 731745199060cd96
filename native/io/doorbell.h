/* doorbell.h - "how does one thread wake another that waits in epoll or poll?"
 *
 * An eventfd behind a flag, so that a bell that already rings costs no system call. Any thread may
 * ring; one thread answers.
 *
 *   ring                              answer
 *     (what there is to see: stored)    silence the descriptor
 *     flag: false -> true               flag = false
 *     write, only then                  now look what there is to see
 *
 * The first trap is the order in doorbell_answer: with the flag first, a ring between the two lines
 * would be silenced while its flag stays up, and nobody would ever ring again. The second: between
 * its flag and its write a ringer may lose the CPU. The flag must stay up until the write was read;
 * else the descriptor is readable with the flag down, no turn silences it, and epoll returns at
 * once for ever. Who sees the flag early looks twice, no more. All flag operations are sequentially
 * consistent, because what there is to see is another word. */
#ifndef RUDP_IO_DOORBELL_H
#define RUDP_IO_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct {
    int fd;
    atomic_bool rung;
} doorbell;

/* False: no descriptor left. */
static inline bool doorbell_open(doorbell *d)
{
    atomic_init(&d->rung, false);
    d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return d->fd >= 0;
}

static inline void doorbell_ring(doorbell *d)
{
    if (!atomic_exchange(&d->rung, true)) {
        uint64_t one = 1;
        ssize_t written = write(d->fd, &one, sizeof one);
        (void)written; /* an eventfd refuses only at 2^64 - 1, and then it rings already */
    }
}

static inline bool doorbell_rings(const doorbell *d)
{
    return atomic_load(&d->rung);
}

static inline void doorbell_answer(doorbell *d)
{
    uint64_t count;
    if (read(d->fd, &count, sizeof count) == (ssize_t)sizeof count)
        atomic_store(&d->rung, false);
}

#endif
