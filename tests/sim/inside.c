/* inside.c - oracles that need what an engine keeps in its tables: what is under way, and is it
 * right that it is?
 *
 *   Q5    bytes in flight within the window           when a packet leaves
 *   Q8    nothing the receiver has is sent again      when a WRITE is ordered
 *   Q18   a granted transfer moves within a second    ten times a second
 *
 * Each is judged by what nobody in the world knows alone: the sender's tables beside the
 * receiver's, or beside the state of the connection between them. */
#include "engine/state.h" /* before the world, whose names it would hide */

#include "streams.h"

#define ATTEMPT_BITS (UINT64_C(3) << 26) /* of a session id: not part of the name (S1) */
#define LOOK_EVERY   MS(100)
#define MOVES_WITHIN SECONDS(1)
#define TURNS        8u /* segments until the next of those that wait has one (T9) */

/* ---- Q5 ---- */

static session *session_to(const engine *e, uint64_t peer_id)
{
    list_link *at = list_first(&e->live);
    for (; at != NULL; at = list_next(&e->live, at)) {
        session *s = CONTAINER_OF(at, session, listed);
        if (s->peer_id == peer_id)
            return s;
    }
    return NULL;
}

/* The record of this packet; NULL: it has none, nobody need acknowledge it. Counts, on its way,
 * the bytes of all that neither came back nor were given up. */
static const record *record_of(const session *s, uint64_t number, uint64_t *flying)
{
    const record *found = NULL;
    list_link *at = list_first(&s->records);
    for (; at != NULL; at = list_next(&s->records, at)) {
        const record *r = CONTAINER_OF(at, record, in_session);
        *flying += r->flying ? r->size : 0;
        if (r->number == number)
            found = r;
    }
    return found;
}

/* P8: acknowledgements, probes and what decides over a path are exempt. A test of UDP from lane 0
 * (M2) is a probe too, of full size. */
void check_flight(node *from, const action *a)
{
    world *w = from->world;
    packet_header header;
    const session *s = NULL;
    if (packet_header_read(a->bytes, a->size, &header))
        s = session_to(from->engine, header.session);
    if (s == NULL)
        return;
    uint64_t flying = 0;
    const record *r = record_of(s, header.number, &flying);
    EXPECT(w, flying == s->window.flying, "Q5: node %u has %llu bytes in flight and counts %llu",
           from->index, (unsigned long long)flying, (unsigned long long)s->window.flying);
    if (r == NULL || r->path != PATH_UDP)
        return;
    uint32_t ordinary = r->controls & ~(uint32_t)CONTROL_EXEMPT;
    EXPECT(w, flying <= s->window.size || (list_empty(&r->carried) && ordinary == 0),
           "Q5: node %u sends packet %llu, %llu bytes are in flight, the window is %llu",
           from->index, (unsigned long long)header.number, (unsigned long long)flying,
           (unsigned long long)s->window.size);
    EXPECT(w, s->window.size <= s->window.max, "Q5: node %u has a window of %llu bytes",
           from->index, (unsigned long long)s->window.size);
}

/* ---- Q8 ---- */

static const transfer *transfer_named(const node *n, uint64_t token)
{
    uint64_t which = (token >> 32) & TOKEN_TRANSFERS;
    return which == 0 ? NULL : &n->engine->transfers[which - 1];
}

/* The same transfer in the receiver's tables; NULL: it is not there, or not any more. */
static const transfer *received_as(const node *there, const transfer *t)
{
    list_link *at = list_first(&there->engine->live);
    for (; at != NULL; at = list_next(&there->engine->live, at)) {
        session *s = CONTAINER_OF(at, session, listed);
        if (((s->id ^ t->session->peer_id) & ~ATTEMPT_BITS) != 0)
            continue;
        list_link *in = list_first(&s->transfers);
        for (; in != NULL; in = list_next(&s->transfers, in)) {
            const transfer *other = CONTAINER_OF(in, transfer, at);
            if (!transfer_is_sender(other) && other->slot == t->slot &&
                other->sequence == t->sequence)
                return other;
        }
    }
    return NULL;
}

/* T3: the receiver's word counts. What goes again after a cut is at most what was written and had
 * not been verified: never a byte that was. */
