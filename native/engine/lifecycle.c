/* lifecycle.c - draining, closing, new keys, and the views that look in without changing. */
#include "engine/outbox.h"
#include "engine/peer.h"
#include "engine/state.h"

/* ---- ending ---- */

void engine_drain(engine *e, uint64_t now)
{
    (void)engine_enter(e, now);
    e->draining = true;
}

/* Given up, and the answerer knows it: it is only his handler that goes on (C3). */
static uint32_t calls_left_to_the_peer(const engine *e)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < e->calls_room && count < slots_count(&e->call_slots); i++) {
        const call *c = &e->calls[i];
        count += slots_used(&e->call_slots, i) && c->app == APP_GONE &&
                 c->wire == WIRE_CANCELLING && c->cancel.place == MESSAGE_IDLE;
    }
    return count;
}

static bool nothing_else_is_open(const engine *e)
{
    return slots_count(&e->serve_slots) == 0 && slots_count(&e->transfer_slots) == 0 &&
           e->release_count == 0 && list_empty(&e->telling_calls) && list_empty(&e->telling_serves);
}

/* A handler of the peer's that does not stop is no reason to wait with closing. */
bool engine_idle(const engine *e)
{
    return nothing_else_is_open(e) && slots_count(&e->call_slots) == calls_left_to_the_peer(e);
}

static void stop_dials(engine *e, uint64_t now)
{
    list_link *at = list_first(&e->live);
    while (at != NULL) {
        session *s = CONTAINER_OF(at, session, listed);
        at = list_next(&e->live, at);
        if (s->state == SESSION_DIALLING)
            dial_stop(e, now, s);
    }
    while ((at = list_first(&e->half_open)) != NULL)
        session_free(e, now, CONTAINER_OF(at, session, listed));
}

void engine_close(engine *e, uint64_t now)
{
    now = engine_enter(e, now);
    e->draining = e->closed = true;
    call_end_all(e, now, STATUS_NODE_CLOSED);
    serve_end_all(e, now, STATUS_CLOSED);
    stop_dials(e, now);
    list_link *at = list_first(&e->live);
    for (; at != NULL; at = list_next(&e->live, at))
        session_end(e, now, CONTAINER_OF(at, session, listed), STATUS_CLOSED, true);
}

/* ---- keys (K9) ---- */

void engine_rotate(engine *e, uint64_t now, const hello_keys *keys)
{
    now = engine_enter(e, now);
    e->keys = *keys;
    /* By index: the end of a session starts dials, which may reclaim any tombstone of the list. */
    for (uint32_t i = 0; i < e->config.sessions; i++) {
        session *s = &e->sessions[i];
        if (!slots_used(&e->session_slots, i))
            continue;
        bool held = hello_keys_hold(&e->keys, s->key_name);
        if (s->state == SESSION_HALF_OPEN && !held) {
            session_free(e, now, s); /* R106: its first packet would have confirmed it */
            continue;
        }
        if (!session_live(s))
            continue;
        if (!held)
            session_end(e, now, s, STATUS_FAILED, true);
        else
            dial_renew(e, now, s); /* one that is not confirmed yet: session_confirm */
    }
}

/* ---- looking in ---- */

const counters *engine_counters(const engine *e)
{
    return &e->counters;
}

const trace *engine_trace(const engine *e)
{
    return &e->trace;
}

uint8_t *engine_arena(engine *e, size_t *size)
{
    *size = e->config.arena;
    return e->arena;
}

bool engine_idle_slab(engine *e, uint8_t **bytes)
{
    return cells_idle_slab(&e->cells, bytes);
}

/* Cells that sessions hold as long as they live: their slots. */
static size_t session_cells(const engine *e)
{
    size_t used = 0;
    list_link *at = list_first(&e->live);
    for (; at != NULL; at = list_next(&e->live, at)) {
        const session *s = CONTAINER_OF(at, session, listed);
        used += slot_table_cells(&s->call_slots) + slot_table_cells(&s->answer_slots) +
                slot_table_cells(&s->sends) + slot_table_cells(&s->receives);
        used += s->route.detour == NULL ? 0 : cell_capacity(sizeof(detour));
    }
    return used;
}

bool engine_all_free(const engine *e)
{
    return slots_count(&e->call_slots) == 0 && nothing_else_is_open(e) && list_empty(&e->orphans) &&
           list_empty(&e->leaving) && list_empty(&e->allocs) &&
           e->pools[CREDIT_REQUESTS].used == 0 && e->pools[CREDIT_REPLIES].used == 0 &&
           e->pools[CREDIT_EAGER].used == 0 &&
           cells_used(&e->cells) <= session_cells(e) + slots_count(&e->connection_slots) * 4096;
}
