/* transfer.c - what both ends of a transfer share: its states, its entry, its messages, its end. */
#include "engine/transfer.h"

#include "engine/machine.h"
#include "engine/outbox.h"
#include "engine/state.h"

/* clang-format off */
static const uint8_t table[TRANSFER_STATES][TRANSFER_INPUTS] = {
    /* from the peer: GRANTED, RESUME, FINAL, MISSING, BURN */
    /* from ourselves: MOVE, ASK, FILL, LEAVE, OFFER, HURRY, ADMIT, FORGET */
    [TRANSFER_FREE] = {STAY, STAY, STAY, STAY, STAY,
                       NEVER, NEVER, NEVER, NEVER, SEND_OFFERING, NEVER, RECEIVE_WAITING, NEVER},
    [SEND_OFFERING] = {SEND_ACTIVE, STAY, SEND_LEAVING, STAY, STAY,
                       NEVER, NEVER, NEVER, SEND_LEAVING, NEVER, SEND_ACTIVE, NEVER, NEVER},
    [SEND_ACTIVE] = {STAY, STAY, SEND_LEAVING, SEND_LEAVING, STAY,
                     SEND_ASSIGNING, SEND_ASKING, NEVER, SEND_LEAVING, NEVER, NEVER, NEVER, NEVER},
    [SEND_ASSIGNING] = {STAY, SEND_ACTIVE, SEND_LEAVING, SEND_LEAVING, STAY,
                        SEND_ASSIGNING, NEVER, NEVER, SEND_LEAVING, NEVER, NEVER, NEVER, NEVER},
    [SEND_ASKING] = {SEND_ACTIVE, STAY, SEND_LEAVING, SEND_LEAVING, STAY,
                     SEND_ASSIGNING, SEND_ASKING, NEVER, SEND_LEAVING, NEVER, NEVER, NEVER, NEVER},
    [SEND_LEAVING] = {STAY, STAY, STAY, STAY, STAY,
                      NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, TRANSFER_FREE},
    [RECEIVE_WAITING] = {STAY, STAY, STAY, STAY, RECEIVE_LEAVING,
                         NEVER, NEVER, RECEIVE_ACTIVE, RECEIVE_LEAVING, NEVER, NEVER, NEVER, NEVER},
    [RECEIVE_ACTIVE] = {STAY, STAY, STAY, STAY, RECEIVE_LEAVING,
                        NEVER, NEVER, NEVER, RECEIVE_LEAVING, NEVER, NEVER, NEVER, NEVER},
    [RECEIVE_LEAVING] = {STAY, STAY, STAY, STAY, STAY,
                         NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, TRANSFER_FREE},
};
/* clang-format on */

void transfer_input_apply(transfer *t, transfer_input input)
{
    t->state = machine_next(t->state, table[t->state][input]);
}

bool transfer_is_sender(const transfer *t)
{
    return t->state < RECEIVE_WAITING;
}

static bool leaving(const transfer *t)
{
    return t->state == SEND_LEAVING || t->state == RECEIVE_LEAVING;
}

/* ---- the entry ---- */

/* A2, A3: half of the table is for what goes out and half for what comes in, so that two nodes that
 * are full of their own OFFERs can still take each other's; and of each half the last entry is for
 * replies, which a handler may wait for while requests stand in line. */
static bool has_room(const engine *e, const uint32_t held[2], carries what)
{
    uint32_t half = e->config.transfers / 2;
    return held[0] + held[1] < (what == CARRIES_REPLY ? half : half - 1);
}

transfer *transfer_new(engine *e, session *s, transfer_input how, carries what)
{
    uint32_t index, *held = e->transfers_held[how == DO_OFFER];
    if (!has_room(e, held, what)) {
        e->transfers_short = e->transfers_short || how == DO_OFFER;
        return NULL;
    }
    bool room = slots_take(&e->transfer_slots, &index);
    ENSURE(room); /* two halves are not more than all */
    held[what == CARRIES_REPLY]++;
    transfer *t = &e->transfers[index];
    *t = (transfer){.session = s, .index = index, .what = (uint8_t)what};
    transfer_input_apply(t, how);
    t->timer.kind = TIMER_TRANSFER;
    t->offer.kind = MESSAGE_OFFER;
    t->query.kind = MESSAGE_QUERY;
    t->word.kind = MESSAGE_WORD;
    list_push_back(&s->transfers, &t->at);
    return t;
}

