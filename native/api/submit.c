/* submit.c - "how does a command reach the engine without waiting for its lock?" Rule 2.
 *
 *   lock free    older submissions first, then straight into the engine
 *   lock taken   into the ring; the next turn takes it from there, in order
 *
 * Ordering is what the first line is about: a cancel that went straight in would overtake its call
 * in the ring.
 *
 * The trap: a caller who has read a result may use its handle's index again at once, while the
 * engine learns only with the next turn that the result was taken. Such a call waits in the ring
 * until then, and what is behind it too. */
#define _GNU_SOURCE
#include "api/node.h"

#include <string.h>

#include "io/clock.h"
#include "io/pool.h"

typedef struct {
    submission fixed; /* all but the bytes, which may still be the caller's */
    const uint8_t *method, *body;
} command;

/* ---- memory ---- */

void parcel_released(node *n, parcel *m)
{
    parcel *top = atomic_load(&n->released);
    do {
        m->next = top;
    } while (!atomic_compare_exchange_weak(&n->released, &top, m));
}

/* The engine has it now, or had no use for it. */
static uint64_t memory_hand_over(node *n, uint64_t handle)
{
    if (handle != 0)
        list_push_back(&n->outgoing, &((parcel *)(uintptr_t)handle)->link);
    return handle;
}

static uint64_t memory_size(uint64_t handle)
{
    return handle == 0 ? 0 : ((parcel *)(uintptr_t)handle)->size;
}

rudp_memory *rudp_memory_new(uint64_t token, uint32_t count, void *const *parts,
                             const size_t *sizes)
{
    return parcel_new(token, count, parts, sizes);
}

void rudp_release(void *memory)
{
    pool_give(pool_block_of(memory));
}

/* ---- into the engine, under the lock ---- */

/* A result of this call index lies in the event ring, and the engine does not know it was taken. */
static bool index_is_untaken(const node *n, uint64_t handle)
{
    for (uint64_t i = n->ring.freed; i != n->ring.written; i++) {
        const rudp_event *e = &n->ring.events[i % RUDP_EVENTS];
        if (e->kind == RUDP_DONE && ((e->id ^ handle) & 0xffffff) == 0)
            return true;
    }
    return false;
}

/* False: not now, but after the next events were taken. */
static bool submit_call(node *n, uint64_t now, const command *c)
{
    const submission *s = &c->fixed;
    call_command call = {.handle = s->id,
                         .peer = s->peer,
                         .owner = s->owner,
                         .deadline = s->deadline,
                         .method = c->method,
                         .method_size = (uint8_t)s->method_size,
                         .body = s->memory == 0 ? c->body : NULL,
                         .size = s->memory == 0 ? s->size : memory_size(s->memory),
                         .memory = memory_hand_over(n, s->memory)};
    if (engine_call(n->engine, now, &call)) {
        if (s->memory == 0)
            atomic_store_explicit(&n->asked, true, memory_order_relaxed);
        return true;
    }
    parcel *m = (parcel *)(uintptr_t)s->memory;
    bool later = index_is_untaken(n, s->id);
    if (m != NULL)
        list_remove(&m->link);
    if (m != NULL && !later)
        parcel_released(n, m); /* in use: the caller's mistake, nothing was taken */
    return !later;
}

static void submit_reply(node *n, uint64_t now, const command *c)
{
    const submission *s = &c->fixed;
    reply_command reply = {.request = s->id,
                           .status = s->status,
                           .body = s->memory == 0 ? c->body : NULL,
                           .size = s->memory == 0 ? s->size : memory_size(s->memory),
                           .memory = memory_hand_over(n, s->memory)};
    engine_reply(n->engine, now, &reply);
}

static bool submit_apply(node *n, uint64_t now, const command *c)
{
    const submission *s = &c->fixed;
    switch ((submit_kind)s->kind) {
    case SUBMIT_CALL: return submit_call(n, now, c);
    case SUBMIT_CANCEL: engine_cancel(n->engine, now, s->id); break;
    case SUBMIT_TAKEN: engine_taken(n->engine, now, s->id); break;
    case SUBMIT_REPLY: submit_reply(n, now, c); break;
    case SUBMIT_REFUSE: engine_refuse(n->engine, now, s->id, (status)s->status); break;
    case SUBMIT_WATCH: engine_peer_watch(n->engine, now, s->peer, s->watch != 0); break;
    }
    return true;
}

