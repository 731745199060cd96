/* serve_end.c - when is the record of a request given back?
 *
 *   answered and acknowledged, or the slot moved on, or the session ended   -> free
 *   the same while its handler runs   -> orphan: asked to stop, free when the handler ends (O3) */
#include "engine/outbox.h"
#include "engine/serve_parts.h"
#include "engine/state.h"

/* The answer is no longer wanted by anybody. */
static void leave_session(engine *e, uint64_t now, serve *v)
{
    session *s = v->session;
    outbox_drop(s, &v->reply);
    serve_part_transfers(e, now, v, STATUS_CANCELLED);
    slot_entry *entry = slot_table_at(&s->answer_slots, v->slot);
    if (entry != NULL && entry->value == v->index + 1)
        entry->value = 0;
    list_remove(&v->at);
    s->serving--;
    v->session = NULL;
}

static void give_back(engine *e, uint64_t now, serve *v)
{
    if (link_linked(&v->telling))
        list_remove(&v->telling);
    serve_note_taken(e, v);
    timer_disarm(&e->timers, &v->deadline);
    if (v->body != NULL)
        cells_give(&e->cells, v->body);
    if (v->answer != NULL)
        cells_give(&e->cells, v->answer);
    v->body = v->answer = NULL;
    if (v->reply_memory != 0)
        transfer_release_memory(e, v->reply_memory);
    v->reply_memory = 0;
    serve_release_request(e, now, v);
    slots_give(&e->serve_slots, v->index);
}

/* The handler runs: it is asked to stop, and the record waits for it. */
static void orphan(engine *e, serve *v)
{
    list_push_back(&e->orphans, &v->at);
    if (v->taken) {
        cells_give(&e->cells, v->body);
        v->body = NULL;
    }
    if (v->cancelled)
        return;
    v->cancelled = true;
    list_push_back(&e->telling_serves, &v->telling);
}

void serve_leave(engine *e, uint64_t now, serve *v, serve_event by)
{
    serve_step(v, by);
    if (v->session != NULL)
        leave_session(e, now, v);
    else
        list_remove(&v->at);
    if (v->state == SERVE_ORPHANED)
        orphan(e, v);
    else
        give_back(e, now, v);
}

void serve_left(engine *e, uint64_t now, session *s)
{
    if (s->serving == 0)
        session_watch(e, now, s);
    session_maybe_empty(e, now, s);
}

void serve_session_ended(engine *e, uint64_t now, session *s)
{
    list_link *at;
    while ((at = list_first(&s->serves)) != NULL) {
        serve *v = CONTAINER_OF(at, serve, at);
        bool unstarted = v->state == SERVE_QUEUED || v->state == SERVE_RECEIVING;
        e->counters.requests_orphaned += unstarted;
        serve_leave(e, now, v, SERVE_ABANDONED);
    }
}

/* The node closes, and its sessions with it: nothing unstarted is told any more. */
void serve_end_all(engine *e, uint64_t now, status why)
{
    (void)why;
    for (uint32_t i = 0; i < e->config.serves; i++)
        if (slots_used(&e->serve_slots, i) && e->serves[i].session != NULL)
            serve_leave(e, now, &e->serves[i], SERVE_ABANDONED);
}
