/* layout.c - one walk over all tables. */
#include "engine/layout.h"

typedef struct {
    uint8_t *base; /* NULL: only measure */
    size_t at;
} knife;

static void *cut(knife *k, size_t count, size_t size, size_t align)
{
    k->at = (k->at + align - 1) & ~(align - 1);
    void *place = k->base == NULL ? NULL : k->base + k->at;
    k->at += count * size;
    return place;
}

#define CUT(k, type, count) ((type *)cut(k, count, sizeof(type), 64))
#define CUT_BYTES(k, size)  cut(k, 1, size, 64)

/* Memory of the bookkeeping that is not a plain array. */
typedef struct {
    void *session_slots, *peer_slots, *call_slots, *serve_slots, *transfer_slots;
    void *connection_slots, *cells, *incarnations, *gone, *addresses, *timers;
} books;

static uint32_t timers_room(const config *c, uint32_t calls)
{
    return c->sessions * 4 + c->peers + calls + c->serves + c->transfers + c->connections;
}

static void cut_books(knife *k, const config *c, uint32_t calls, books *b)
{
    b->session_slots = CUT_BYTES(k, slots_size(c->sessions));
    b->peer_slots = CUT_BYTES(k, slots_size(c->peers));
    b->call_slots = CUT_BYTES(k, slots_size(calls));
    b->serve_slots = CUT_BYTES(k, slots_size(c->serves));
    b->transfer_slots = CUT_BYTES(k, slots_size(c->transfers));
    b->connection_slots = CUT_BYTES(k, slots_size(c->connections));
    b->cells = CUT_BYTES(k, cells_size(c->arena));
    b->incarnations = CUT_BYTES(k, map_size(c->sessions));
    b->gone = CUT_BYTES(k, map_size(c->gone));
    b->addresses = CUT_BYTES(k, map_size(c->peers));
    b->timers = CUT(k, timer *, timers_room(c, calls));
}

static void open_books(engine *e, const config *c, const books *b)
{
    slots_init(&e->session_slots, b->session_slots, c->sessions);
    slots_init(&e->peer_slots, b->peer_slots, c->peers);
    slots_init(&e->call_slots, b->call_slots, e->calls_room);
    slots_init(&e->serve_slots, b->serve_slots, c->serves);
    slots_init(&e->transfer_slots, b->transfer_slots, c->transfers);
    slots_init(&e->connection_slots, b->connection_slots, c->connections);
    cells_init(&e->cells, b->cells, e->arena, c->arena);
    map_init(&e->incarnations, b->incarnations, c->sessions, random_u64(&e->random));
    map_init(&e->gone, b->gone, c->gone, random_u64(&e->random));
    map_init(&e->peer_addresses, b->addresses, c->peers, random_u64(&e->random));
    timers_init(&e->timers, b->timers, timers_room(c, e->calls_room));
}

size_t layout_cut(engine *e, uint8_t *memory, const config *c)
{
    knife k = {memory, 0};
    (void)CUT(&k, engine, 1);
    books b;
    uint32_t calls = c->calls * 2;
    uint32_t releases = calls + c->serves * 2 + c->transfers;
    cut_books(&k, c, calls, &b);
    session *sessions = CUT(&k, session, c->sessions);
    peer *peers = CUT(&k, peer, c->peers);
    call *calls_at = CUT(&k, call, calls);
    uint32_t *handles = CUT(&k, uint32_t, c->calls);
    serve *serves = CUT(&k, serve, c->serves);
    transfer *transfers = CUT(&k, transfer, c->transfers);
    connection *connections = CUT(&k, connection, c->connections);
    record *records = CUT(&k, record, c->records);
    uint32_t *free_records = CUT(&k, uint32_t, c->records);
    uint64_t *gone_counters = CUT(&k, uint64_t, c->gone);
    uint64_t *gone_keys = CUT(&k, uint64_t, c->gone);
    uint64_t *release = CUT(&k, uint64_t, releases);
    uint8_t *arena = cut(&k, 1, c->arena, 65536);
    if (memory == NULL)
        return k.at;
    e->sessions = sessions;
    e->peers = peers;
    e->calls = calls_at;
    e->calls_room = calls;
    e->handles = handles;
    memset(handles, 0, c->calls * sizeof *handles);
    e->serves = serves;
    e->transfers = transfers;
    e->connections = connections;
    e->records = records;
    e->free_records = free_records;
    e->gone_counters = gone_counters;
    e->gone_keys = gone_keys;
    e->releases = release;
    e->release_room = releases;
    e->arena = arena;
    open_books(e, c, &b);
    return k.at;
}
