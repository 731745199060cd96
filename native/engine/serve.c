/* serve.c - the state table, and what the application is told of a request. */
#include "engine/serve.h"

#include "engine/outbox.h"
#include "engine/pulse.h"
#include "engine/serve_parts.h"
#include "engine/state.h"

#define QUEUED   SERVE_QUEUED
#define ANSWERED SERVE_ANSWERED
#define SENDING  SERVE_SENDING
#define ORPHANED SERVE_ORPHANED
#define FREE     SERVE_FREE

/* clang-format off */
const uint8_t serve_table[SERVE_ORPHANED + 1][SERVE_EVENTS] = {
    [SERVE_FREE] =
        {[SERVE_ADMITTED] = QUEUED, [SERVE_OFFERED] = SERVE_RECEIVING, [SERVE_DECLINED] = ANSWERED,
         [SERVE_COMPLETE] = STAY, [SERVE_TELLING] = NEVER, [SERVE_REPLIED] = NEVER,
         [SERVE_REPLIED_BIG] = NEVER, [SERVE_FELL_BACK] = NEVER, [SERVE_REFUSED] = NEVER,
         [SERVE_CANCELLED] = STAY, [SERVE_ARRIVED] = STAY, [SERVE_ABANDONED] = STAY,
         [SERVE_HANDLER_ENDED] = NEVER},
    [SERVE_RECEIVING] =
        {[SERVE_ADMITTED] = NEVER, [SERVE_OFFERED] = NEVER, [SERVE_DECLINED] = NEVER,
         [SERVE_COMPLETE] = QUEUED, [SERVE_TELLING] = NEVER, [SERVE_REPLIED] = NEVER,
         [SERVE_REPLIED_BIG] = NEVER, [SERVE_FELL_BACK] = NEVER, [SERVE_REFUSED] = ANSWERED,
         [SERVE_CANCELLED] = ANSWERED, [SERVE_ARRIVED] = STAY, [SERVE_ABANDONED] = FREE,
         [SERVE_HANDLER_ENDED] = NEVER},
    [SERVE_QUEUED] =
        {[SERVE_ADMITTED] = NEVER, [SERVE_OFFERED] = NEVER, [SERVE_DECLINED] = NEVER,
         [SERVE_COMPLETE] = STAY, [SERVE_TELLING] = SERVE_HANDED, [SERVE_REPLIED] = NEVER,
         [SERVE_REPLIED_BIG] = NEVER, [SERVE_FELL_BACK] = NEVER, [SERVE_REFUSED] = ANSWERED,
         [SERVE_CANCELLED] = ANSWERED, [SERVE_ARRIVED] = STAY, [SERVE_ABANDONED] = FREE,
         [SERVE_HANDLER_ENDED] = NEVER},
    [SERVE_HANDED] =
        {[SERVE_ADMITTED] = NEVER, [SERVE_OFFERED] = NEVER, [SERVE_DECLINED] = NEVER,
         [SERVE_COMPLETE] = STAY, [SERVE_TELLING] = NEVER, [SERVE_REPLIED] = ANSWERED,
         [SERVE_REPLIED_BIG] = SENDING, [SERVE_FELL_BACK] = NEVER, [SERVE_REFUSED] = ANSWERED,
         [SERVE_CANCELLED] = STAY, [SERVE_ARRIVED] = STAY, [SERVE_ABANDONED] = ORPHANED,
         [SERVE_HANDLER_ENDED] = NEVER},
    [SERVE_ANSWERED] =
        {[SERVE_ADMITTED] = NEVER, [SERVE_OFFERED] = NEVER, [SERVE_DECLINED] = NEVER,
         [SERVE_COMPLETE] = STAY, [SERVE_TELLING] = NEVER, [SERVE_REPLIED] = NEVER,
         [SERVE_REPLIED_BIG] = NEVER, [SERVE_FELL_BACK] = NEVER, [SERVE_REFUSED] = NEVER,
         [SERVE_CANCELLED] = STAY, [SERVE_ARRIVED] = FREE, [SERVE_ABANDONED] = FREE,
         [SERVE_HANDLER_ENDED] = NEVER},
    [SERVE_SENDING] =
        {[SERVE_ADMITTED] = NEVER, [SERVE_OFFERED] = NEVER, [SERVE_DECLINED] = NEVER,
         [SERVE_COMPLETE] = STAY, [SERVE_TELLING] = NEVER, [SERVE_REPLIED] = NEVER,
         [SERVE_REPLIED_BIG] = NEVER, [SERVE_FELL_BACK] = ANSWERED, [SERVE_REFUSED] = NEVER,
         [SERVE_CANCELLED] = STAY, [SERVE_ARRIVED] = FREE, [SERVE_ABANDONED] = FREE,
         [SERVE_HANDLER_ENDED] = NEVER},
    [SERVE_ORPHANED] =
        {[SERVE_ADMITTED] = NEVER, [SERVE_OFFERED] = NEVER, [SERVE_DECLINED] = NEVER,
         [SERVE_COMPLETE] = STAY, [SERVE_TELLING] = NEVER, [SERVE_REPLIED] = NEVER,
         [SERVE_REPLIED_BIG] = NEVER, [SERVE_FELL_BACK] = NEVER, [SERVE_REFUSED] = NEVER,
         [SERVE_CANCELLED] = STAY, [SERVE_ARRIVED] = STAY, [SERVE_ABANDONED] = STAY,
         [SERVE_HANDLER_ENDED] = FREE},
};
/* clang-format on */

