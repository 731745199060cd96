/* fuzz_engine.c - the input is a list of things that happen to two connected engines.
 *
 *   operation 1, arguments 2, and for some a length 1 and bytes
 *
 * Plaintext, so that altered packets can be sealed again and get past the tag: what a member with a
 * bug, or an attacker who has the key, can send. Whatever comes, nothing breaks: no ENSURE, no byte
 * out of bounds, each call ends at most once, memory is released once and never while in use. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

#include "exhaustive/search.h"
#include "fuzz.h"

#include "base/crc32c.h"
#include "seal/seal.h"

#define CALLS      4u
#define ENDS       6u
#define ORDERS     16u
#define MEMORIES   64u
#define REQUESTS   16u
#define OPERATIONS 300u

typedef struct {
    uint32_t id;
    bool opening, over, bulk, waits;
    segment head;
} connection_end;

typedef struct {
    uint64_t token;
    uint32_t connection;
    uint64_t memory;
    bool alloc;
} order;

typedef struct {
    connection_end ends[ENDS];
    order orders[ORDERS];
    uint32_t order_count;
    uint64_t requests[REQUESTS];
    uint32_t request_count;
    uint8_t call[CALLS]; /* 0 free, 1 open, 2 done */
    uint32_t generation[CALLS];
    bool held[MEMORIES]; /* the engine's */
    uint32_t made;
    uint32_t peer;
} side;

typedef struct {
    side sides[2];
} model;

_Static_assert(sizeof(model) <= MODEL_BYTES, "the model fits its scene");

static model *m = (model *)(void *)scene_now.model;

/* ---- actions ---- */

static connection_end *end_of(side *s, uint32_t id)
{
    for (unsigned i = 0; i < ENDS; i++)
        if (s->ends[i].id == id && id != 0)
            return &s->ends[i];
    return NULL;
}

static void give_order(side *s, const action *a)
{
    MUST(s->order_count < ORDERS);
    MUST(a->kind == ACTION_ALLOC || a->memory == 0 || s->held[a->memory % MEMORIES]);
    s->orders[s->order_count++] = (order){.token = a->token,
                                          .connection = a->connection,
                                          .memory = a->memory,
                                          .alloc = a->kind == ACTION_ALLOC};
}

static bool model_action(unsigned who, const action *a)
{
    side *s = &m->sides[who];
    connection_end *c = end_of(s, a->connection);
    switch (a->kind) {
    case ACTION_SEND: MUST(a->size > 0 && a->size <= PACKET_BUDGET); return false;
    case ACTION_OPEN:
        c = NULL;
        for (unsigned i = 0; i < ENDS && c == NULL; i++)
            c = s->ends[i].id == 0 ? &s->ends[i] : NULL;
        MUST(c != NULL);
        *c = (connection_end){.id = a->connection, .opening = true};
        break;
    case ACTION_SHUT:
        MUST(c != NULL);
        c->over = true;
        break;
    case ACTION_BULK:
        MUST(c != NULL && !c->bulk && !c->over);
        c->bulk = true;
        break;
    case ACTION_PUT: MUST(c != NULL && !c->bulk && !c->over); break;
    case ACTION_READ:
        MUST(c != NULL && c->waits && a->segment.length == c->head.length);
        c->waits = false;
        give_order(s, a);
        break;
    case ACTION_WRITE:
        MUST(c != NULL && c->bulk && !c->over);
        give_order(s, a);
        break;
    case ACTION_ALLOC: give_order(s, a); break;
    case ACTION_RELEASE:
        MUST(s->held[a->memory % MEMORIES]);
        for (unsigned i = 0; i < s->order_count; i++)
            MUST(s->orders[i].alloc || s->orders[i].memory != a->memory); /* T5 */
        s->held[a->memory % MEMORIES] = false;
        break;
    default: MUST(false);
    }
    return true;
}

