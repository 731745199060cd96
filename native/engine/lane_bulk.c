/* lane_bulk.c - a bulk lane's segments: whose turn is it, how long, and where do bodies go? */
#include "engine/lane.h"
#include "engine/recovery.h"
#include "engine/state.h"

#define LANE_TIME    (2 * NS_PER_MS) /* one segment takes at most so much of the lane (T9) */
#define FULL_SEGMENT 1460u           /* bytes: more than one TCP segment carries */
#define OLDEST_EVERY 8u
#define GRAIN        4096u
#define HOLD_LEAST   (50 * NS_PER_MS) /* a lane waits two PTOs for an OFFER, within these (A1) */
#define HOLD_MOST    (500 * NS_PER_MS)

/* ---- turns ---- */

void lane_enlist(engine *e, transfer *t)
{
    connection *c = lane_by_number(e, t->session, t->lane);
    if (c == NULL || c->state != CONNECTION_BULK || link_linked(&t->waiting) ||
        t->written >= t->total)
        return;
    list_push_back(&c->turns, &t->waiting);
    connection_act(e, c);
}

void lane_unlist(transfer *t)
{
    if (link_linked(&t->waiting))
        list_remove(&t->waiting);
}

static void alive(connection *c, uint64_t moved)
{
    c->progressed = true;
    if (moved > FULL_SEGMENT) { /* small ones pass where full ones die (T8) */
        c->full = true;
        c->session->lanes_stalled = 0;
    }
    /* Late, but alive. If another is being opened it takes over all the same. */
    c->bad = false;
}

/* T7: what comes by a lane says nothing of what leaves by it. */
void lane_progressed(engine *e, uint64_t now, session *s, uint32_t lane, uint64_t moved)
{
    connection *c = lane_by_number(e, s, lane);
    if (c == NULL)
        return;
    c->progress_at = now;
    alive(c, moved);
}

/* T9: shortest remaining first, every eighth segment to the oldest. It then stands behind the
 * others: else one that is neither waits until both are through, however long they are (Q18). */
static transfer *whose_turn(connection *c)
{
    list_link *at = list_first(&c->turns);
    transfer *chosen = CONTAINER_OF(at, transfer, waiting);
    if (++c->turn % OLDEST_EVERY == 0) {
        list_remove(&chosen->waiting);
        list_push_back(&c->turns, &chosen->waiting);
        return chosen;
    }
    for (; at != NULL; at = list_next(&c->turns, at)) {
        transfer *t = CONTAINER_OF(at, transfer, waiting);
        if (t->total - t->written < chosen->total - chosen->written)
            chosen = t;
    }
    return chosen;
}

/* The rest of a message in equal segments, each up to a sixteenth longer than `most`: a last one of
 * a few bytes would cost what a whole one does. */
static uint32_t even_share(uint64_t left, uint32_t most)
{
    uint64_t stretched = most + most / 16;
    uint64_t count = (left + stretched - 1) / stretched;
    uint64_t share = ((left + count - 1) / count + 63) & ~UINT64_C(63);
    return (uint32_t)(share < left ? share : left);
}

/* The n-th oldest outstanding is a message of its own. */
static bool is_short(const connection *c, uint32_t n)
{
    return (c->write_whole >> n & 1) != 0 && c->write_length[n] <= LANE_SHORT_MOST;
}

/* T9: two at a time, so that a shorter message need not wait; but many short ones, which leave
 * together. */
bool connection_can_write(const connection *c)
{
    if (c->state != CONNECTION_BULK || list_empty(&c->turns))
        return false;
    uint32_t together = 0, i = 0;
    for (; i < c->writes && is_short(c, i); i++)
        together += c->write_length[i];
    bool all = i == c->writes && c->writes < LANE_WRITES_MOST && together < LANE_WRITES_BYTES;
    return c->writes < LANE_WRITES || all;
}

bool connection_write(engine *e, uint64_t now, connection *c, action *out)
{
    if (!connection_can_write(c) || c->bulk_due || c->welcome_due)
        return false;
    connection_wipe(c);
    transfer *t = whose_turn(c);
    uint32_t length = even_share(t->total - t->written, c->segment_bytes);
    *out = (action){.kind = ACTION_WRITE,
                    .connection = c->id,
                    .token = token_make(TOKEN_WRITE, c->number++, t, c->id),
                    .memory = t->memory,
                    .segment = {.kind = SEGMENT_DATA,
                                .flags = t->eager ? SEGMENT_EAGER : 0,
                                .slot = t->slot,
                                .sequence = t->sequence,
                                .offset = t->written,
                                .length = length}};
    if (c->writes == 0)
        c->write_began = now;
    c->write_whole |= (uint16_t)((length == t->total) << c->writes);
    c->write_length[c->writes++] = length;
    c->used = true;
    transfer_wrote(e, now, t, length);
    if (t->written >= t->total)
        lane_unlist(t);
    return true;
}

/* The lane's rate, as the kernel takes bytes, sets the size of the next segments. */
static void measure(engine *e, uint64_t now, connection *c)
{
    if (is_short(c, 0))
        return; /* several leave at once, into the kernel's buffer: that says nothing */
    uint64_t began = c->write_began > c->write_ended ? c->write_began : c->write_ended;
    uint64_t took = now > began ? now - began : 1;
    uint64_t fits = (uint64_t)c->write_length[0] * LANE_TIME / took;
    uint64_t least = e->config.segment_min, most = e->config.segment_max;
    if (fits > most)
        fits = most;
    /* Rounded the way it goes, or it would come to neither end. */
    uint64_t spare = fits > c->segment_bytes ? GRAIN - 1 : 0;
    fits = ((c->segment_bytes * UINT64_C(3) + fits) / 4 + spare) / GRAIN * GRAIN;
    c->segment_bytes = (uint32_t)(fits < least ? least : fits > most ? most : fits);
}

