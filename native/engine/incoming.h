/* incoming.h - what does this packet change?
 *
 * Header, session, tag, replay window, then each frame in turn through a table of handlers. A
 * packet enters the ack set only after every frame was applied or refused (P2). */
#ifndef RUDP_ENGINE_INCOMING_H
#define RUDP_ENGINE_INCOMING_H

#include "engine/session.h"

/* A datagram, whatever it is: silence to whatever does not verify. */
void incoming_datagram(engine *e, uint64_t now, const path *from, uint8_t *bytes, size_t size);

/* A session's packet; connection: which lane 0 (or lane to be) it came over, 0: UDP. False: not
 * authentic, or not of a session we know. */
bool incoming_packet(engine *e, uint64_t now, const path *from, uint32_t connection, uint8_t *bytes,
                     size_t size);

#endif