void check_write(stream_end *end, const action *a)
{
    node *n = end->owner;
    world *w = n->world;
    const transfer *t = transfer_named(n, a->token);
    const node *there = end->stream->end[!end->side].owner;
    EXPECT(w, t != NULL, "Q8: node %u writes for no transfer", n->index);
    memory *from = memory_of(n, a->memory);
    uint64_t to = a->segment.offset + a->segment.length;
    if (a->segment.offset < from->written)
        w->bulk_again += (to < from->written ? to : from->written) - a->segment.offset;
    from->written = to > from->written ? to : from->written;
    if (t->session == NULL || there == NULL || there->engine == NULL)
        return;
    const transfer *other = received_as(there, t);
    const memory *m = other == NULL ? NULL : memory_of((node *)(uintptr_t)there, other->memory);
    EXPECT(w, m == NULL || m->verified <= a->segment.offset,
           "Q8: node %u sends bytes %llu+%u of transfer %u.%u, node %u has %llu of them", n->index,
           (unsigned long long)a->segment.offset, a->segment.length, t->slot, t->sequence,
           there->index, (unsigned long long)m->verified);
}

/* ---- Q18 ---- */

/* True: the connection takes and brings bytes, and both processes run. */
static bool unhindered(node *n, uint32_t id)
{
    const stream_end *end = end_of(n, id);
    if (end == NULL || end->state != END_OPEN || !node_runs(n))
        return false;
    const stream *s = end->stream;
    const stream_end *other = &s->end[!end->side];
    if (other->owner == NULL || other->state != END_OPEN || !other->bulk)
        return false;
    uint32_t a = n->index, b = other->owner->index;
    return node_runs(other->owner) && !s->dead[0] && !s->dead[1] && s->held[0] == NULL &&
           s->held[1] == NULL && !network_cut(n->world, a, b) && !network_cut(n->world, b, a);
}

static void look_at_transfer(node *n, const session *s, const transfer *t, uint32_t of)
{
    world *w = n->world;
    moving *m = &n->moving[t->index];
    const connection *c = t->lane == 0 ? NULL : lane_by_number(n->engine, s, t->lane);
    bool due = t->state == SEND_ACTIVE && t->written < t->total && c != NULL && !c->bad &&
               unhindered(n, c->id);
    uint64_t stamp = t->written + t->position;
    bool same = m->seen + LOOK_EVERY >= w->now && m->life == n->life &&
                m->sequence == t->sequence && m->slot == t->slot && m->session == s->id &&
                m->stamp == stamp;
    uint32_t ordered = due ? end_of(n, c->id)->ordered : 0;
    if (!due || !m->due || !same)
        *m = (moving){n->life, s->id, stamp, w->now, w->now, t->sequence, ordered, t->slot, due};
    m->seen = w->now;
    /* On a slow lane others may be under way all the time: then it is their number that counts. */
    uint32_t others = ordered - m->ordered;
    uint64_t limit = MOVES_WITHIN + w->swarm.lateness + 2 * w->swarm.completion;
    EXPECT(w, w->now - m->since <= limit || (others > 0 && others < TURNS * (of + 1)),
           "Q18: transfer %u.%u of node %u was granted and has not moved for %.3f s, %u others did",
           t->slot, t->sequence, n->index, (double)(w->now - m->since) / 1e9, others);
}

static void look(world *w, void *what, uint64_t unused, uint64_t unused2)
{
    (void)what;
    for (uint32_t i = 0; i < w->node_count; i++) {
        node *n = &w->nodes[i];
        list_link *at = n->engine == NULL ? NULL : list_first(&n->engine->live);
        for (; at != NULL; at = list_next(&n->engine->live, at)) {
            const session *s = CONTAINER_OF(at, session, listed);
            list_link *in = list_first(&s->transfers);
            uint32_t count = 0;
            for (; in != NULL; in = list_next(&s->transfers, in))
                count++;
            for (in = list_first(&s->transfers); in != NULL; in = list_next(&s->transfers, in))
                look_at_transfer(n, s, CONTAINER_OF(in, transfer, at), count);
        }
    }
    if (w->queue_count > 0)
        world_at(w, w->now + LOOK_EVERY, look, NULL, unused, unused2);
}

void check_moving_begin(world *w)
{
    world_at(w, LOOK_EVERY, look, NULL, 0, 0);
}
