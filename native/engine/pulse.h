/* pulse.h - is the peer alive, and are we the right one to judge?
 *
 * Life is an answered probe in each direction (L1); traffic that is acknowledged counts as one.
 * Probes fill silence only: after 1 s, repeated every 150 ms, suspect at 2 s, lost at 4 s (L2).
 * A turn that begins late is our own stall: all silence clocks move by the lateness (L3). */
#ifndef RUDP_ENGINE_PULSE_H
#define RUDP_ENGINE_PULSE_H

#include "engine/session.h"

void pulse_start(engine *e, uint64_t now, session *s);
/* A packet of ours sent at `sent` was acknowledged. */
void pulse_proof(engine *e, uint64_t now, session *s, uint64_t sent);
void pulse_expired(engine *e, uint64_t now, session *s); /* timer pace */
void pulse_arm(engine *e, uint64_t now, session *s);
void pulse_watch(engine *e, uint64_t now, session *s, bool watched);
/* Its peer was silent until lost in another session, and this one has just begun to be watched: it
 * has a second, not four, to show that it lives (L2). */
void pulse_inherit(engine *e, uint64_t now, session *s);
/* A probe or path test was refused by the peer's host, or lane 0 ended without a word (P11, L6). */
void pulse_hint(engine *e, uint64_t now, session *s, bool refused);
/* We were stalled for this long. */
void pulse_own_stall(engine *e, uint64_t now, uint64_t late);
/* A packet came that was so long under way, beyond what each needs: we may have slept (L4). */
void pulse_aged(engine *e, uint64_t now, session *s, uint64_t late);
/* Requests may start: no fence (L4). */
bool pulse_fenced(const session *s);
/* What our beat says now, and what the peer's said. */
void pulse_beat(const engine *e, uint64_t now, beat *out);
void pulse_got_beat(engine *e, uint64_t now, session *s, const beat *b);
applied pulse_got_probe(engine *e, uint64_t now, session *s, uint64_t number, uint32_t sent_us,
                        const frame *f);
applied pulse_got_pong(engine *e, uint64_t now, session *s, const frame *f);

#endif
