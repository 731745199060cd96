/* serve_admit.c - is this request new, and may it come in?
 *
 *   sequence   lower: old, dropped     equal: a copy     higher: new; burns what lies between (C1)
 *
 * Whatever is decided for a new one is remembered by the slot's sequence: nothing runs twice, and a
 * refusal is final (C4). */
#include "engine/outbox.h"
#include "engine/serve_parts.h"
#include "engine/state.h"

#include "base/serial.h"

/* A request lies in a cell that the largest reply fits in as well (C5). */
#define REQUEST_CELL (REQUEST_ROOM > REPLY_ROOM ? REQUEST_ROOM : REPLY_ROOM)

typedef enum { NEW, COPY, OLD, NOWHERE } newness;

static newness newness_in(const slot_entry *entry, uint32_t sequence)
{
    if (entry == NULL)
        return NOWHERE;
    if (entry->sequence == sequence)
        return COPY;
    return serial_before32(entry->sequence, sequence) ? NEW : OLD;
}

/* A new sequence: whatever the slot held is over. A handler that still runs cannot be an honest
 * caller's (C3); it becomes an orphan. */
static void move_on(engine *e, uint64_t now, slot_entry *entry)
{
    if (entry->value != 0)
        serve_leave(e, now, &e->serves[entry->value - 1], SERVE_ABANDONED);
}

/* The record for a new sequence, which is burnt by it. NULL: no record is free. */
static serve *serve_new(engine *e, uint64_t now, session *s, const frame *f)
{
    uint32_t index;
    if (!slots_take(&e->serve_slots, &index))
        return NULL;
    serve *v = &e->serves[index];
    *v = (serve){
        .id = (uint64_t)slots_generation(&e->serve_slots, index) << 32 | (index + 1),
        .index = index,
        .session = s,
        .slot = f->slot,
        .sequence = f->sequence,
        .arrived = now,
        .reply.kind = MESSAGE_REPLY,
        .deadline.kind = TIMER_SERVE,
    };
    slot_entry *entry = slot_table_at(&s->answer_slots, f->slot);
    entry->sequence = f->sequence;
    entry->value = index + 1;
    list_push_back(&s->serves, &v->at);
    if (++s->serving == 1)
        session_watch(e, now, s);
    return v;
}

/* A5: a peer holds at most half of what is free, in records and in cells; an eighth of the records
 * is kept for refusals. Who holds nothing yet may always have one. */
static bool within_share(const engine *e, const session *s)
{
    uint32_t free = e->config.serves - slots_count(&e->serve_slots);
    if (free <= 1 + e->config.serves / 8)
        return false;
    uint64_t bytes = (s->serving + 1) * (uint64_t)cell_capacity(REQUEST_CELL);
    return s->serving == 0 || (s->serving + 1 <= free / 2 && bytes <= cells_room(&e->cells) / 2);
}

/* OK, or why it is refused at the door. */
static status judge(const engine *e, uint64_t now, const session *s, const frame *f, uint64_t due)
{
    if (e->closed || e->draining)
        return STATUS_CLOSED;
    if (f->type == FRAME_OFFER && f->total > e->config.max_message)
        return STATUS_TOO_LARGE;
    /* An OFFER has no body_size: what stands there is of another frame. */
    uint64_t size = (uint64_t)f->method_size + f->extension_size;
    if (size + (f->type == FRAME_REQUEST ? f->body_size : 0) > REQUEST_CELL)
        return STATUS_TOO_LARGE;
    if (due <= now)
        return STATUS_DEADLINE;
    return within_share(e, s) ? STATUS_OK : STATUS_BUSY;
}

/* C8: the time that was left when the packet should have left, on our clock. */
static uint64_t due_of(const engine *e, const frame *f)
{
    if (f->remaining_ms == UINT32_MAX)
        return TIME_NEVER;
    return time_after(e->packet_sent_at, f->remaining_ms * NS_PER_MS);
}

static void keep_request(serve *v, uint8_t *cell, const frame *f, uint64_t due)
{
    bool small = f->type == FRAME_REQUEST;
    v->body = cell;
    v->due = due;
    v->big = !small;
    v->method_size = f->method_size;
    v->extension_size = f->extension_size;
    v->body_size = small ? f->body_size : 0;
    writer w = writer_of(cell, REQUEST_CELL);
    write_bytes(&w, f->method, f->method_size);
    write_bytes(&w, f->extension, f->extension_size);
    if (small)
        write_bytes(&w, f->body, f->body_size);
}

/* Room for it was found, in a cell; NULL: refused with *why. */
static uint8_t *find_room(engine *e, uint64_t now, session *s, const frame *f, uint64_t due,
                          status *why)
{
    *why = judge(e, now, s, f, due);
    uint8_t *cell = *why == STATUS_OK ? cells_take(&e->cells, REQUEST_CELL) : NULL;
    if (*why == STATUS_OK && cell == NULL)
        *why = STATUS_BUSY;
    if (*why == STATUS_BUSY)
        e->counters.dropped[DROP_NO_ROOM]++;
    e->counters.requests_expired += *why == STATUS_DEADLINE;
    return cell;
}