void submissions_take(node *n, uint64_t now)
{
    for (int i = 0; i < SUBMIT_COUNT; i++) {
        const submission *s = ring_front(&n->submissions);
        if (s == NULL)
            return;
        command c = {.method = s->bytes, .body = s->bytes + s->method_size};
        memcpy(&c.fixed, s, offsetof(submission, bytes));
        if (!submit_apply(n, now, &c))
            return;
        ring_pop(&n->submissions);
    }
}

/* ---- from the caller ---- */

typedef struct {
    const command *command;
    bool done;
} direct;

static void submit_direct(node *n, void *argument)
{
    direct *d = argument;
    uint64_t now = loop_now(&n->loop);
    submissions_take(n, now);
    /* Not even behind a place that is taken and not filled: what is older may stand behind it. */
    d->done = ring_unused(&n->submissions) && submit_apply(n, now, d->command);
}

static int submit_later(node *n, const command *c, bool *followed)
{
    uint64_t ticket;
    submission *s = ring_reserve(&n->submissions, &ticket);
    if (s == NULL)
        return RUDP_FULL;
    memcpy(s, &c->fixed, offsetof(submission, bytes));
    if (s->method_size > 0)
        memcpy(s->bytes, c->method, s->method_size);
    if (s->size > 0)
        memcpy(s->bytes + s->method_size, c->body, s->size);
    ring_publish(&n->submissions, ticket);
    *followed = ring_followed(&n->submissions, ticket);
    return 0;
}

/* The reader flushes once per tick, a blocking caller when it begins to wait. Anybody else, such as
 * a thread that ran a handler, has nobody to flush for it. */
static bool submit_needs_turn(const node *n, const submission *s)
{
    bool waits =
        s->kind == SUBMIT_TAKEN || (s->kind == SUBMIT_CALL && s->owner == NODE_OWNER_WAITER);
    return !waits && (uintptr_t)pthread_self() !=
                         atomic_load_explicit(&n->reader_thread, memory_order_relaxed);
}

static int submit(node *n, const command *c)
{
    int gate = node_gate(n);
    if (gate != 0 && (gate != RUDP_CLOSED || c->fixed.kind == SUBMIT_CALL))
        return gate;
    int result = 0;
    bool followed = false; /* others wait behind us, whose turn found our place empty */
    if (pthread_mutex_trylock(&n->lock) != 0) {
        result = submit_later(n, c, &followed);
    } else {
        direct d = {.command = c};
        result = node_guard(n, submit_direct, &d) ? 0 : RUDP_BROKEN;
        if (result == 0 && !d.done)
            result = submit_later(n, c, &followed);
        node_unlock(n);
    }
    if (followed || submit_needs_turn(n, &c->fixed))
        node_turn(n, TURN_FLUSH, false);
    else
        atomic_store_explicit(&n->submitted, true, memory_order_relaxed);
    return result;
}

/* The same where memory changes hands: it does so whatever the answer is. A core that stopped in
 * the middle has it among the outgoing, and there it stays until the node closes. */
static int submit_memory(node *n, const command *c)
{
    int result = submit(n, c);
    parcel *m = (parcel *)(uintptr_t)c->fixed.memory;
    if (result < 0 && result != RUDP_FORKED && !link_linked(&m->link))
        parcel_released(n, m);
    return result;
}

static bool call_fits(const node *n, uint64_t handle, size_t method_size, size_t size)
{
    return (handle & 0xffffff) < n->config.calls && method_size <= RUDP_METHOD_MAX &&
           size <= RUDP_PACKET_BODY && method_size + size <= RUDP_PACKET_BODY;
}

static command call_of(uint64_t handle, uint32_t peer, int owner, uint64_t timeout_us,
                       const char *method, size_t method_size)
{
    uint64_t timeout = timeout_us > TIME_NEVER / NS_PER_US ? TIME_NEVER : timeout_us * NS_PER_US;
    return (command){.fixed = {.kind = SUBMIT_CALL,
                               .id = handle,
                               .peer = peer,
                               .owner = (uint8_t)owner,
                               .deadline = time_after(clock_now(), timeout),
                               .method_size = (uint16_t)method_size},
                     .method = (const uint8_t *)method};
}