void transfer_release_memory(engine *e, uint64_t memory)
{
    if (memory == 0)
        return;
    ENSURE(e->release_count < e->release_room);
    e->releases[e->release_count++] = memory;
}

void transfer_message_drop(transfer *t, message *m)
{
    if (t->session != NULL && m->place != MESSAGE_IDLE)
        outbox_drop(t->session, m);
}

static void drop_messages(transfer *t)
{
    transfer_message_drop(t, &t->offer);
    transfer_message_drop(t, &t->query);
    transfer_message_drop(t, &t->word);
}

void transfer_room(engine *e, uint64_t now, session *s)
{
    if (s != NULL)
        serve_retry_sending(e, now, s);
    if (!e->transfers_short)
        return;
    /* The table had been full: whoever failed then may be in any session. */
    e->transfers_short = false;
    list_link *at = list_first(&e->live);
    while (at != NULL && !e->transfers_short) {
        list_link *next = list_next(&e->live, at);
        serve_retry_sending(e, now, CONTAINER_OF(at, session, listed));
        at = next;
    }
}

void transfer_settle(engine *e, uint64_t now, transfer *t)
{
    if (!leaving(t) || t->operations > 0)
        return;
    if (t->state == SEND_LEAVING && t->call != NULL)
        transfer_tell_busy(e, now, t); /* no WRITE names the memory: the call may have it back */
    transfer_release_memory(e, t->memory); /* T5: no WRITE or READ names it any more */
    t->memory = 0;
    if (t->credit > 0)
        transfer_credit_back(e, now, t->pool, t->credit);
    t->credit = 0;
    if (t->slot_held)
        return; /* the peer has not acknowledged the end yet */
    session *s = t->session;
    drop_messages(t);
    timer_disarm(&e->timers, &t->timer);
    list_remove(&t->at);
    bool sender = transfer_is_sender(t);
    e->transfers_held[sender][t->what == CARRIES_REPLY]--;
    transfer_input_apply(t, DO_FORGET);
    slots_give(&e->transfer_slots, t->index);
    if (sender)
        transfer_room(e, now, s);
    if (s == NULL)
        return;
    session_watch(e, now, s);
    session_maybe_empty(e, now, s);
}

/* ---- the session ended ---- */

static void forget_owner(transfer *t)
{
    if (t->call != NULL) {
        if (t->call->sending == t)
            t->call->sending = NULL;
        if (t->call->receiving == t)
            t->call->receiving = NULL;
    }
    if (t->serve != NULL) {
        if (t->serve->sending == t)
            t->serve->sending = NULL;
        if (t->serve->receiving == t)
            t->serve->receiving = NULL;
    }
    t->call = NULL;
    t->serve = NULL;
}

void transfer_session_ended(engine *e, uint64_t now, session *s)
{
    list_link *at;
    while ((at = list_first(&s->transfers)) != NULL) {
        transfer *t = CONTAINER_OF(at, transfer, at);
        forget_owner(t);
        drop_messages(t);
        timer_disarm(&e->timers, &t->timer);
        if (transfer_is_sender(t))
            lane_unlist(t);
        else
            credit_withdraw(e, t);
        if (!leaving(t))
            transfer_input_apply(t, DO_LEAVE);
        t->session = NULL;
        t->slot_held = false;
        list_remove(at);
        list_push_back(&e->leaving, at);
        transfer_settle(e, now, t);
    }
}

void transfer_expired(engine *e, uint64_t now, transfer *t)
{
    if (transfer_is_sender(t))
        transfer_send_expired(e, now, t);
    else
        transfer_receive_expired(e, now, t);
}

/* ---- actions ---- */

