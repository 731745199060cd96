/* network.c - what may happen to a datagram between two sockets?
 *
 *   SEND -> [cut? blocked? too big? lost?] -> link (rate, queue) -> delay, jitter -> copy, flip
 *        -> address still leads somewhere? -> socket buffer full? -> inbox -> batch of a turn
 *
 * Whatever is dropped here is dropped silently, unless the seed has the kernel say so (P11). */
#include "world.h"

#include "wire/frame.h"

#define INBOX_MAX  256u /* datagrams in a socket's buffer */
#define LINK_QUEUE MS(100)

node *network_find(world *w, const address *a)
{
    for (uint32_t i = 0; i < w->node_count; i++) {
        node *n = &w->nodes[i];
        for (uint32_t alias = 0; alias < ALIASES; alias++)
            if (address_equal(a, &n->address[alias]))
                return n;
        if (address_equal(a, &n->source))
            return n;
    }
    return NULL;
}

bool network_cut(const world *w, uint32_t from, uint32_t to)
{
    return w->pairs[from][to].cut_since != 0;
}

/* ---- in words, for --verbose ---- */

static int frame_text(char *out, size_t room, const frame *f)
{
    switch (f->type) {
    case FRAME_OFFER:
        return snprintf(out, room, " OFFER %u.%u (%s %u.%u)", f->transfer_slot,
                        f->transfer_sequence, f->what == CARRIES_REPLY ? "reply" : "request",
                        f->slot, f->sequence);
    case FRAME_TRANSFER:
        return snprintf(out, room, " TRANSFER %u.%u state %u %s lane %u at %llu", f->transfer_slot,
                        f->transfer_sequence, f->state, status_name(f->status), f->lane,
                        (unsigned long long)f->position);
    case FRAME_QUERY:
    case FRAME_ABANDON:
        return snprintf(out, room, " %s %u.%u", frame_name(f->type), f->transfer_slot,
                        f->transfer_sequence);
    case FRAME_REQUEST:
    case FRAME_REPLY:
    case FRAME_REFUSED:
    case FRAME_CANCEL:
        return snprintf(out, room, " %s %u.%u %s", frame_name(f->type), f->slot, f->sequence,
                        f->type == FRAME_CANCEL ? "" : status_name(f->status));
    default: return snprintf(out, room, " %s", frame_name(f->type));
    }
}

static void describe(world *w, const node *from, const node *to, const action *a)
{
    char text[600] = "";
    packet_header header;
    reader r = reader_of(a->bytes, a->size);
    if (!packet_header_read(a->bytes, a->size, &header)) {
        snprintf(text, sizeof text, "hello %#x", a->size ? a->bytes[0] : 0u);
    } else if (w->sealed) {
        snprintf(text, sizeof text, "packet %llu sealed", (unsigned long long)header.number);
    } else {
        packet_prologue ack;
        frame f;
        read_bytes(&r, PACKET_HEADER);
        r.end -= 4;
        packet_prologue_read(&r, &ack);
        int at =
            snprintf(text, sizeof text, "packet %llu ack %llu:", (unsigned long long)header.number,
                     (unsigned long long)ack.ack_largest);
        while ((size_t)at < sizeof text - 100 && frame_read(&r, &f) == FRAME_READ)
            at += frame_text(text + at, sizeof text - (size_t)at, &f);
    }
    say(w, "%u -> %d  %s %zu bytes: %s", from->index, to ? (int)to->index : -1,
        address_text(&a->remote), a->size, text);
}

/* ---- arrival ---- */

static void icmp(world *w, void *what, uint64_t life, uint64_t fault)
{
    inbox_entry *d = what; /* its remote: whom the kernel blames */
    node *n = network_find(w, &d->local);
    if (n != NULL && n->life == life && node_runs(n)) {
        uint64_t now = node_enter(n);
        say(w, "node %u: kernel blames %s, %u", n->index, address_text(&d->remote),
            (unsigned)fault);
        engine_send_failed(n->engine, now, &d->remote, (send_fault)fault);
        node_settle(n);
    }
    free(d);
}

