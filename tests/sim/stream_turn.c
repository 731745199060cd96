/* stream_turn.c - what a node's turn does with its connections, and what befalls them. */
#include "streams.h"

/* ---- news ---- */

static void tell_witness(const stream_end *end)
{
    uint64_t witness = end->stream->witness[end->side];
    if (witness != 0 && end->id != 0)
        engine_witness(end->owner->engine, end->id, witness);
}

static void accept_one(stream_end *end)
{
    node *n = end->owner;
    uint64_t now = node_enter(n);
    end->id = engine_accept(n->engine, now, &n->address[0], &end->stream->seen);
    tell_witness(end);
    say(n->world, "node %u accepts connection %u", n->index, end->id);
    end->state = END_OPEN;
    node_settle(n);
    if (end->id == 0) { /* refused: the loop closes it without a byte */
        end->state = END_OVER;
        stream_end *other = &end->stream->end[!end->side];
        if (other->owner != NULL && other->state <= END_OPEN) {
            other->ended = true;
            node_wake(other->owner, n->world->swarm.delay);
        }
        end->state = END_GONE;
    }
}

static void tell_outcome(stream_end *end)
{
    node *n = end->owner;
    end->outcome_due = false;
    if (end->outcome != CONNECTION_OPENED) {
        end_over(end, (connection_news)end->outcome);
        return;
    }
    end->state = END_OPEN;
    uint64_t now = node_enter(n);
    tell_witness(end);
    engine_connection(n->engine, now, end->id, CONNECTION_OPENED);
    node_settle(n);
}

static void tell_gone(stream_end *end)
{
    node *n = end->owner;
    world *w = n->world;
    if (end->gone_at > w->now || completions_pending(n, end->id)) {
        node_wake(n, end->gone_at > w->now ? end->gone_at - w->now : MS(1));
        return;
    }
    end->state = END_GONE;
    uint32_t id = end->id;
    end->id = 0;
    uint64_t now = node_enter(n);
    engine_connection(n->engine, now, id, CONNECTION_GONE);
    node_settle(n);
}

/* ---- packets ---- */

static void feed_packets(stream_end *end)
{
    node *n = end->owner;
    while (end->state == END_OPEN && !end->bulk && fifo_size(&end->in) > 0) {
        size_t room = engine_room(n->engine, end->id);
        if (room == 0)
            return;
        size_t most = chance(n->world, 300) ? 1 + (size_t)chance_below(n->world, room) : room;
        uint8_t *bytes = malloc(most);
        size_t size = end_take(end, bytes, most);
        step_bytes(n->world, bytes, size);
        uint64_t now = node_enter(n);
        engine_bytes(n->engine, now, end->id, bytes, size);
        free(bytes);
        node_settle(n);
    }
}

static void tell_unsent(stream_end *end)
{
    node *n = end->owner;
    end_flush(end);
    size_t unsent = fifo_size(&end->out);
    if (unsent == end->unsent_told)
        return;
    end->unsent_told = unsent;
    node_enter(n);
    engine_unsent(n->engine, end->id, unsent);
    node_settle(n);
}

static void end_turn(stream_end *end)
{
    if (end->state == END_ACCEPTING)
        accept_one(end);
    if (end->outcome_due && end->state == END_OPENING)
        tell_outcome(end);
    if (end->state == END_OPEN) {
        feed_packets(end);
        if (end->bulk && end->state == END_OPEN)
            bulk_turn(end);
        if (!end->bulk && end->state == END_OPEN)
            tell_unsent(end);
    }
    /* A reset discards what was not read; an end of stream comes behind it. */
    if (end->state == END_OPEN && end->reset)
        end_over(end, CONNECTION_BROKE);
    bool stuck = end->bulk && end->reading != READING_WAITS;
    if (end->state == END_OPEN && end->ended && (fifo_size(&end->in) == 0 || stuck))
        end_over(end, CONNECTION_ENDED);
    if (end->state == END_OVER)
        tell_gone(end);
}

void streams_turn(node *n)
{
    for (uint32_t i = 0; i < n->end_count; i++)
        end_turn(n->ends[i]);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->end_count; i++)
        if (n->ends[i]->state != END_GONE)
            n->ends[kept++] = n->ends[i];
    n->end_count = kept;
}

/* ---- what befalls them ---- */

static void reset_later(world *w, void *what, uint64_t side, uint64_t unused)
{
    (void)unused;
    (void)w;
    stream_end *end = &((stream *)what)->end[side];
    if (end->state == END_OPEN && end->owner != NULL) {
        end->reset = true;
        node_wake(end->owner, 0);
    }
}

void streams_strike(world *w)
{
    uint32_t count = 0;
    for (stream *s = w->streams; s != NULL; s = s->next)
        count += s->end[0].state == END_OPEN || s->end[1].state == END_OPEN;
    if (count == 0)
        return;
    uint64_t chosen = chance_below(w, count);
    for (stream *s = w->streams; s != NULL; s = s->next) {
        if (s->end[0].state != END_OPEN && s->end[1].state != END_OPEN)
            continue;
        if (chosen-- != 0)
            continue;
        if (chance(w, w->swarm.silent)) {
            say(w, "a stream dies silently");
            s->dead[0] = true;
            s->dead[1] = chance(w, 700);
            return;
        }
        say(w, "a stream is reset");
        world_at(w, w->now + chance_below(w, MS(20)), reset_later, s, 0, 0);
        world_at(w, w->now + chance_below(w, MS(20)), reset_later, s, 1, 0);
        return;
    }
}

void streams_crash(node *n, bool silent)
{
    world *w = n->world;
    for (uint32_t i = 0; i < n->end_count; i++) {
        stream_end *end = n->ends[i];
        stream *s = end->stream;
        while (end->writes != NULL) {
            write_order *order = end->writes;
            end->writes = order->next;
            free(order);
        }
        lane_cipher_wipe(&end->send);
        lane_cipher_wipe(&end->receive);
        fifo_drop(&end->in);
        fifo_drop(&end->out);
        end->state = END_GONE;
        end->owner = NULL;
        if (silent)
            s->dead[0] = s->dead[1] = true;
        else
            world_at(w, w->now + w->swarm.delay + chance_below(w, MS(1)), reset_later, s,
                     !end->side, 0);
    }
    free(n->ends);
    n->ends = NULL;
    n->end_count = n->end_room = 0;
}

void streams_free(world *w)
{
    while (w->streams != NULL) {
        stream *s = w->streams;
        w->streams = s->next;
        for (unsigned side = 0; side < 2; side++) {
            fifo_drop(&s->end[side].in);
            fifo_drop(&s->end[side].out);
            while (s->held[side] != NULL) {
                chunk *c = s->held[side];
                s->held[side] = c->next;
                free(c);
            }
        }
        free(s);
    }
}
