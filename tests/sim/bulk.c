/* bulk.c - what the lane thread does: whole segments out of memory and into it.
 *
 * With the real seal/segment code, in random pieces. T2: a body goes where the READ says, and
 * nothing is believed before its trailer. Every order is reported once, late (E2). */
#include "streams.h"

#define PIECE_MAX  5000u
#define STAGED_MAX 16384u

void bulk_begin(stream_end *end, const action *a)
{
    end->bulk = true;
    end->send = *a->send;
    end->receive = *a->receive;
    end->reading = READING_HEAD;
    bool direct = stream_is_direct(end->stream) && !end->owner->world->sealed;
    EXPECT(end->owner->world, a->send->direct == direct && a->receive->direct == direct,
           "K11: node %u has connection %u for %s", end->owner->index, a->connection,
           direct ? "not direct, and it is" : "direct, and it is not");
}

static memory *memory_ordered(node *n, const action *a)
{
    world *w = n->world;
    memory *m = memory_of(n, a->memory);
    EXPECT(w, m != NULL && m->owner == MEMORY_ENGINE,
           "Q7b: node %u orders lane %u to use memory %#llx that is not the engine's", n->index,
           a->connection, (unsigned long long)a->memory);
    EXPECT(w, a->segment.offset <= m->size && a->segment.length <= m->size - a->segment.offset,
           "Q8: node %u orders bytes %llu+%u of memory with %llu", n->index,
           (unsigned long long)a->segment.offset, a->segment.length, (unsigned long long)m->size);
    m->users++;
    return m;
}

static void order_write(stream_end *end, const action *a)
{
    node *n = end->owner;
    memory *m = memory_ordered(n, a);
    uint32_t most = n->config.segment_max + n->config.segment_max / 16;
    EXPECT(n->world, !m->received && a->segment.length > 0 && a->segment.length <= most,
           "Q8: node %u writes a segment of %u bytes", n->index, a->segment.length);
    check_write(end, a);
    end->ordered++;
    write_order *order = calloc(1, sizeof *order), **last = &end->writes;
    order->token = a->token;
    order->memory = a->memory;
    order->segment = a->segment;
    while (*last != NULL)
        last = &(*last)->next;
    *last = order;
    n->world->bulk_bytes += a->segment.length;
}

static void order_read(stream_end *end, const action *a)
{
    node *n = end->owner;
    world *w = n->world;
    EXPECT(w, end->reading == READING_WAITS && a->segment.length == end->read.length,
           "T2: node %u orders a READ that no segment asks for", n->index);
    if (a->memory != 0) {
        memory *m = memory_ordered(n, a);
        EXPECT(w, m->received && !m->reading && a->segment.offset == m->verified,
               "Q8: node %u reads to offset %llu, verified are %llu, reading %d", n->index,
               (unsigned long long)a->segment.offset, (unsigned long long)m->verified, m->reading);
        m->reading = true;
    }
    end->reading = READING_BODY;
    end->read_token = a->token;
    end->read_memory = a->memory;
    end->read.offset = a->segment.offset;
    end->read_done = 0;
}

void bulk_order(stream_end *end, const action *a)
{
    EXPECT(end->owner->world, end->bulk && end->state == END_OPEN,
           "T2: node %u orders a WRITE or READ on connection %u in state %u", end->owner->index,
           a->connection, end->state);
    if (a->kind == ACTION_WRITE)
        order_write(end, a);
    else
        order_read(end, a);
    node_wake(end->owner, 0);
}

/* ---- writing ---- */

static void report_write(stream_end *end, done_result result)
{
    write_order *order = end->writes;
    end->writes = order->next;
    completion_add(end->owner, &(completion){.token = order->token,
                                             .result = result,
                                             .names = order->memory,
                                             .connection = end->id});
    free(order);
}

