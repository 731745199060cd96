/* streams.c - virtual TCP: connections that open, carry bytes in order, and fail in every way.
 *
 * A connection may be refused, time out, open on one side only (M4), be cut without a word, be
 * reset, swallow full segments (T8), be slow, or flip a byte. Bytes come in random pieces. */
#include "streams.h"

#define KERNEL_GIVES_UP SECONDS(4) /* TCP_USER_TIMEOUT and keepalive */
#define DIAL_GIVES_UP   SECONDS(3)
#define TCP_SEGMENT     1448u
#define CAPACITY_HEALED (1u << 20)

/* ---- bytes in order ---- */

void fifo_push(fifo *f, const uint8_t *bytes, size_t size)
{
    if (f->from == f->to)
        f->from = f->to = 0;
    if (f->to + size > f->room) {
        f->room = 2 * (f->to + size);
        f->bytes = realloc(f->bytes, f->room);
    }
    if (size > 0)
        memcpy(f->bytes + f->to, bytes, size);
    f->to += size;
}

void fifo_drop(fifo *f)
{
    free(f->bytes);
    *f = (fifo){.bytes = NULL};
}

/* ---- chunks ---- */

static bool blocked(const stream *s)
{
    uint32_t a = s->at[0], b = s->at[1];
    return network_cut(s->world, a, b) || network_cut(s->world, b, a);
}

static void lose_patience(world *w, void *what, uint64_t side, uint64_t unused)
{
    (void)unused;
    stream *s = what;
    stream_end *end = &s->end[side];
    if (end->state != END_OPEN || !(s->dead[0] || s->dead[1] || blocked(s)))
        return;
    say(w, "stream of node %u: kernel gives up", end->owner ? end->owner->index : 99);
    end->reset = true;
    if (end->owner != NULL)
        node_wake(end->owner, 0);
}

static void chunk_send(stream *s, uint8_t from, uint8_t kind, const uint8_t *bytes, size_t size);

static void chunk_arrived(stream *s, chunk *c)
{
    stream_end *to = &s->end[!c->from];
    s->under_way[c->from] -= c->size;
    if (to->owner == NULL || to->state >= END_OVER) {
        if (c->kind == CHUNK_DATA)
            chunk_send(s, !c->from, CHUNK_RESET, NULL, 0);
        return;
    }
    if (c->kind == CHUNK_DATA)
        fifo_push(&to->in, c->bytes, c->size);
    to->ended |= c->kind == CHUNK_END;
    to->reset |= c->kind == CHUNK_RESET;
    if (s->end[c->from].owner != NULL)
        s->world->pairs[s->end[c->from].owner->index][to->owner->index].heard = s->world->now;
    node_wake(to->owner, chance_below(s->world, 60 * NS_PER_US));
}

static void chunk_due(world *w, void *what, uint64_t unused, uint64_t unused2)
{
    (void)unused;
    (void)unused2;
    chunk *c = what;
    stream *s = c->stream;
    if (s->dead[c->from]) {
        world_at(w, w->now + KERNEL_GIVES_UP, lose_patience, s, c->from, 0);
        free(c);
        return;
    }
    if (blocked(s) || s->held[c->from] != NULL) {
        chunk **last = &s->held[c->from];
        if (*last == NULL) {
            world_at(w, w->now + KERNEL_GIVES_UP, lose_patience, s, c->from, 0);
            if (chance(w, 700)) /* the other kernel's keepalive */
                world_at(w, w->now + chance_between(w, KERNEL_GIVES_UP, SECONDS(6)), lose_patience,
                         s, !c->from, 0);
        }
        while (*last != NULL)
            last = &(*last)->next;
        c->next = NULL;
        *last = c;
        return;
    }
    chunk_arrived(s, c);
    free(c);
}

static bool swallowed(const stream *s, size_t size)
{
    uint32_t mtu = narrow_limit(s->world, true);
    uint32_t most = s->segment_size ? s->segment_size : TCP_SEGMENT;
    return mtu != 0 && most + 40 > mtu && size + 40 > mtu;
}

static void chunk_send(stream *s, uint8_t from, uint8_t kind, const uint8_t *bytes, size_t size)
{
    world *w = s->world;
    chunk *c = malloc(sizeof *c + size);
    *c = (chunk){.stream = s, .from = from, .kind = kind, .size = size};
    if (size > 0)
        memcpy(c->bytes, bytes, size);
    if (size > 0 && w->faulty && chance(w, w->swarm.corrupt_stream)) {
        uint8_t *hit = &c->bytes[chance_below(w, size)];
        uint8_t flips = (uint8_t)(1 + chance_below(w, 255));
        *hit ^= stream_is_direct(s) ? 0 : flips;
    }
    if (swallowed(s, size))
        s->dead[from] = true;
    uint64_t delay = w->swarm.delay + chance_below(w, w->swarm.jitter + 1);
    if (s->slow && w->faulty)
        delay += size * 1000; /* 1 MB/s */
    uint64_t at = w->now + delay;
    at = at < s->arrived[from] ? s->arrived[from] : at;
    s->arrived[from] = at;
    s->under_way[from] += size;
    world_at_owned(w, at, chunk_due, c, 0, 0);
}

