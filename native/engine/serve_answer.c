/* serve_answer.c - how does the answer of a handler, or the refusal to start one, reach the caller?
 *
 * It is kept until the packet that carried it is acknowledged (C5). The cell for it was taken with
 * the request; only a reply that is larger than a packet needs a transfer slot, and waits for one
 * with nothing but its memory. */
#include "engine/outbox.h"
#include "engine/serve_parts.h"
#include "engine/state.h"

#include <string.h>

void serve_release_request(engine *e, uint64_t now, serve *v)
{
    uint64_t credit = v->credit;
    v->credit = 0;
    if (v->memory != 0)
        transfer_release_memory(e, v->memory);
    v->memory = 0;
    if (credit != 0)
        transfer_credit_back(e, now, v->pool, credit); /* A4: the handler ended, or never began */
}

void serve_part_transfers(engine *e, uint64_t now, serve *v, status why)
{
    transfer *sending = v->sending, *receiving = v->receiving;
    bool live = v->session != NULL && session_live(v->session);
    v->sending = v->receiving = NULL;
    if (sending != NULL) {
        sending->serve = NULL;
        if (live)
            transfer_abandon(e, now, sending);
    }
    if (receiving != NULL) {
        receiving->serve = NULL;
        if (live)
            transfer_refuse(e, now, receiving, why);
    }
}

static void stop_telling(engine *e, serve *v)
{
    if (link_linked(&v->telling))
        list_remove(&v->telling);
    serve_note_taken(e, v);
    timer_disarm(&e->timers, &v->deadline);
}

static void free_cell(engine *e, uint8_t **cell)
{
    if (*cell != NULL)
        cells_give(&e->cells, *cell);
    *cell = NULL;
}

static void trace_answer(engine *e, uint64_t now, const serve *v, trace_kind kind)
{
    trace_entry *entry = trace_add(&e->trace, now, kind, v->session->index);
    entry->id = v->id;
    entry->detail = v->status;
    entry->slot = v->slot;
    entry->sequence = v->sequence;
}

void serve_turn_down(engine *e, uint64_t now, serve *v, serve_event by, status why)
{
    serve_step(v, by);
    stop_telling(e, v);
    serve_part_transfers(e, now, v, why);
    free_cell(e, &v->body);
    v->refused = true;
    v->status = (uint8_t)why;
    trace_answer(e, now, v, TRACE_REFUSED);
    outbox_push(e, v->session, &v->reply);
    serve_release_request(e, now, v);
}

void serve_refuse(engine *e, uint64_t now, uint64_t request, status why)
{
    ENSURE(why != STATUS_OK && why < STATUS_COUNT);
    serve *v = serve_find(e, request);
    if (v == NULL)
        return;
    if (v->state == SERVE_HANDED)
        serve_turn_down(e, now, v, SERVE_REFUSED, why);
    else if (v->state == SERVE_ORPHANED)
        serve_leave(e, now, v, SERVE_HANDLER_ENDED);
}

/* ---- replies ---- */

/* C5: the cell of the request is the room; a smaller one is taken if it can be had. */
static void keep_answer(engine *e, serve *v, const uint8_t *body, size_t size)
{
    ENSURE(size <= REPLY_ROOM);
    bool shrinks = size > 0 && cell_capacity(size) < cell_capacity(REPLY_ROOM);
    uint8_t *cell = shrinks ? cells_take(&e->cells, size) : NULL;
    if (cell == NULL && size > 0) {
        cell = v->body;
        v->body = NULL;
    }
    if (size > 0)
        memmove(cell, body, size); /* an echo may answer with the request's own bytes */
    v->answer = cell;
    v->answer_size = (uint32_t)size;
    free_cell(e, &v->body);
}

static void answer_small(engine *e, uint64_t now, serve *v, const reply_command *command)
{
    serve_step(v, SERVE_REPLIED);
    if (!v->big)
        e->small_at = now;
    keep_answer(e, v, command->body, v->cancelled ? 0 : command->size);
    outbox_push(e, v->session, &v->reply);
    trace_answer(e, now, v, TRACE_REPLY_GIVEN);
}