/* The next piece of the first order goes to `out`. */
static void write_piece(stream_end *end, write_order *order)
{
    world *w = end->owner->world;
    uint8_t scratch[PIECE_MAX];
    if (!order->begun) {
        order->begun = true;
        segment_protect_header(&end->send, &order->segment, scratch);
        fifo_push(&end->out, scratch, SEGMENT_HEADER);
        return;
    }
    memory *m = memory_of(end->owner, order->memory);
    size_t left = order->segment.length - order->written;
    size_t piece = 1 + (size_t)chance_below(w, left < PIECE_MAX ? left : PIECE_MAX);
    const uint8_t *from = m->bytes + order->segment.offset + order->written;
    if (end->send.kind == CIPHER_PLAIN && chance(w, 500)) {
        segment_seal_update(&end->send, from, NULL, piece);
        fifo_push(&end->out, from, piece);
    } else {
        segment_seal_update(&end->send, from, scratch, piece);
        fifo_push(&end->out, scratch, piece);
    }
    order->written += (uint32_t)piece;
    if (order->written < order->segment.length)
        return;
    segment_seal_finish(&end->send, scratch);
    fifo_push(&end->out, scratch, SEGMENT_TRAILER);
    order->ended = true;
}

static void write_turn(stream_end *end)
{
    for (;;) {
        end_flush(end);
        if (fifo_size(&end->out) >= STAGED_MAX || end->writes == NULL)
            return;
        if (!end->writes->ended) {
            write_piece(end, end->writes);
            continue;
        }
        if (fifo_size(&end->out) > 0)
            return;
        report_write(end, DONE_OK);
    }
}

/* ---- reading ---- */

static void report_read(stream_end *end, done_result result)
{
    completion_add(end->owner, &(completion){.token = end->read_token,
                                             .result = result,
                                             .names = end->read_memory,
                                             .read_to = end->read.offset + end->read.length,
                                             .connection = end->id});
}

static void read_head(stream_end *end)
{
    node *n = end->owner;
    uint8_t head[SEGMENT_HEADER];
    end_take(end, head, sizeof head);
    if (!segment_open_header(&end->receive, head, &end->read)) {
        end->reading = READING_DEAD; /* T10: no length is believed, the lane is lost */
        end_over(end, CONNECTION_BROKE);
        return;
    }
    end->reading = end->read.length > 0 ? READING_WAITS : READING_HEAD;
    segment s = end->read;
    step(n->world, end->id, s.offset, s.length);
    uint64_t now = node_enter(n);
    engine_segment(n->engine, now, end->id, &s);
    node_settle(n);
}

static void read_body(stream_end *end)
{
    node *n = end->owner;
    uint8_t scratch[PIECE_MAX];
    size_t left = end->read.length - end->read_done;
    size_t most = left < PIECE_MAX ? left : PIECE_MAX;
    size_t piece = 1 + (size_t)chance_below(n->world, most);
    memory *m = memory_of(n, end->read_memory);
    uint8_t *to = m == NULL ? scratch : m->bytes + end->read.offset + end->read_done;
    piece = end_take(end, to, piece);
    segment_open_update(&end->receive, to, piece);
    end->read_done += (uint32_t)piece;
    if (end->read_done == end->read.length)
        end->reading = READING_TRAILER;
}

static void read_trailer(stream_end *end)
{
    uint8_t trailer[SEGMENT_TRAILER];
    end_take(end, trailer, sizeof trailer);
    bool good = segment_open_finish(&end->receive, trailer);
    report_read(end, good ? DONE_OK : DONE_CORRUPT);
    end->reading = good ? READING_HEAD : READING_DEAD;
}

static void read_turn(stream_end *end)
{
    while (end->state == END_OPEN) {
        size_t there = fifo_size(&end->in);
        if (end->reading == READING_HEAD && there >= SEGMENT_HEADER)
            read_head(end);
        else if (end->reading == READING_BODY && there > 0)
            read_body(end);
        else if (end->reading == READING_TRAILER && there >= SEGMENT_TRAILER)
            read_trailer(end);
        else
            return;
    }
}

void bulk_turn(stream_end *end)
{
    read_turn(end);
    if (end->state == END_OPEN)
        write_turn(end);
}

/* Whatever was under way has failed; its memory stays named until that is reported. */
void bulk_over(stream_end *end)
{
    if (!end->bulk)
        return;
    while (end->writes != NULL)
        report_write(end, DONE_FAILED);
    if (end->reading == READING_BODY || end->reading == READING_TRAILER)
        report_read(end, DONE_FAILED);
    end->reading = READING_DEAD;
    lane_cipher_wipe(&end->send);
    lane_cipher_wipe(&end->receive);
}