void streams_healed(world *w)
{
    for (stream *s = w->streams; s != NULL; s = s->next) {
        for (unsigned side = 0; side < 2; side++) {
            while (s->held[side] != NULL && !blocked(s)) {
                chunk *c = s->held[side];
                s->held[side] = c->next;
                chunk_arrived(s, c);
                free(c);
            }
        }
    }
}

/* ---- ends ---- */

stream_end *end_of(node *n, uint32_t id)
{
    for (uint32_t i = 0; i < n->end_count; i++)
        if (n->ends[i]->id == id && id != 0)
            return n->ends[i];
    return NULL;
}

static void end_attach(stream_end *end, node *n)
{
    end->owner = n;
    end->life = n->life;
    end->stream->at[end->side] = n->index;
    if (n->end_count == n->end_room) {
        n->end_room = n->end_room ? 2 * n->end_room : 8;
        n->ends = realloc(n->ends, n->end_room * sizeof *n->ends);
    }
    n->ends[n->end_count++] = end;
}

size_t end_take(stream_end *end, uint8_t *out, size_t most)
{
    size_t there = fifo_size(&end->in);
    size_t size = most < there ? most : there;
    memcpy(out, end->in.bytes + end->in.from, size);
    end->in.from += size;
    stream_end *other = &end->stream->end[!end->side];
    if (other->owner != NULL && other->state == END_OPEN)
        node_wake(other->owner, end->stream->world->swarm.delay); /* its window opens */
    return size;
}

void end_flush(stream_end *end)
{
    stream *s = end->stream;
    size_t taken = s->under_way[end->side] + fifo_size(&s->end[!end->side].in);
    size_t capacity = s->world->faulty ? s->capacity : CAPACITY_HEALED;
    while (fifo_size(&end->out) > 0 && taken < capacity) {
        size_t room = capacity - taken;
        size_t size = fifo_size(&end->out) < room ? fifo_size(&end->out) : room;
        if (size > 1 && chance(s->world, 300))
            size = 1 + (size_t)chance_below(s->world, size);
        chunk_send(s, end->side, CHUNK_DATA, end->out.bytes + end->out.from, size);
        end->out.from += size;
        taken += size;
    }
}

static void end_close(stream_end *end)
{
    world *w = end->stream->world;
    end->state = END_OVER;
    bulk_over(end);
    fifo_drop(&end->in);
    fifo_drop(&end->out);
    end->gone_at = w->now + chance_below(w, w->swarm.completion + 1);
    node_wake(end->owner, end->gone_at - w->now);
}

void end_over(stream_end *end, connection_news news)
{
    node *n = end->owner;
    step(n->world, n->index, end->id, (uint64_t)news);
    say(n->world, "node %u connection %u: news %d", n->index, end->id, (int)news);
    end_close(end);
    chunk_send(end->stream, end->side, CHUNK_RESET, NULL, 0);
    uint64_t now = node_enter(n);
    engine_connection(n->engine, now, end->id, news);
    node_settle(n);
}

/* ---- opening ---- */

static void dial_ends(stream_end *end, connection_news news)
{
    if (end->state != END_OPENING || end->owner == NULL)
        return;
    end->outcome = (uint8_t)news;
    end->outcome_due = true;
    node_wake(end->owner, 0);
}

static void dial_gives_up(world *w, void *what, uint64_t unused, uint64_t unused2)
{
    (void)w;
    (void)unused;
    (void)unused2;
    dial_ends(&((stream *)what)->end[0], CONNECTION_TIMEOUT);
}

/* Who listens there. The NAT forwards datagrams of flows it knows, but no connections. */
static node *listener(world *w, const address *a)
{
    node *n = network_find(w, a);
    return n != NULL && (address_equal(a, &n->address[0]) || address_equal(a, &n->address[1]))
               ? n
               : NULL;
}