/* False: there is no transfer slot now. */
static bool start_sending(engine *e, uint64_t now, serve *v)
{
    v->sending = transfer_send_reply(e, now, v->session, v, v->reply_memory, v->reply_size);
    if (v->sending == NULL)
        return false;
    v->reply_memory = 0;
    return true;
}

void serve_withdraw_reply(engine *e, uint64_t now, serve *v, status why)
{
    transfer *t = v->sending;
    if (v->reply_memory != 0)
        transfer_release_memory(e, v->reply_memory);
    v->reply_memory = 0;
    serve_send_failed(e, now, v, why);
    if (t != NULL)
        transfer_abandon(e, now, t); /* last: the next one that waits takes its place */
}

static void answer_big(engine *e, uint64_t now, serve *v, const reply_command *command)
{
    serve_step(v, SERVE_REPLIED_BIG);
    free_cell(e, &v->body);
    v->reply_memory = command->memory;
    v->reply_size = command->size;
    trace_answer(e, now, v, TRACE_REPLY_GIVEN);
    if (!start_sending(e, now, v) && slot_table_starved(&v->session->sends))
        serve_withdraw_reply(e, now, v, STATUS_NO_MEMORY); /* nobody would look again (Q19) */
}

void serve_reply(engine *e, uint64_t now, const reply_command *command)
{
    serve *v = serve_find(e, command->request);
    bool running = v != NULL && v->state == SERVE_HANDED;
    bool big = running && command->memory != 0 && !v->cancelled;
    if (running) {
        v->status = command->status;
        stop_telling(e, v);
        e->counters.replies++;
        if (big)
            answer_big(e, now, v, command);
        else
            answer_small(e, now, v, command);
        serve_release_request(e, now, v);
    } else if (v != NULL && v->state == SERVE_ORPHANED) {
        serve_leave(e, now, v, SERVE_HANDLER_ENDED); /* O3: nobody is left to hear it */
    }
    if (command->memory != 0 && !big)
        transfer_release_memory(e, command->memory);
}

void serve_retry_sending(engine *e, uint64_t now, session *s)
{
    if (!session_live(s))
        return;
    list_link *at = list_first(&s->serves);
    for (; at != NULL; at = list_next(&s->serves, at)) {
        serve *v = CONTAINER_OF(at, serve, at);
        if (v->state == SERVE_SENDING && v->sending == NULL && !start_sending(e, now, v))
            return;
    }
    call_dispatch_session(e, now, s);
}

void serve_sent_complete(engine *e, uint64_t now, serve *v)
{
    session *s = v->session;
    if (v->sending != NULL)
        v->sending->serve = NULL;
    v->sending = NULL;
    serve_leave(e, now, v, SERVE_ARRIVED);
    serve_left(e, now, s);
}

/* The handler ran, and its caller is told at least that, with why the reply did not come. If the
 * caller rejected it, it knows, and drops this as a copy. */
void serve_send_failed(engine *e, uint64_t now, serve *v, status why)
{
    if (v->sending != NULL)
        v->sending->serve = NULL;
    v->sending = NULL;
    v->status = (uint8_t)(why == STATUS_OK ? STATUS_FAILED : why);
    serve_step(v, SERVE_FELL_BACK);
    trace_answer(e, now, v, TRACE_REPLY_GIVEN);
    outbox_push(e, v->session, &v->reply);
}

/* ---- the message ---- */

size_t serve_reply_size(engine *e, const message *m)
{
    (void)e;
    const serve *v = CONTAINER_OF(m, serve, reply);
    return v->refused ? FRAME_HEAD + 7 : FRAME_REPLY_OVERHEAD + (size_t)v->answer_size;
}

bool serve_reply_write(engine *e, uint64_t now, session *s, message *m, writer *w)
{
    (void)e;
    (void)now;
    (void)s;
    const serve *v = CONTAINER_OF(m, serve, reply);
    frame f = {
        .type = v->refused ? FRAME_REFUSED : FRAME_REPLY,
        .slot = v->slot,
        .sequence = v->sequence,
        .status = v->status,
        .body = v->answer,
        .body_size = v->answer_size,
    };
    return frame_write(w, &f);
}

void serve_reply_acked(engine *e, uint64_t now, session *s, message *m)
{
    serve *v = CONTAINER_OF(m, serve, reply);
    serve_leave(e, now, v, SERVE_ARRIVED);
    serve_left(e, now, s);
}