static void model_event(unsigned who, const event *e)
{
    side *s = &m->sides[who];
    if (e->kind == EVENT_DONE) {
        uint64_t index = e->id & 0xffffff;
        MUST(index < CALLS && s->call[index] == 1 && s->generation[index] == e->id >> 24);
        s->call[index] = 2;
    }
    if (e->memory != 0) { /* a message handed over */
        MUST(s->held[e->memory % MEMORIES]);
        s->held[e->memory % MEMORIES] = false;
    }
    if (e->kind == EVENT_REQUEST) {
        volatile uint8_t sum = 0; /* every byte of it can be read */
        for (unsigned i = 0; i < e->method_size; i++)
            sum = (uint8_t)(sum + e->method[i]);
        for (uint64_t i = 0; e->memory == 0 && i < e->size; i++)
            sum = (uint8_t)(sum + e->body[i]);
        MUST(s->request_count < REQUESTS);
        s->requests[s->request_count++] = e->id;
    }
}

static unsigned model_choices(void)
{
    return 0;
}

static void model_choose(unsigned which)
{
    (void)which;
}

static void model_follow(void) {}

static void model_finish(void) {}

/* ---- altering packets ---- */

/* Makes the check of an altered packet or hello right again. */
static void mend(uint8_t *bytes, size_t size)
{
    if (size >= PACKET_HEADER + 4 && bytes[0] >> 4 == PACKET_KIND >> 4) {
        session_secrets secrets = {.send = {0}};
        memcpy(secrets.send, bytes + 2, 8);
        static seal sealing;
        static aead_cache cache;
        seal_start(&sealing, CIPHER_PLAIN, &secrets, true, 1, &seal_limits_default);
        uint64_t number = load_u64(bytes + 10);
        sealing.next = number + 1;
        if (number > 0 && sealing.next != 0)
            seal_protect(&sealing, &cache, bytes, PACKET_HEADER, size - PACKET_HEADER - 4, number);
        return;
    }
    size_t ids = bytes[0] == HELLO_FIRST ? HELLO_FIRST_IDS : HELLO_SECOND_IDS;
    if (size < ids + HELLO_CHECK + 2)
        return;
    size_t body = load_u16(bytes + ids + HELLO_CHECK);
    if (ids + HELLO_CHECK + 2 + body > size)
        return;
    memset(bytes + ids, 0, HELLO_CHECK);
    store_u32(bytes + ids, crc32c(crc32c(0, bytes, ids), bytes + ids + HELLO_CHECK, 2 + body));
}

static flight *some_flight(uint8_t which)
{
    for (unsigned i = 0; i < FLIGHTS; i++) {
        flight *f = &scene_now.flights[(which + i) % FLIGHTS];
        if (f->size != 0)
            return f;
    }
    return NULL;
}

static void alter(reader *input, uint8_t which)
{
    flight *f = some_flight(which);
    uint16_t at = input_word(input);
    uint8_t change = input_byte(input);
    if (f == NULL)
        return;
    f->bytes[at % f->size] ^= change;
    mend(f->bytes, f->size);
}

/* The frames of a packet are replaced by bytes of the input; its number may jump. */
static void replace(reader *input, uint8_t which, uint8_t jump)
{
    flight *f = some_flight(which);
    size_t size = input_byte(input);
    if (f == NULL || f->size < PACKET_HEADER + PACKET_PROLOGUE + 4 || f->bytes[0] >> 4 != 2)
        return;
    store_u64(f->bytes + 10, load_u64(f->bytes + 10) + jump);
    input_take(input, f->bytes + PACKET_HEADER + PACKET_PROLOGUE, size);
    f->size = (uint16_t)(PACKET_HEADER + PACKET_PROLOGUE + size + 4);
    mend(f->bytes, f->size);
}

/* ---- applications ---- */

