/* call_frames.c - what leaves of a call, and what the answerer's words make of it. */
#include "engine/call_parts.h"
#include "engine/outbox.h"
#include "engine/state.h"

#include "base/serial.h"

#include <string.h>

/* ---- messages ---- */

/* C8: relative to the send time that the packet carries; rounded down, so never too late. */
static uint32_t remaining_ms(const call *c, uint64_t now)
{
    uint64_t left = c->due <= now ? 0 : (c->due - now) / NS_PER_MS;
    return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

static frame request_frame(const call *c)
{
    const uint8_t *extension = c->body + c->method_size;
    return (frame){
        .type = FRAME_REQUEST,
        .slot = c->slot,
        .sequence = c->sequence,
        .method = c->body,
        .method_size = c->method_size,
        .extension = extension,
        .extension_size = c->extension_size,
        .body = extension + c->extension_size,
        .body_size = c->body_size,
    };
}

size_t call_request_size(engine *e, const message *m)
{
    (void)e;
    const call *c = CONTAINER_OF(m, call, request);
    return FRAME_REQUEST_OVERHEAD + c->method_size + c->extension_size + (size_t)c->body_size;
}

bool call_request_write(engine *e, uint64_t now, session *s, message *m, writer *w)
{
    call *c = CONTAINER_OF(m, call, request);
    if (c->due <= now)
        return false; /* its timer is about to end it: if this is the first, with nothing left */
    frame f = request_frame(c);
    f.remaining_ms = remaining_ms(c, now);
    if (!frame_write(w, &f))
        return false;
    trace_entry *entry = trace_add(&e->trace, now, TRACE_CALL_SENT, s->index);
    entry->id = c->handle;
    entry->slot = c->slot;
    entry->sequence = c->sequence;
    c->left = true;
    return true;
}

/* The answerer owns the reply from here on. The body is kept: a busy answerer is asked again with
 * the same bytes (Rule 10), and that word may come after the acknowledgement. */
void call_request_acked(engine *e, uint64_t now, session *s, message *m)
{
    (void)now;
    (void)s;
    call_wire_step(e, CONTAINER_OF(m, call, request), WIRE_GOT_ACK);
}

size_t call_cancel_size(engine *e, const message *m)
{
    (void)e;
    (void)m;
    return FRAME_HEAD + 6;
}

bool call_cancel_write(engine *e, uint64_t now, session *s, message *m, writer *w)
{
    (void)e;
    (void)now;
    (void)s;
    const call *c = CONTAINER_OF(m, call, cancel);
    frame f = {.type = FRAME_CANCEL, .slot = c->slot, .sequence = c->sequence};
    return frame_write(w, &f);
}

/* The answerer's word comes by a message of its own. */
void call_cancel_acked(engine *e, uint64_t now, session *s, message *m)
{
    (void)e;
    (void)now;
    (void)s;
    (void)m;
}

/* ---- frames ---- */

/* The call that holds the slot with this sequence. NULL: *verdict says what to answer. */
static call *call_named(engine *e, session *s, const frame *f, applied *verdict)
{
    slot_entry *entry = slot_table_at(&s->call_slots, f->slot);
    *verdict = VIOLATION; /* a call that we never made */
    if (entry == NULL || serial_before32(entry->sequence, f->sequence))
        return NULL;
    *verdict = APPLIED;
    if (entry->value == 0 || entry->sequence != f->sequence) {
        e->counters.dropped[DROP_COPY]++;
        return NULL;
    }
    call *c = &e->calls[entry->value - 1];
    if (!c->big && !c->left) {
        *verdict = VIOLATION; /* an answer to what we never sent */
        return NULL;
    }
    return c;
}

/* The reply takes the place of the request, which has served its purpose. */
static bool keep_reply(call *c, const frame *f)
{
    if (f->body_size > REPLY_ROOM)
        return false;
    c->reply = c->body;
    c->reply_size = f->body_size;
    c->body = NULL;
    if (f->body_size > 0)
        memcpy(c->reply, f->body, f->body_size);
    return true;
}

applied call_got_reply(engine *e, uint64_t now, session *s, const frame *f)
{
    applied verdict;
    call *c = call_named(e, s, f, &verdict);
    if (c == NULL)
        return verdict;
    if (f->status >= STATUS_COUNT)
        return VIOLATION;
    if (c->app == APP_OPEN && !keep_reply(c, f))
        return VIOLATION;
    c->proved = true;
    if (!c->big)
        e->small_at = now;
    call_end(e, now, c, CALL_ANSWERED, (status)f->status, RAN_YES);
    call_slot_over(e, now, c, WIRE_GOT_END);
    return APPLIED;
}

/* Rule 10: the same bytes under a new sequence, later. The refused one is burnt (C4). */
static bool retried(engine *e, uint64_t now, call *c)
{
    if (c->app != APP_OPEN || c->body == NULL)
        return false;
    if (c->big && c->memory == 0 && !call_take_back(c))
        return false;
    session *s = c->session;
    call_leave_session(e, now, c);
    call_wire_step(e, c, WIRE_GOT_BUSY);
    c->left = false;
    call_try_later(e, now, c);
    call_slots_changed(e, now, s);
    return true;
}

static void refused(engine *e, uint64_t now, call *c, status why)
{
    if (why == STATUS_BUSY && retried(e, now, c))
        return;
    call_end(e, now, c, CALL_ANSWERED, why, RAN_NO);
    call_slot_over(e, now, c, WIRE_GOT_END);
}

applied call_got_refused(engine *e, uint64_t now, session *s, const frame *f)
{
    applied verdict;
    call *c = call_named(e, s, f, &verdict);
    if (c == NULL)
        return verdict;
    if (f->status == STATUS_OK || c->proved)
        return VIOLATION;
    refused(e, now, c, f->status < STATUS_COUNT ? (status)f->status : STATUS_FAILED);
    return APPLIED;
}

/* ---- transfers ---- */

call *call_offered(engine *e, uint64_t now, session *s, const frame *f, status *why)
{
    applied verdict;
    call *c = call_named(e, s, f, &verdict);
    *why = STATUS_CANCELLED;
    if (c == NULL)
        return NULL;
    if (c->receiving != NULL) {
        *why = STATUS_OK;
        return NULL;
    }
    c->proved = true; /* C7: who offers a reply has run */
    outbox_drop(s, &c->request);
    call_wire_step(e, c, WIRE_GOT_ACK);
    bool wanted = c->app == APP_OPEN;
    if (wanted && f->total <= e->config.max_message)
        return c;
    if (wanted)
        *why = STATUS_REPLY_TOO_LARGE;
    call_end(e, now, c, CALL_ANSWERED, *why, RAN_YES);
    call_slot_over(e, now, c, WIRE_GOT_END);
    return NULL;
}

void call_reply_complete(engine *e, uint64_t now, call *c, uint64_t memory, uint64_t size)
{
    ENSURE(c->app == APP_OPEN && c->receiving != NULL);
    transfer *t = c->receiving;
    status how = t->status < STATUS_COUNT ? (status)t->status : STATUS_FAILED;
    c->reply_memory = memory;
    c->reply_size = size;
    c->reply_pool = t->pool;
    c->reply_credit = t->credit;
    t->credit = 0;
    t->call = NULL;
    c->receiving = NULL;
    call_end(e, now, c, CALL_ANSWERED, how, RAN_YES);
    call_slot_over(e, now, c, WIRE_GOT_END);
}

void call_receive_failed(engine *e, uint64_t now, call *c, status why)
{
    if (c->receiving != NULL)
        c->receiving->call = NULL;
    c->receiving = NULL;
    call_end(e, now, c, CALL_ANSWERED, why, RAN_YES);
    call_slot_over(e, now, c, WIRE_GOT_END);
}

void call_sent_whole(engine *e, uint64_t now, call *c)
{
    (void)e;
    (void)now;
    c->left = true;
}

void call_sent_complete(engine *e, uint64_t now, call *c)
{
    (void)now;
    if (c->sending != NULL)
        c->sending->call = NULL;
    c->sending = NULL;
    c->left = true;
    call_wire_step(e, c, WIRE_GOT_ACK);
}

/* Only the receiver says these, with REJECTED: what it rejects it does not run. */
static bool said_by_receiver(status why)
{
    switch (why) {
    case STATUS_DEADLINE:
    case STATUS_CANCELLED:
    case STATUS_BUSY:
    case STATUS_NO_METHOD:
    case STATUS_BAD_REQUEST:
    case STATUS_TOO_LARGE:
    case STATUS_CLOSED:
    case STATUS_BUFFER_CHANGED:
    case STATUS_NO_MEMORY: return true;
    default: return false;
    }
}

void call_send_failed(engine *e, uint64_t now, call *c, status why)
{
    if (why == STATUS_BUSY && c->app == APP_OPEN)
        (void)call_take_back(c);
    if (c->sending != NULL)
        c->sending->call = NULL;
    c->sending = NULL;
    if (said_by_receiver(why))
        refused(e, now, c, why);
    else if (c->app == APP_OPEN)
        call_give_up(e, now, c, why);
}