/* A blocking caller's cell is made ready before anybody can fill it. */
static void cell_begin(node *n, uint64_t handle, int owner)
{
    if (owner != NODE_OWNER_WAITER)
        return;
    call_cell *cell = &n->cells[handle & 0xffffff];
    atomic_store(&cell->done, 0);
    atomic_store(&cell->word, 0);
}

int rudp_call(rudp_node *n, uint64_t handle, uint32_t peer, int owner, uint64_t timeout_us,
              const char *method, size_t method_size, const char *body, size_t size)
{
    int gate = node_gate(n);
    if (gate != 0)
        return gate;
    if (!call_fits(n, handle, method_size, size))
        return RUDP_INVALID;
    command c = call_of(handle, peer, owner, timeout_us, method, method_size);
    c.fixed.size = (uint16_t)size;
    c.body = (const uint8_t *)body;
    cell_begin(n, handle, owner);
    return submit(n, &c);
}

int rudp_call_memory(rudp_node *n, uint64_t handle, uint32_t peer, int owner, uint64_t timeout_us,
                     const char *method, size_t method_size, rudp_memory *memory)
{
    int gate = node_forked(n);
    if (gate != 0)
        return gate;
    if (!call_fits(n, handle, method_size, 0)) {
        parcel_released(n, memory);
        return RUDP_INVALID;
    }
    command c = call_of(handle, peer, owner, timeout_us, method, method_size);
    c.fixed.memory = memory_handle(memory);
    cell_begin(n, handle, owner);
    return submit_memory(n, &c);
}

int rudp_cancel(rudp_node *n, uint64_t handle)
{
    return submit(n, &(command){.fixed = {.kind = SUBMIT_CANCEL, .id = handle}});
}

int rudp_taken(rudp_node *n, uint64_t handle)
{
    return submit(n, &(command){.fixed = {.kind = SUBMIT_TAKEN, .id = handle}});
}

int rudp_watch(rudp_node *n, uint32_t peer, int watch)
{
    return submit(n,
                  &(command){.fixed = {.kind = SUBMIT_WATCH, .peer = peer, .watch = watch != 0}});
}

int rudp_reply(rudp_node *n, uint64_t request, int how, const char *body, size_t size)
{
    if (size > RUDP_PACKET_REPLY)
        return RUDP_INVALID;
    return submit(n, &(command){.fixed = {.kind = SUBMIT_REPLY,
                                          .id = request,
                                          .status = (uint8_t)how,
                                          .size = (uint16_t)size},
                                .body = (const uint8_t *)body});
}

int rudp_reply_memory(rudp_node *n, uint64_t request, int how, rudp_memory *memory)
{
    return submit_memory(n, &(command){.fixed = {.kind = SUBMIT_REPLY,
                                                 .id = request,
                                                 .status = (uint8_t)how,
                                                 .memory = memory_handle(memory)}});
}

int rudp_refuse(rudp_node *n, uint64_t request, int how)
{
    return submit(
        n, &(command){.fixed = {.kind = SUBMIT_REFUSE, .id = request, .status = (uint8_t)how}});
}

/* ---- waiting for one ---- */

static bool call_is_done(node *n, void *context)
{
    const uint64_t *handle = context;
    call_cell *cell = &n->cells[*handle & 0xffffff];
    return atomic_load(&cell->done) != 0 && cell->event.id == *handle;
}

int rudp_call_wait(rudp_node *n, uint64_t handle, rudp_event *done, uint64_t timeout_us)
{
    int gate = node_forked(n);
    if (gate != 0)
        return gate;
    if ((handle & 0xffffff) >= n->config.calls)
        return RUDP_INVALID;
    atomic_fetch_add(&n->users, 1);
    call_cell *cell = &n->cells[handle & 0xffffff];
    uint64_t deadline = time_after(clock_now(), timeout_us * NS_PER_US);
    int result = waiter_wait(n, &cell->word, call_is_done, &handle, deadline);
    if (result == 0)
        *done = cell->event;
    atomic_fetch_sub(&n->users, 1);
    return result;
}