static void call_or_cancel(unsigned who, uint8_t which, uint8_t size)
{
    side *s = &m->sides[who];
    unsigned i = which % CALLS;
    engine *e = actors[who].engine;
    uint64_t handle = (uint64_t)s->generation[i] << 24 | i;
    if (s->call[i] == 1) {
        engine_cancel(e, scene_now.now, handle);
    } else if (s->call[i] == 2) {
        s->call[i] = 0;
        engine_taken(e, scene_now.now, handle);
    } else {
        handle = (uint64_t)++s->generation[i] << 24 | i;
        s->call[i] = 1;
        static const uint8_t body[256];
        uint32_t memory = which & 0x80 ? 1 + s->made++ % (MEMORIES - 1) : 0;
        if (memory != 0 && s->held[memory])
            memory = 0;
        if (memory != 0)
            s->held[memory] = true;
        call_command command = {.handle = handle,
                                .peer = s->peer,
                                .deadline = scene_now.now + MS(10) * size,
                                .method = body,
                                .method_size = (uint8_t)(size / 4),
                                .body = memory ? NULL : body,
                                .size = memory ? 100u * size : size,
                                .memory = memory};
        MUST(engine_call(e, scene_now.now, &command));
    }
    settle(who);
}

static void answer(unsigned who, uint8_t how, uint8_t size)
{
    side *s = &m->sides[who];
    engine *e = actors[who].engine;
    if (s->request_count == 0)
        return;
    uint64_t request = s->requests[--s->request_count];
    static const uint8_t body[256];
    engine_request_taken(e, scene_now.now, request);
    if (how & 1) {
        engine_refuse(e, scene_now.now, request, (how & 2) ? STATUS_BUSY : STATUS_NO_METHOD);
    } else {
        reply_command reply = {.request = request,
                               .status = (how & 2) ? STATUS_EXCEPTION : STATUS_OK,
                               .body = body,
                               .size = size};
        engine_reply(e, scene_now.now, &reply);
    }
    settle(who);
}

/* ---- connections ---- */

static void complete(unsigned who, uint8_t which, uint8_t how)
{
    side *s = &m->sides[who];
    if (s->order_count == 0)
        return;
    unsigned i = which % s->order_count;
    order o = s->orders[i];
    s->orders[i] = s->orders[--s->order_count];
    const connection_end *c = end_of(s, o.connection);
    done_result result = c != NULL && c->over ? DONE_FAILED : (done_result)(how % 3);
    uint64_t memory = 0;
    if (o.alloc) {
        memory = 1 + s->made++ % (MEMORIES - 1);
        result = s->held[memory] || how % 3 != 0 ? DONE_FAILED : DONE_OK;
        s->held[memory] = s->held[memory] || result == DONE_OK;
        memory = result == DONE_OK ? memory : 0;
    }
    engine_done(actors[who].engine, scene_now.now, o.token, result, memory);
    settle(who);
}

static bool has_orders(const side *s, uint32_t connection)
{
    for (unsigned i = 0; i < s->order_count; i++)
        if (s->orders[i].connection == connection && !s->orders[i].alloc)
            return true;
    return false;
}

static void connection_step(unsigned who, uint8_t which, uint8_t how)
{
    side *s = &m->sides[who];
    connection_end *c = &s->ends[which % ENDS];
    engine *e = actors[who].engine;
    if (c->id == 0) {
        uint32_t id = engine_accept(e, scene_now.now, &actors[who].address, &actors[!who].address);
        *c = (connection_end){.id = id};
    } else if (c->over) {
        if (has_orders(s, c->id))
            return;
        uint32_t id = c->id;
        c->id = 0;
        engine_connection(e, scene_now.now, id, CONNECTION_GONE);
    } else if (c->opening) {
        c->opening = false;
        c->over = how % 3 != 0;
        engine_connection(e, scene_now.now, c->id, (connection_news)(how % 3));
    } else {
        c->over = true;
        engine_connection(e, scene_now.now, c->id, how & 1 ? CONNECTION_ENDED : CONNECTION_BROKE);
    }
    settle(who);
}

static void feed(unsigned who, uint32_t id, const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size;) {
        const connection_end *c = end_of(&m->sides[who], id);
        size_t room = c == NULL || c->over || c->bulk ? 0 : engine_room(actors[who].engine, id);
        if (room == 0)
            return;
        size_t piece = room < size - at ? room : size - at;
        uint8_t *copy = malloc(piece);
        memcpy(copy, bytes + at, piece);
        engine_bytes(actors[who].engine, scene_now.now, id, copy, piece);
        free(copy);
        settle(who);
        at += piece;
    }
}