static applied drop_known(engine *e, newness how)
{
    if (how == NOWHERE)
        return VIOLATION; /* a slot that was never granted */
    e->counters.dropped[how == COPY ? DROP_COPY : DROP_OLD_CALL]++;
    return APPLIED;
}

static applied decline(engine *e, uint64_t now, session *s, const frame *f, status why)
{
    serve *v = serve_new(e, now, s, f);
    if (v == NULL) {
        e->counters.dropped[DROP_NO_ROOM]++;
        return UNABLE;
    }
    serve_turn_down(e, now, v, SERVE_DECLINED, why);
    return APPLIED;
}

applied serve_got_request(engine *e, uint64_t now, session *s, const frame *f)
{
    slot_entry *entry = slot_table_reach(&s->answer_slots, &e->cells, f->slot);
    if (entry == NULL && f->slot < s->answer_slots.count)
        return UNABLE;
    newness how = newness_in(entry, f->sequence);
    if (how != NEW)
        return drop_known(e, how);
    move_on(e, now, entry);
    status why;
    uint64_t due = due_of(e, f);
    uint8_t *cell = find_room(e, now, s, f, due, &why);
    if (cell == NULL)
        return decline(e, now, s, f, why);
    serve *v = serve_new(e, now, s, f);
    ENSURE(v != NULL); /* within_share saw a free one */
    keep_request(v, cell, f, due);
    serve_step(v, SERVE_ADMITTED);
    serve_queue(e, now, v);
    serve_consider_grants(e, now, s);
    return APPLIED;
}

/* C2: a CANCEL burns the sequence whether the request was seen or not. */
applied serve_got_cancel(engine *e, uint64_t now, session *s, const frame *f)
{
    slot_entry *entry = slot_table_reach(&s->answer_slots, &e->cells, f->slot);
    if (entry == NULL && f->slot < s->answer_slots.count)
        return UNABLE;
    newness how = newness_in(entry, f->sequence);
    if (how == NEW) {
        move_on(e, now, entry);
        return decline(e, now, s, f, STATUS_CANCELLED);
    }
    if (how != COPY)
        return drop_known(e, how);
    if (entry->value == 0) /* forgotten with its transfer, or answered: who still asks must hear */
        return decline(e, now, s, f, STATUS_CANCELLED);
    serve *v = &e->serves[entry->value - 1];
    trace_add(&e->trace, now, TRACE_CANCEL, s->index)->id = v->id;
    if (v->state == SERVE_QUEUED || v->state == SERVE_RECEIVING) {
        serve_turn_down(e, now, v, SERVE_CANCELLED, STATUS_CANCELLED);
    } else if (v->state == SERVE_HANDED && !v->cancelled) {
        v->cancelled = true;
        list_push_back(&e->telling_serves, &v->telling);
    } else if (v->state == SERVE_SENDING) {
        serve_withdraw_reply(e, now, v, STATUS_CANCELLED); /* C3: it may wait for long */
    }
    return APPLIED; /* an answer in a packet is under way anyway */
}

/* ---- big ones ---- */

bool serve_can_note(engine *e, session *s, uint16_t slot)
{
    return slot >= s->answer_slots.count ||
           slot_table_reach(&s->answer_slots, &e->cells, slot) != NULL;
}

serve *serve_offered(engine *e, uint64_t now, session *s, const frame *f, status *why)
{
    slot_entry *entry = slot_table_reach(&s->answer_slots, &e->cells, f->slot);
    newness how = newness_in(entry, f->sequence);
    if (how != NEW) {
        *why = how == NOWHERE ? STATUS_BAD_REQUEST : how == COPY ? STATUS_OK : STATUS_CANCELLED;
        (void)drop_known(e, how);
        return NULL;
    }
    move_on(e, now, entry);
    uint64_t due = due_of(e, f);
    uint8_t *cell = find_room(e, now, s, f, due, why);
    if (cell == NULL) {
        entry->sequence = f->sequence; /* C4: the transfer's slot says why, this one forgets */
        return NULL;
    }
    serve *v = serve_new(e, now, s, f);
    ENSURE(v != NULL);
    keep_request(v, cell, f, due);
    serve_step(v, SERVE_OFFERED);
    timer_arm(&e->timers, &v->deadline, due);
    serve_consider_grants(e, now, s);
    return v;
}

void serve_request_complete(engine *e, uint64_t now, serve *v, uint64_t memory, uint64_t size,
                            uint64_t credit)
{
    ENSURE(v->state == SERVE_RECEIVING && v->receiving != NULL); /* else transfer.serve is NULL */
    v->pool = v->receiving->pool;
    v->receiving->serve = NULL;
    v->receiving = NULL;
    v->memory = memory;
    v->memory_size = size;
    v->credit = credit;
    serve_step(v, SERVE_COMPLETE);
    serve_queue(e, now, v);
}

/* Withdrawn by the caller, or rejected: either way the transfer's own word says so. */
void serve_receive_failed(engine *e, uint64_t now, serve *v, status why)
{
    (void)why;
    session *s = v->session;
    if (v->receiving != NULL)
        v->receiving->serve = NULL;
    v->receiving = NULL;
    serve_leave(e, now, v, SERVE_ABANDONED);
    serve_left(e, now, s);
}
