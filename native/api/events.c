/* events.c - "what does the engine's news look like to Python, and where does it wait?"
 *
 *   freed        taken              ready = written
 *     |            |                   |
 *   [ told to    ][ Python's to read  ][ free ...            RUDP_EVENTS entries
 *     the engine ]
 *
 * Entries are written under the engine's lock and published by a release store; Python reads only
 * up to the count a turn returned to it (Rule 7, E8). One entry stays free for RUDP_STOPPED.
 * Results of blocking calls go to their caller's cell instead (E9). */
#define _GNU_SOURCE
#include "api/node.h"

#include "io/clock.h"
#include "io/pool.h"

void events_open(node *n)
{
    atomic_init(&n->ring.ready, 0);
    atomic_init(&n->ring.taken, 0);
    atomic_init(&n->ring.shown, 0);
    atomic_init(&n->released, NULL);
}

uint32_t events_ready(const node *n)
{
    return (uint32_t)(atomic_load(&n->ring.ready) - atomic_load(&n->ring.taken));
}

int events_show(node *n)
{
    uint64_t ready = atomic_load(&n->ring.ready);
    atomic_store(&n->ring.shown, ready);
    return (int)(ready - atomic_load(&n->ring.taken));
}

/* Received memory has one owner: whoever read its event, or us. A reader that cannot say what it
 * has read keeps all it may have read: that is lost rather than given out twice. */
void events_leave(node *n, uint32_t taken)
{
    uint64_t shown = atomic_load(&n->ring.shown), until = atomic_load(&n->ring.taken);
    if (taken == RUDP_UNKNOWN || taken > shown - until)
        until = shown > until ? shown : until;
    else
        until += taken;
    atomic_store(&n->ring.taken, until);
}

/* Rule 8: the bell rings only when somebody else than the reader made the ring non-empty; a
 * dispatcher that sleeps is woken by its word. */
static void events_announce(node *n)
{
    if (n->reading)
        return;
    if (atomic_load(&n->driver) != 0)
        n->ring_later = true; /* turns_until_free */
    else
        waiter_tell(n, &n->reader_word, WAIT_NEWS);
}

static void events_file(node *n, const rudp_event *made)
{
    n->ring.events[n->ring.written % RUDP_EVENTS] = *made;
    n->ring.written++;
    atomic_store(&n->ring.ready, n->ring.written);
    events_announce(n);
}

static bool events_room(void *context)
{
    const node *n = context;
    return n->ring.written - n->ring.freed < RUDP_EVENTS - 1;
}

static uint64_t microseconds_left(uint64_t deadline, uint64_t now)
{
    return deadline > now ? (deadline - now) / NS_PER_US : 0;
}

static rudp_event events_translate(const node *n, uint64_t now, const event *e)
{
    rudp_event made = {.kind = (uint8_t)e->kind,
                       .status = e->status,
                       .outcome = e->outcome,
                       .state = e->state,
                       .flags = (uint8_t)((e->same_life ? 1 : 0) | (e->stalled ? 2 : 0)),
                       .method_size = e->method_size,
                       .extension_size = e->extension_size,
                       .peer = e->peer,
                       .id = e->id,
                       .size = e->size,
                       .made = now / NS_PER_US};
    const uint8_t *first = e->kind == EVENT_REQUEST ? e->method : e->body;
    if (e->kind == EVENT_REQUEST)
        made.deadline = microseconds_left(e->deadline, now);
    if (e->kind == EVENT_STRANGER) { /* 24 bytes, where those three fields stand */
        memcpy((uint8_t *)&made + offsetof(rudp_event, id), &e->remote, sizeof e->remote);
    }
    if (e->memory != 0)
        made.memory = memory_handle(pool_settle((block *)(uintptr_t)e->memory)->data);
    if (first != NULL && (e->memory == 0 || e->kind == EVENT_REQUEST))
        made.offset = (uint64_t)(first - n->arena);
    return made;
}

static void events_take(void *context, uint64_t now, const event *e)
{
    node *n = context;
    rudp_event made = events_translate(n, now, e);
    if (e->kind == EVENT_REQUEST)
        atomic_store_explicit(&n->requested, now, memory_order_relaxed);
    if (e->kind != EVENT_DONE || e->owner != NODE_OWNER_WAITER) {
        events_file(n, &made);
        return;
    }
    atomic_store_explicit(&n->called, now, memory_order_relaxed);
    call_cell *cell = &n->cells[e->id & 0xffffff];
    cell->event = made;
    atomic_store(&cell->done, 1);
    waiter_tell(n, &cell->word, WAIT_NEWS);
}

static void events_released(void *context, parcel *m)
{
    node *n = context;
    list_remove(&m->link);
    parcel_released(n, m);
}

loop_owner events_owner(node *n)
{
    return (loop_owner){
        .context = n, .room = events_room, .event = events_take, .released = events_released};
}

/* The pushers' stack, newest first, becomes a list, oldest first. */
static void released_collect(node *n)
{
    parcel *newest = atomic_exchange(&n->released, NULL);
    parcel *oldest = NULL;
    while (newest != NULL) {
        parcel *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    parcel **end = &n->reporting;
    while (*end != NULL)
        end = &(*end)->next;
    *end = oldest;
}

void events_report_released(node *n, uint64_t now)
{
    if (atomic_load(&n->released) != NULL)
        released_collect(n);
    while (n->reporting != NULL && events_room(n)) {
        parcel *m = n->reporting;
        n->reporting = m->next;
        rudp_event made = {.kind = RUDP_RELEASED, .id = m->token, .made = now / NS_PER_US};
        parcel_free(m);
        events_file(n, &made);
    }
}

void events_settle(node *n, uint64_t now)
{
    uint64_t taken = atomic_load(&n->ring.taken);
    for (; n->ring.freed != taken; n->ring.freed++) {
        const rudp_event *e = &n->ring.events[n->ring.freed % RUDP_EVENTS];
        if (e->kind == RUDP_DONE)
            engine_taken(n->engine, now, e->id);
        else if (e->kind == RUDP_REQUEST)
            engine_request_taken(n->engine, now, e->id);
    }
    if (atomic_exchange(&n->progressed, false))
        engine_progress(n->engine, now, atomic_load(&n->queued));
}

void events_stopped(node *n)
{
    rudp_event made = {.kind = RUDP_STOPPED, .status = STATUS_BROKEN};
    made.made = clock_now() / NS_PER_US;
    n->reading = false; /* whoever runs this turn: nobody will read its count now */
    events_file(n, &made);
    waiters_wake_all(n);
}

/* CLOSED is what a request hears that was never begun, as in serve_admit.c: not BUSY, for a large
 * one whose memory has been given back cannot be tried again, and its caller would read that there
 * had been no room. */
void events_discard(node *n, uint64_t now)
{
    uint64_t ready = atomic_load(&n->ring.ready);
    for (uint64_t i = atomic_load(&n->ring.taken); i != ready; i++) {
        const rudp_event *e = &n->ring.events[i % RUDP_EVENTS];
        if (e->memory != 0)
            rudp_release((void *)(uintptr_t)e->memory);
        if (e->kind == RUDP_REQUEST)
            engine_refuse(n->engine, now, e->id, STATUS_CLOSED);
    }
    atomic_store(&n->ring.taken, ready);
    events_settle(n, now);
}

void events_close(node *n)
{
    released_collect(n);
    while (n->reporting != NULL) {
        parcel *m = n->reporting;
        n->reporting = m->next;
        parcel_free(m);
    }
}