#undef QUEUED
#undef ANSWERED
#undef SENDING
#undef ORPHANED
#undef FREE

void serve_step(serve *v, serve_event what)
{
    v->state = machine_next(v->state, serve_table[v->state][what]);
}

serve *serve_find(engine *e, uint64_t request)
{
    uint32_t index = (uint32_t)request - 1;
    if ((uint32_t)request == 0 || request >> 48 != 0 ||
        !slots_match(&e->serve_slots, index, (uint16_t)(request >> 32)))
        return NULL;
    return &e->serves[index];
}

/* ---- telling ---- */

void serve_queue(engine *e, uint64_t now, serve *v)
{
    list_push_back(&e->waiting_serves, &v->waiting);
    e->serves_waiting++;
    e->counters.requests++;
    timer_arm(&e->timers, &v->deadline, v->due);
    if (!pulse_fenced(v->session))
        list_push_back(&e->telling_serves, &v->telling);
    trace_entry *entry = trace_add(&e->trace, now, TRACE_REQUEST_GOT, v->session->index);
    entry->id = v->id;
    entry->slot = v->slot;
    entry->sequence = v->sequence;
}

void serve_note_taken(engine *e, serve *v)
{
    if (!link_linked(&v->waiting))
        return;
    list_remove(&v->waiting);
    e->serves_waiting--;
}

void serve_unfence(engine *e, uint64_t now, session *s)
{
    (void)now;
    list_link *at = list_first(&s->serves);
    for (; at != NULL; at = list_next(&s->serves, at)) {
        serve *v = CONTAINER_OF(at, serve, at);
        if (v->state == SERVE_QUEUED && !link_linked(&v->telling))
            list_push_back(&e->telling_serves, &v->telling);
    }
}

static void tell_request(engine *e, serve *v, event *out)
{
    peer *p = peer_of_session(e, v->session);
    v->peer = p == NULL ? 0 : peer_id(p);
    const uint8_t *body = v->body + v->method_size + v->extension_size;
    *out = (event){
        .kind = EVENT_REQUEST,
        .peer = v->peer,
        .id = v->id,
        .deadline = v->due,
        .method = v->body,
        .method_size = v->method_size,
        .extension_size = v->extension_size,
        .body = v->big ? NULL : body,
        .size = v->big ? v->memory_size : v->body_size,
        .memory = v->memory,
    };
    v->memory = 0; /* the application's from now on */
    timer_disarm(&e->timers, &v->deadline);
    serve_step(v, SERVE_TELLING);
}

bool serve_tell(engine *e, uint64_t now, serve *v, event *out)
{
    if (v->state == SERVE_QUEUED) {
        if (pulse_fenced(v->session))
            return false; /* serve_unfence puts it back on the list */
        if (v->due <= now) {
            serve_expired(e, now, v);
            return false;
        }
        tell_request(e, v, out);
        return true;
    }
    ENSURE(v->cancelled && !v->told_cancel);
    v->told_cancel = true;
    *out = (event){.kind = EVENT_CANCEL, .peer = v->peer, .id = v->id};
    return true;
}

/* A5: its bytes were copied. The cell stays as the room for the reply, unless none will leave. */
void serve_taken(engine *e, uint64_t now, uint64_t request)
{
    (void)now;
    serve *v = serve_find(e, request);
    if (v == NULL || v->taken || (v->state != SERVE_HANDED && v->state != SERVE_ORPHANED))
        return;
    v->taken = true;
    serve_note_taken(e, v);
    if (v->state != SERVE_ORPHANED)
        return;
    cells_give(&e->cells, v->body);
    v->body = NULL;
}

/* C8: a deadline that passes before the handler started refuses the request. */
void serve_expired(engine *e, uint64_t now, serve *v)
{
    if (v->state != SERVE_QUEUED && v->state != SERVE_RECEIVING)
        return;
    e->counters.requests_expired++;
    serve_turn_down(e, now, v, SERVE_REFUSED, STATUS_DEADLINE);
}

uint64_t serve_backlog(const engine *e, uint64_t now, uint32_t *count)
{
    *count = e->serves_waiting;
    const list_link *oldest = list_first(&e->waiting_serves);
    if (oldest == NULL)
        return 0;
    return now - CONTAINER_OF(oldest, serve, waiting)->arrived;
}

/* ---- grants ---- */

void serve_consider_grants(engine *e, uint64_t now, session *s)
{
    (void)now;
    uint32_t count = s->answer_slots.count;
    uint32_t more = 2 * count < e->config.call_slots_max ? 2 * count : e->config.call_slots_max;
    uint32_t free = e->config.serves - slots_count(&e->serve_slots);
    if (4 * s->serving < 3 * count || more <= count || more - count > free / 2)
        return;
    if (!slot_table_grow(&s->answer_slots, &e->cells, (uint16_t)more))
        return;
    s->granted_calls = (uint16_t)more;
    outbox_control(e, s, CONTROL_GRANTS);
}
