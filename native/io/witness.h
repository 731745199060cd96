/* witness.h - "are both ends of this connection in one kernel, and nobody between them?"
 *
 *   this end                                      the other end
 *   10.0.0.5:41312 -> 10.0.0.5:7400 --- ? ---     10.0.0.5:41312 -> 10.0.0.5:7400
 *   boot b3c1.., network 4117                     boot b3c1.., network 4117
 *              \________ equal: it is one and the same connection ________/
 *
 * In one network namespace of one kernel no two connections have the same two addresses and ports.
 * So if both ends see the same four, in the same namespace, there is one connection, and what is
 * written at one end is copied to the other through this machine's memory: no device, no relay, no
 * tunnel. Each of these makes two connections of one, and they differ in a port, or in the
 * namespace. A program that ends our connection and forges our port on the next (TPROXY) cannot
 * either: the four are taken.
 *
 * The witness is a digest of all that. The ends show it to each other in the lane's greeting; what
 * follows from its being the same, the engine decides (K11). It is no secret and says nothing about
 * who somebody is. A digest, since a host's boot id is nobody's business who is not on it.
 *
 * The trap: two interfaces of one machine that are joined by a cable. The four would be equal, too,
 * and there would be a device. So the two IP addresses must be the same one, or both loopback's:
 * such packets never reach a device. */
#ifndef RUDP_IO_WITNESS_H
#define RUDP_IO_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"

enum { WITNESS_BOOT = 36 /* bytes: a UUID as text */ };

typedef struct {
    uint8_t boot[WITNESS_BOOT]; /* which run of which kernel this is */
    bool known;
} witness_host;

/* Nothing is known if the system does not say (no /proc): then no connection has a witness. */
witness_host witness_here(void);

/* Of a connected socket; 0: none. dialler, acceptor: the two ends as this end sees them. */
uint64_t witness_of(const witness_host *h, int fd, const address *dialler, const address *acceptor);

#endif