bool transfer_next(engine *e, uint64_t now, unsigned wanted, action *out)
{
    (void)now;
    if ((wanted & ACTION_RELEASE) != 0 && e->release_count > 0) {
        *out = (action){.kind = ACTION_RELEASE, .memory = e->releases[--e->release_count]};
        return true;
    }
    list_link *at = list_first(&e->allocs);
    if ((wanted & ACTION_ALLOC) == 0 || at == NULL)
        return false;
    transfer *t = CONTAINER_OF(at, transfer, waiting);
    list_remove(at);
    t->alloc_due = false;
    t->operations++;
    *out = (action){
        .kind = ACTION_ALLOC, .token = token_make(TOKEN_ALLOC, 0, t, 0), .length = t->total};
    return true;
}

/* ---- messages ---- */

static transfer *transfer_of(const message *m)
{
    message *own = (message *)(uintptr_t)m;
    if (m->kind == MESSAGE_QUERY)
        return CONTAINER_OF(own, transfer, query);
    if (m->kind == MESSAGE_WORD)
        return CONTAINER_OF(own, transfer, word);
    ENSURE(m->kind == MESSAGE_OFFER || m->kind == MESSAGE_ABANDON);
    return CONTAINER_OF(own, transfer, offer);
}

static uint32_t remaining_ms(uint64_t now, uint64_t due)
{
    uint64_t left = due == TIME_NEVER ? UINT32_MAX : due > now ? (due - now) / NS_PER_MS : 0;
    return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

static void offer_frame(const transfer *t, uint64_t now, frame *f)
{
    f->type = FRAME_OFFER;
    f->what = t->what;
    f->total = t->total;
    f->status = t->status;
    f->flags = t->eager_bytes > 0 ? OFFER_EAGER : 0;
    if (t->call != NULL) {
        const call *c = t->call;
        f->slot = c->slot;
        f->sequence = c->sequence;
        f->remaining_ms = remaining_ms(now, c->due);
        f->method = c->body;
        f->method_size = c->method_size;
        f->extension = c->body == NULL ? NULL : c->body + c->method_size;
        f->extension_size = c->extension_size;
    } else if (t->serve != NULL) {
        f->slot = t->serve->slot;
        f->sequence = t->serve->sequence;
    }
}

static frame frame_of(const transfer *t, const message *m, uint64_t now)
{
    frame f = {.transfer_slot = t->slot, .transfer_sequence = t->sequence, .lane = t->lane};
    switch ((message_kind)m->kind) {
    case MESSAGE_OFFER: offer_frame(t, now, &f); break;
    case MESSAGE_QUERY: f.type = FRAME_QUERY; break;
    case MESSAGE_ABANDON: f.type = FRAME_ABANDON; break;
    default:
        f.type = FRAME_TRANSFER;
        f.state = t->word_state;
        f.status = t->word_state == TRANSFER_REJECTED ? t->status : STATUS_OK;
        f.position = t->position;
        break;
    }
    return f;
}

size_t transfer_message_size(engine *e, const message *m)
{
    frame f = frame_of(transfer_of(m), m, e->now);
    return frame_size(&f);
}

bool transfer_message_write(engine *e, uint64_t now, session *s, message *m, writer *w)
{
    (void)s;
    transfer *t = transfer_of(m);
    bool hurry = m->kind == MESSAGE_OFFER && m->times == 0 && transfer_eager_fits(e, t);
    if (hurry)
        transfer_eager_begin(e, now, t);
    frame f = frame_of(t, m, now);
    return frame_write(w, &f);
}

void transfer_message_acked(engine *e, uint64_t now, session *s, message *m)
{
    transfer *t = transfer_of(m);
    if (m->kind == MESSAGE_ABANDON && t->slot_held) {
        slot_table_give(&s->sends, t->slot);
        t->slot_held = false;
        transfer_settle(e, now, t);
    } else if (m->kind == MESSAGE_OFFER && t->state == SEND_ASSIGNING) {
        /* A1: a QUERY that overtook the OFFER was about nothing the receiver knew. */
        transfer_message_drop(t, &t->query);
        outbox_push(e, s, &t->query);
    } else if (m->kind == MESSAGE_WORD && t->state == RECEIVE_LEAVING) {
        transfer_slot_ended(s, t);
        transfer_settle(e, now, t);
    }
}