static void connect_arrives(world *w, void *what, uint64_t unused, uint64_t unused2)
{
    (void)unused;
    (void)unused2;
    stream *s = what;
    node *from = s->end[0].owner, *to = listener(w, &s->remote);
    if (from == NULL || s->end[0].state != END_OPENING)
        return; /* given up, or crashed */
    bool nobody = to == NULL || to->host_down || network_cut(w, from->index, to->index) ||
                  network_cut(w, to->index, from->index);
    if (nobody || (w->swarm.tcp_blocked && chance(w, 700))) {
        world_at(w, w->now + DIAL_GIVES_UP, dial_gives_up, s, 0, 0);
        return;
    }
    if (to->engine == NULL || w->swarm.tcp_blocked || (w->faulty && chance(w, w->swarm.refuse))) {
        dial_ends(&s->end[0], CONNECTION_REFUSED);
        return;
    }
    if (w->faulty && chance(w, w->swarm.half_open)) {
        s->dead[0] = s->dead[1] = true; /* the accept queue was full: nobody will ever answer */
    } else {
        s->end[1].state = END_ACCEPTING;
        end_attach(&s->end[1], to);
        node_wake(to, chance_below(w, MS(1)));
    }
    dial_ends(&s->end[0], CONNECTION_OPENED);
}

/* Of three connections one is direct, one has somebody between, and of one an end knows nothing. */
static void draw_witnesses(stream *s)
{
    random_source *later = &s->world->later;
    if (!s->world->swarm.direct)
        return;
    uint64_t kind = random_below(later, 3);
    s->witness[0] = 1 + random_below(later, UINT64_MAX - 2);
    s->witness[1] = kind == 0 ? s->witness[0] : kind == 1 ? s->witness[0] + 1 : 0;
}

static void open_stream(node *n, const action *a)
{
    world *w = n->world;
    EXPECT(w, end_of(n, a->connection) == NULL, "M4: node %u opens connection %u twice", n->index,
           a->connection);
    stream *s = calloc(1, sizeof *s);
    s->world = w;
    s->next = w->streams;
    w->streams = s;
    s->capacity = (uint32_t)chance_between(w, 2000, chance(w, 500) ? 20000 : 400000);
    s->segment_size = a->segment_size;
    s->remote = a->remote;
    s->seen = n->source;
    s->seen.port = (uint16_t)chance_between(w, 30000, 60000);
    s->slow = chance(w, w->swarm.slow_stream);
    draw_witnesses(s);
    for (uint8_t side = 0; side < 2; side++) {
        s->end[side].stream = s;
        s->end[side].side = side;
    }
    s->at[1] = n->index; /* until somebody accepts */
    s->end[0].id = a->connection;
    s->end[0].state = END_OPENING;
    end_attach(&s->end[0], n);
    world_at(w, w->now + 2 * w->swarm.delay + chance_below(w, w->swarm.jitter + 1), connect_arrives,
             s, 0, 0);
}

static void shut(stream_end *end)
{
    world *w = end->stream->world;
    if (end->state == END_OVER)
        return; /* we were quicker */
    bool opened = end->state == END_OPEN;
    if (opened && !end->bulk)
        end_flush(end);
    end_close(end);
    if (opened)
        chunk_send(end->stream, end->side, chance(w, 300) ? CHUNK_RESET : CHUNK_END, NULL, 0);
}

void streams_act(node *n, const action *a)
{
    world *w = n->world;
    if (a->kind == ACTION_WRITE || a->kind == ACTION_READ)
        say(w, "node %u connection %u: %s %u.%u bytes %llu+%u", n->index, a->connection,
            a->kind == ACTION_WRITE ? "WRITE" : "READ", a->segment.slot, a->segment.sequence,
            (unsigned long long)a->segment.offset, a->segment.length);
    else
        say(w, "node %u connection %u: %s %s", n->index, a->connection,
            a->kind == ACTION_OPEN   ? "OPEN"
            : a->kind == ACTION_SHUT ? "SHUT"
            : a->kind == ACTION_BULK ? "BULK"
                                     : "PUT",
            a->kind == ACTION_OPEN ? address_text(&a->remote) : "");
    if (a->kind == ACTION_OPEN) {
        open_stream(n, a);
        return;
    }
    stream_end *end = end_of(n, a->connection);
    EXPECT(w, end != NULL, "M4: node %u gives action %d for connection %u, which is gone", n->index,
           (int)a->kind, a->connection);
    if (a->kind == ACTION_SHUT) {
        shut(end);
        return;
    }
    EXPECT(w, end->state == END_OPEN, "M4: node %u gives action %d for connection %u, state %u",
           n->index, (int)a->kind, a->connection, end->state);
    if (a->kind == ACTION_BULK) {
        bulk_begin(end, a);
    } else if (a->kind == ACTION_PUT) {
        EXPECT(w, !end->bulk, "M4: node %u PUTs on a bulk lane", n->index);
        EXPECT(w, a->size <= ACTION_BUFFER, "Q5: node %u PUTs %zu bytes", n->index, a->size);
        step_bytes(w, a->bytes, a->size);
        fifo_push(&end->out, a->bytes, a->size);
        end->unsent_told = SIZE_MAX; /* the engine counts on being told after each PUT */
    } else {
        bulk_order(end, a);
    }
    node_wake(n, 0);
}
