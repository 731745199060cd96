/* tcp.h - "how is a connection opened so that it does not lie to us for long?"
 *
 * Nothing here blocks. TCP alone notices a dead peer after hours, or never; every connection
 * therefore gives up by itself after `patience` without an acknowledgement, busy or idle (section
 * 4 of the architecture page). It is still not trusted: the engine's own deadlines are shorter.
 *
 * The traps: TCP_MAXSEG bounds both directions only when set before connect (T8). And keepalive's
 * interval and count are set before SO_KEEPALIVE, because switching it on starts the timer with
 * what it finds. */
#ifndef RUDP_IO_TCP_H
#define RUDP_IO_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "io/sockets.h"

enum { TCP_BACKLOG = 4096, TCP_UNSENT = 256 << 10 /* bytes, TCP_NOTSENT_LOWAT (T9) */ };

/* A listening descriptor, or minus an errno with *what naming the call. */
int tcp_listen(const address *listen, const char **what);

/* The next connection, tuned, or minus an errno (EAGAIN: none waits). */
int tcp_accept(int listener, uint64_t patience, address *local, address *remote);

typedef struct {
    address local; /* family 0: whichever */
    address remote;
    uint8_t family;        /* of the node's sockets */
    uint16_t segment_size; /* TCP_MAXSEG, 0: the system's */
    uint64_t patience;     /* ns */
} tcp_dial;

/* A descriptor on which a connection is being made (writable: ask tcp_error), or minus an errno. */
int tcp_connect(const tcp_dial *dial);

/* The two ends of a connection, as this one sees them; false: it is none. */
bool tcp_ends(int fd, address *local, address *remote);

/* What became of a connect, or of the connection: 0 or an errno, once. */
int tcp_error(int fd);

/* Ends it for everybody, also for a forked child that has a copy of the descriptor. */
void tcp_close(int fd);

#endif