static void write_done(engine *e, uint64_t now, connection *c, done_result result)
{
    if (result == DONE_OK)
        measure(e, now, c);
    c->write_ended = now;
    c->writes--;
    c->write_whole >>= 1;
    for (uint32_t i = 0; i < c->writes; i++)
        c->write_length[i] = c->write_length[i + 1];
    connection_act(e, c);
}

/* ---- reading ---- */

void lane_segment(engine *e, uint64_t now, uint32_t id, const segment *s)
{
    (void)now;
    connection *c = lane_by_id(e, id);
    if (c == NULL || c->state != CONNECTION_BULK || s->length == 0)
        return; /* nothing follows a header without a body */
    ENSURE(!c->read_due);
    connection_wipe(c);
    c->reading = *s;
    c->read_due = true;
    connection_act(e, c);
}

static bool is_missed(const connection *c, uint16_t slot, uint32_t sequence)
{
    uint32_t at = slot % LANE_MISSED;
    return c->missed[at].sequence == sequence && c->missed[at].slot == slot && sequence != 0;
}

bool transfer_eager_missed(engine *e, session *s, uint16_t slot, uint32_t sequence)
{
    bool missed = false;
    connection *c = lane_by_id(e, s->lanes[1]);
    for (; c != NULL; c = lane_by_id(e, c->older)) {
        if (!is_missed(c, slot, sequence))
            continue;
        c->missed[slot % LANE_MISSED].sequence = 0;
        missed = true;
    }
    return missed;
}

/* The others on this lane have waited long enough for one lost OFFER. */
void connection_hold_over(engine *e, uint64_t now, connection *c)
{
    c->hold_due = 0;
    timer_arm(&e->timers, &c->timer,
              c->session->dialler ? time_after(now, e->config.lane0_park / 4) : TIME_NEVER);
    if (!c->held || !c->read_due)
        return;
    uint32_t at = c->reading.slot % LANE_MISSED;
    if (c->missed[at].sequence != 0 && c->missed[at].slot != c->reading.slot) {
        lane_drop(e, now, c); /* no place to remember it: let its sender ask where to resume (T3) */
        return;
    }
    c->missed[at].sequence = c->reading.sequence;
    c->missed[at].slot = c->reading.slot;
}

static read_target hold(engine *e, uint64_t now, connection *c)
{
    if (is_missed(c, c->reading.slot, c->reading.sequence))
        return READ_SINK;
    if (c->held)
        return READ_WAIT;
    uint64_t most = 2 * recovery_pto(e, c->session);
    most = most < HOLD_LEAST ? HOLD_LEAST : most > HOLD_MOST ? HOLD_MOST : most;
    c->held = true;
    c->hold_due = time_after(now, most);
    timer_arm(&e->timers, &c->timer, c->hold_due);
    return READ_WAIT;
}

bool connection_read(engine *e, uint64_t now, connection *c, action *out)
{
    if (!c->read_due)
        return false;
    transfer *into = NULL;
    read_target target = READ_SINK;
    if (c->reading.kind == SEGMENT_DATA)
        target = transfer_read_target(e, c->session, c->lane, &c->reading, &into);
    if (target == READ_HOLD)
        target = hold(e, now, c);
    if (target == READ_WAIT)
        return false;
    c->read_due = c->held = false;
    *out = (action){.kind = ACTION_READ, .connection = c->id, .segment = c->reading};
    if (target == READ_INTO) {
        into->lane = c->lane;
        into->read_busy = true;
        into->read_length = c->reading.length;
        into->read_connection = c->id;
        into->operations++;
        out->memory = into->memory;
    }
    out->token = token_make(TOKEN_READ, c->number++, into, c->id);
    return true;
}

/* ---- reports ---- */

static void read_done(engine *e, uint64_t now, connection *c, transfer *t, done_result result)
{
    if (result == DONE_OK && c != NULL && t != NULL && c->state == CONNECTION_BULK)
        alive(c, c->reading.length);
    bool corrupt = result == DONE_CORRUPT && c != NULL && c->state != CONNECTION_CLOSING;
    if (corrupt)
        engine_drop(e, now, DROP_SEGMENT, c->session->index);
    if (t != NULL)
        transfer_read_done(e, now, t, result);
    if (corrupt)
        lane_drop(e, now, c); /* T10 */
}

void lane_done(engine *e, uint64_t now, uint64_t token, done_result result, uint64_t memory)
{
    uint32_t which = (uint32_t)(token >> 32) & TOKEN_TRANSFERS;
    connection *c = lane_by_id(e, (uint32_t)token);
    ENSURE(which == 0 || slots_used(&e->transfer_slots, which - 1));
    transfer *t = which == 0 ? NULL : &e->transfers[which - 1];
    ENSURE(t == NULL || t->operations > 0);
    switch ((token_kind)(token >> 62)) {
    case TOKEN_WRITE:
        ENSURE(t != NULL);
        if (c != NULL && c->writes > 0)
            write_done(e, now, c, result);
        transfer_write_done(e, now, t);
        return;
    case TOKEN_READ: read_done(e, now, c, t, result); return;
    case TOKEN_ALLOC:
        ENSURE(t != NULL);
        transfer_allocated(e, now, t, result, memory);
        return;
    }
    ENSURE(false);
}
