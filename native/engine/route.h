/* route.h - by which way do a session's packets go, and is another way better?
 *
 * S8: only a packet with a new highest number may suggest a new UDP path; a challenge goes there,
 * and until it is answered at most three times the bytes received. M2: while UDP is unanswered for
 * 1 s and lane 0 answers, packets go by lane 0; UDP is probed every 5 s at full size; back after
 * three answers in a row and 10 s of dwell. P10: full packets that die while small ones live. */
#ifndef RUDP_ENGINE_ROUTE_H
#define RUDP_ENGINE_ROUTE_H

#include "engine/session.h"

#define ROUTE_UDP_SILENCE     NS_PER_S
#define ROUTE_UDP_RETRY       (5 * NS_PER_S)
#define ROUTE_DWELL           (10 * NS_PER_S)
#define ROUTE_ANSWERS         3u
#define ROUTE_CHALLENGE_LEAST (500 * NS_PER_MS) /* three PTOs, within these (S8) */
#define ROUTE_CHALLENGE_MOST  (3 * NS_PER_S)
#define ROUTE_LARGE           600u /* bytes: a packet that a narrow path may swallow (P10) */
#define ROUTE_LARGE_LOSSES    3u   /* of these in a row, while small ones are answered */

/* A packet that will be acknowledged leaves over lane 0. */
void route_put(session *s, uint64_t now);
/* We were stalled: nothing was silent before now. */
void route_own_stall(session *s, uint64_t now);
/* Another lane 0 is up, of which nothing is known yet. */
void route_lane0_new(session *s);
/* ns: for how long lane 0 has had packets that will be acknowledged, and none was; 0: no such. */
uint64_t route_lane0_waits(const session *s, uint64_t now);
/* A verified packet with a new highest number came this way. */
void route_heard(engine *e, uint64_t now, session *s, const path *from, uint32_t connection,
                 size_t size);
/* A packet we sent by this kind of path was acknowledged. */
void route_answered(engine *e, uint64_t now, session *s, const record *r);
/* Large packets over UDP are likely to die (P10): it was left for lane 0, or is about to be. */
static inline bool route_narrow(const session *s)
{
    return s->route.mode == PATH_LANE0 || s->route.large_lost >= ROUTE_LARGE_LOSSES;
}

/* A packet over UDP was given up. */
void route_lost(session *s, size_t size);
/* A resend timer ran out with nothing answered: maybe lane 0 does better. */
void route_silent(engine *e, uint64_t now, session *s);
applied route_got_challenge(engine *e, uint64_t now, session *s, const path *from, const frame *f);
applied route_got_response(engine *e, uint64_t now, session *s, const path *from, const frame *f);
/* A bulk lane moves nothing, since that moment: are full packets swallowed too (P10, T8)? */
void route_doubt_full(engine *e, session *s, uint64_t since);
/* Is a UDP probe due, while on lane 0 or for such a doubt? Marks it as sent. Full: of full size, as
 * it should be. */
bool route_test_due(engine *e, uint64_t now, session *s);
bool route_test_full(const session *s);

#endif
