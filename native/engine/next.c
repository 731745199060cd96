/* next.c - asks each machine for what is due, in the order in which it should happen. */
#include "engine/outbox.h"
#include "engine/state.h"

static void tell_peer(engine *e, uint64_t now, peer *p, event *out)
{
    peer_view view;
    (void)engine_peer_view(e, now, peer_id(p), &view);
    *out = (event){.kind = EVENT_PEER,
                   .peer = peer_id(p),
                   .state = view.state,
                   .status = p->reason,
                   .same_life = p->same_life,
                   .stalled = view.stalled,
                   .remote = p->remote};
    p->told = view.state;
    p->told_stalled = view.stalled;
}

/* L7: the end of a peer is told after all replies that had been received: calls go first. */
static bool next_event(engine *e, uint64_t now, event *out)
{
    list_link *at = list_first(&e->telling_calls);
    if (at != NULL) {
        list_remove(at);
        call_tell(e, now, CONTAINER_OF(at, call, telling), out);
        return true;
    }
    while ((at = list_first(&e->telling_serves)) != NULL) {
        list_remove(at);
        if (serve_tell(e, now, CONTAINER_OF(at, serve, telling), out))
            return true;
    }
    at = list_first(&e->telling_peers);
    if (at != NULL) {
        list_remove(at);
        tell_peer(e, now, CONTAINER_OF(at, peer, telling), out);
        return true;
    }
    if (e->stranger.family == 0)
        return false;
    *out = (event){.kind = EVENT_STRANGER, .remote = e->stranger};
    e->stranger.family = 0;
    return true;
}

bool engine_next(engine *e, uint64_t now, unsigned wanted, action *out,
                 uint8_t buffer[ACTION_BUFFER])
{
    if (now < e->now)
        now = e->now;
    e->wanted = wanted;
    out->connection = 0;
    out->bytes = NULL;
    out->size = 0;
    if (transfer_next(e, now, wanted, out) || lane_next(e, now, wanted, out, buffer))
        return true;
    if ((wanted & (ACTION_SEND | ACTION_PUT)) != 0 && outbox_next(e, now, wanted, out, buffer))
        return true;
    if ((wanted & ACTION_EVENT) == 0 || !next_event(e, now, &out->event))
        return false;
    out->kind = ACTION_EVENT;
    return true;
}