static void blame(node *n, const address *remote, send_fault fault)
{
    inbox_entry *d = calloc(1, sizeof *d);
    d->local = n->address[0];
    d->remote = *remote;
    world_at_owned(n->world, n->world->now + chance_below(n->world, MS(1)), icmp, d, n->life,
                   (uint64_t)fault);
}

static void arrive(world *w, void *what, uint64_t from, uint64_t unused)
{
    (void)unused;
    inbox_entry *d = what;
    node *n = network_find(w, &d->local);
    if (n == NULL || n->host_down ||
        (from < w->node_count && network_cut(w, (uint32_t)from, n->index))) {
        free(d);
        return;
    }
    if (n->engine == NULL) {
        node *sender = network_find(w, &d->remote);
        if (sender != NULL && sender->engine != NULL && chance(w, w->swarm.icmp))
            blame(sender, &d->local, SEND_REFUSED);
        free(d);
        return;
    }
    if (address_equal(&d->local, &n->source) && !address_equal(&n->source, &n->address[0]))
        d->local = n->address[0]; /* its NAT translates */
    if (from < w->node_count)
        w->pairs[from][n->index].heard = w->now;
    bool full = n->inbox_count >= INBOX_MAX || (w->faulty && chance(w, w->swarm.kernel_full));
    if (full) {
        n->kernel_drops++;
        free(d);
        return;
    }
    d->next = NULL;
    *n->inbox_end = d;
    n->inbox_end = &d->next;
    n->inbox_count++;
    node_wake(n, chance_below(w, 60 * NS_PER_US));
}

/* ---- under way ---- */

static inbox_entry *datagram_make(const address *local, const address *remote, const uint8_t *bytes,
                                  size_t size)
{
    inbox_entry *d = malloc(sizeof *d + size);
    d->local = *local;
    d->remote = *remote;
    d->size = size;
    memcpy(d->bytes, bytes, size);
    return d;
}

static uint64_t travel_time(world *w, uint32_t from, uint32_t to, size_t size)
{
    const swarm *s = &w->swarm;
    pair *p = &w->pairs[from][to];
    uint64_t delay = s->delay + chance_below(w, s->jitter + 1);
    if (w->faulty && chance(w, s->reorder))
        delay += chance_below(w, 4 * (s->delay + s->jitter) + MS(1));
    if (s->rate == 0)
        return delay;
    uint64_t begin = p->line_free > w->now ? p->line_free : w->now;
    if (begin - w->now > LINK_QUEUE)
        return TIME_NEVER; /* the bottleneck's queue is full */
    p->line_free = begin + size * NS_PER_S / s->rate;
    return p->line_free - w->now + delay;
}

static void fly(world *w, uint32_t from, uint32_t to, inbox_entry *d)
{
    uint64_t delay = travel_time(w, from, to, d->size);
    if (delay == TIME_NEVER) {
        free(d);
        return;
    }
    if (w->faulty && d->size > 0 && chance(w, w->swarm.corrupt))
        d->bytes[chance_below(w, d->size)] ^= (uint8_t)(1 + chance_below(w, 255));
    world_at_owned(w, w->now + delay, arrive, d, from, 0);
}

static void capture(world *w, const address *local, const address *remote, const uint8_t *bytes,
                    size_t size)
{
    captured *c = &w->captured[w->captured_count++ % CAPTURED];
    if (!chance(w, 100) && w->captured_count > CAPTURED)
        return; /* some old ones stay */
    c->local = *local;
    c->remote = *remote;
    c->size = size;
    memcpy(c->bytes, bytes, size);
}

static bool swallowed(node *from, node *to, const action *a)
{
    world *w = from->world;
    const swarm *s = &w->swarm;
    if (network_cut(w, from->index, to->index) || s->udp_blocked)
        return true;
    uint32_t most = narrow_limit(w, false);
    if (most != 0 && a->size > most) {
        if (chance(w, s->icmp))
            blame(from, &a->remote, SEND_TOO_BIG);
        return true;
    }
    return w->faulty && chance(w, s->loss);
}