/* A packet that is under way comes as a record of a connection; or raw bytes do. */
static void record(reader *input, unsigned who, uint8_t which)
{
    const connection_end *c = &m->sides[who].ends[which % ENDS];
    uint8_t bytes[RECORD_PREFIX + PACKET_BUDGET];
    size_t size = input_byte(input);
    if (c->id == 0 || c->opening)
        return;
    flight *f = some_flight(which);
    if (size == 0 && f != NULL && f->to == who) {
        store_u16(bytes, f->size);
        memcpy(bytes + RECORD_PREFIX, f->bytes, f->size);
        size = RECORD_PREFIX + (size_t)f->size;
        f->size = 0;
    } else {
        input_take(input, bytes, size);
    }
    feed(who, c->id, bytes, size);
}

static void give_segment(reader *input, unsigned who, uint8_t which)
{
    connection_end *c = &m->sides[who].ends[which % ENDS];
    segment g = {.kind = SEGMENT_DATA,
                 .slot = input_byte(input) % 8,
                 .sequence = input_byte(input),
                 .offset = (uint64_t)input_byte(input) * 256,
                 .length = 1 + (uint32_t)input_word(input)};
    if (c->id == 0 || !c->bulk || c->over || c->waits)
        return;
    c->waits = true;
    c->head = g;
    engine_segment(actors[who].engine, scene_now.now, c->id, &g);
    settle(who);
}

/* ---- the input ---- */

static void pass_time(uint8_t a, uint8_t b)
{
    if (a & 1)
        scene_now.now += MS(b);
    for (unsigned i = 0; i < 8 && earliest() <= scene_now.now; i++)
        expire();
    if (!(a & 1) && earliest() != TIME_NEVER)
        expire();
}

static void operation(reader *input)
{
    uint8_t what = input_byte(input), a = input_byte(input), b = input_byte(input);
    unsigned who = what >> 7;
    flight *f = some_flight(a);
    switch (what % 16) {
    case 0:
    case 1:
        if (f != NULL)
            deliver((unsigned)(f - scene_now.flights), what % 16 == 1);
        break;
    case 2:
        if (f != NULL)
            f->size = 0;
        break;
    case 3: alter(input, a); break;
    case 4: replace(input, a, b); break;
    case 5: pass_time(a, b); break;
    case 6: call_or_cancel(who, a, b); break;
    case 7: answer(who, a, b); break;
    case 8: complete(who, a, b); break;
    case 9: connection_step(who, a, b); break;
    case 10: record(input, who, a); break;
    case 11: give_segment(input, who, a); break;
    case 12:
        engine_send_failed(actors[who].engine, scene_now.now, &actors[!who].address,
                           (send_fault)(a % 3));
        settle(who);
        break;
    case 13:
        engine_peer_watch(actors[who].engine, scene_now.now, m->sides[who].peer, a & 1);
        settle(who);
        break;
    case 14: deliver_all(); break;
    default: engine_progress(actors[who].engine, scene_now.now, a); settle(who);
    }
}

static void connect_once(void)
{
    config c = search_config();
    c.tcp = true;
    c.connections = ENDS;
    c.calls = CALLS;
    search_begin(&c);
    for (unsigned who = 0; who < 2; who++) {
        m->sides[who].peer = engine_peer(actors[who].engine, scene_now.now, &actors[!who].address);
        engine_peer_watch(actors[who].engine, scene_now.now, m->sides[who].peer, true);
        settle(who);
        engine_peer_watch(actors[who].engine, scene_now.now, m->sides[who].peer, false);
        settle(who);
    }
    run_for(MS(40));
    save(&saved[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (actors[0].engine == NULL)
        connect_once();
    restore(&saved[0]);
    reader input = reader_of(bytes, size);
    for (unsigned i = 0; i < OPERATIONS && reader_left(&input) > 0; i++)
        operation(&input);
    return 0;
}
