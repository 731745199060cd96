/* recovery.h - which packets arrived, which are lost, and when do we ask again?
 *
 * RFC 9002 with the changes of P4 to P8: loss is three later packets acknowledged (a threshold that
 * doubles after a spurious loss) or 9/8 of a round trip; a PTO sends the messages again, cuts no
 * window, and after three without any answer only probes fly. */
#ifndef RUDP_ENGINE_RECOVERY_H
#define RUDP_ENGINE_RECOVERY_H

#include "engine/session.h"
#include "wire/packet.h"

/* A record for the packet that is about to be made; NULL: table full, nothing may leave. */
record *recovery_record(engine *e, session *s);
/* The packet left. */
void recovery_sent(engine *e, uint64_t now, session *s, record *r);
/* Nothing eliciting was in it: the record is not needed. */
void recovery_unused(engine *e, record *r);
void recovery_acknowledged(engine *e, uint64_t now, session *s, const packet_prologue *ack);
void recovery_expired(engine *e, uint64_t now, session *s); /* timer loss */
/* All records are forgotten, all messages taken off: the session ended. */
void recovery_clear(engine *e, session *s);
/* The path changed: RTT and window start anew. */
void recovery_reset(engine *e, uint64_t now, session *s);
uint64_t recovery_pto(const engine *e, const session *s);
void recovery_arm(engine *e, uint64_t now, session *s);

#endif