void network_send(node *from, const action *a)
{
    world *w = from->world;
    node *to = network_find(w, &a->remote);
    step_bytes(w, a->bytes, a->size);
    if (w->options.verbose)
        describe(w, from, to, a);
    check_send(from, a, to);
    w->packets++;
    if (to == NULL)
        return;
    w->pairs[from->index][to->index].datagrams++;
    if (w->faulty && to->engine != NULL && chance(w, w->swarm.forged_icmp))
        blame(from, &a->remote, chance(w, 500) ? SEND_REFUSED : SEND_UNREACHABLE);
    /* What the receiver sees: the alias it was sent from, or the address of the NAT. */
    address source = from->source;
    if (a->local.family != 0 && !address_equal(&a->local, &from->address[0]))
        source = a->local;
    capture(w, &a->remote, &source, a->bytes, a->size);
    if (swallowed(from, to, a))
        return;
    fly(w, from->index, to->index, datagram_make(&a->remote, &source, a->bytes, a->size));
    if (w->faulty && chance(w, w->swarm.duplicate))
        fly(w, from->index, to->index, datagram_make(&a->remote, &source, a->bytes, a->size));
}

/* ---- attackers ---- */

static address stranger(world *w)
{
    return (address){.ip = {203, 0, 113, (uint8_t)chance_below(w, 250)},
                     .port = (uint16_t)(1 + chance_below(w, 60000)),
                     .family = 4};
}

/* A datagram of earlier, from its true source, to where it went then: also after a restart (K4). */
void network_replay(world *w)
{
    uint32_t count = w->captured_count < CAPTURED ? w->captured_count : CAPTURED;
    if (count == 0)
        return;
    const captured *c = &w->captured[chance_below(w, count)];
    if (c->remote.family == 0)
        return;
    say(w, "replay of %zu bytes to %s", c->size, address_text(&c->local));
    w->replayed_at = w->now;
    world_at_owned(w, w->now + chance_below(w, MS(1)), arrive,
                   datagram_make(&c->local, &c->remote, c->bytes, c->size), NODES_MAX, 0);
}

/* Bytes of a stranger: random, or a genuine packet with one byte changed. Never answered (Q11). */
void network_garbage(world *w)
{
    uint8_t bytes[PACKET_BUDGET];
    node *n = &w->nodes[chance_below(w, w->node_count)];
    size_t size = (size_t)chance_below(w, sizeof bytes + 1);
    random_bytes(&w->chance, bytes, size);
    if (size > 0 && chance(w, 700)) /* a likely kind */
        bytes[0] = (uint8_t[]){0x11, 0x12, 0x20, 0x24}[chance_below(w, 4)];
    const captured *c = &w->captured[chance_below(w, CAPTURED)];
    if (chance(w, 500) && c->size > 0) {
        size = c->size;
        memcpy(bytes, c->bytes, size);
        bytes[chance_below(w, size)] ^= (uint8_t)(1 + chance_below(w, 255));
    }
    address from = stranger(w);
    world_at_owned(w, w->now, arrive, datagram_make(&n->address[0], &from, bytes, size), NODES_MAX,
                   0);
}

/* ---- reception ---- */

static size_t take_batch(node *n, datagram *batch, inbox_entry **taken)
{
    size_t most = chance(n->world, 300) ? 1 : 1 + (size_t)chance_below(n->world, ENGINE_BATCH);
    if (n->world->options.batch != 0)
        most = n->world->options.batch;
    size_t count = 0;
    while (count < most && n->inbox != NULL) {
        inbox_entry *d = n->inbox;
        n->inbox = d->next;
        n->inbox_count--;
        taken[count] = d;
        batch[count++] = (datagram){d->local, d->remote, d->bytes, d->size};
    }
    if (n->inbox == NULL)
        n->inbox_end = &n->inbox;
    return count;
}

void network_receive(node *n)
{
    while (n->inbox != NULL) {
        datagram batch[ENGINE_BATCH];
        inbox_entry *taken[ENGINE_BATCH];
        size_t count = take_batch(n, batch, taken);
        uint64_t now = node_enter(n);
        engine_datagrams(n->engine, now, batch, count, n->kernel_drops);
        for (size_t i = 0; i < count; i++)
            free(taken[i]);
        node_settle(n);
    }
}

void network_forget(node *n)
{
    while (n->inbox != NULL) {
        inbox_entry *d = n->inbox;
        n->inbox = d->next;
        free(d);
    }
    n->inbox_end = &n->inbox;
    n->inbox_count = 0;
}
