/* transfer_eager.c - when may a message go before the peer has said that it has memory (A1)?
 *
 *   sender    OFFER (eager) ->   segments (eager) ->                          <- COMPLETE
 *   receiver  memory is taken    read into it
 *
 *   sender    OFFER (eager) ->   segments (eager) ->             from 0, once ->
 *   receiver  no memory          thrown away        <- AGAIN     read into memory
 *
 * The credit only makes it likely that there is memory; nothing depends on it. What finds none is
 * thrown away, and the receiver, who knows, says AGAIN with its grant. A segment that overtook its
 * OFFER holds the lane for a while (lane_bulk.c), for packets usually win. Writing again on the
 * same lane is harmless: a byte range that comes twice is read once (T2). */
#include "engine/lane.h"
#include "engine/state.h"
#include "engine/transfer.h"

bool transfer_eager_fits(const engine *e, const transfer *t)
{
    const session *s = t->session;
    return t->state == SEND_OFFERING && t->lane_class == 1 && s->eager_out <= s->eager_theirs &&
           t->total <= s->eager_theirs - s->eager_out && lane_usable(e, s, 1) != NULL;
}

void transfer_eager_begin(engine *e, uint64_t now, transfer *t)
{
    t->eager = true;
    t->eager_bytes = (uint32_t)t->total;
    t->session->eager_out += t->eager_bytes;
    transfer_input_apply(t, DO_HURRY);
    transfer_assign(e, now, t);
    e->counters.transfers_eager++;
}

void transfer_eager_back(transfer *t)
{
    t->session->eager_out -= t->eager_bytes;
    t->eager_bytes = 0;
}

void transfer_eager_again(engine *e, uint64_t now, transfer *t)
{
    t->eager = false; /* once: what follows finds memory */
    t->position = t->written = 0;
    t->progress_at = now;
    lane_enlist(e, t);
}
