/* workload.c - what the applications want: calls of every size, deadlines, and second thoughts.
 *
 * A call is known by its number in world.calls, which its method name carries, so that both ends
 * and the oracles look up what should happen. Bodies are computed from it (Q3). */
#include "world.h"

/* ---- bytes that belong to a call ---- */

void pattern_fill(uint32_t call, unsigned part, uint8_t *out, size_t size)
{
    uint64_t x = ((uint64_t)call << 1 | part) * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0)
            x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u + i;
        out[i] = (uint8_t)(x >> (8 * (i % 8)));
    }
}

bool pattern_matches(uint32_t call, unsigned part, const uint8_t *bytes, size_t size)
{
    uint64_t x = ((uint64_t)call << 1 | part) * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0)
            x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u + i;
        if (bytes[i] != (uint8_t)(x >> (8 * (i % 8))))
            return false;
    }
    return true;
}

void method_write(uint32_t call, uint8_t out[METHOD_SIZE])
{
    char text[METHOD_SIZE + 1];
    snprintf(text, sizeof text, "m%08x", call);
    memcpy(out, text, METHOD_SIZE);
}

bool method_read(const uint8_t *method, size_t size, uint32_t *call)
{
    if (size != METHOD_SIZE || method[0] != 'm')
        return false;
    char text[METHOD_SIZE] = "";
    memcpy(text, method + 1, METHOD_SIZE - 1);
    char *end;
    *call = (uint32_t)strtoul(text, &end, 16);
    return *end == 0;
}

/* ---- making a call ---- */

static uint32_t free_handle(const node *n)
{
    for (uint32_t i = 0; i < n->config.calls; i++)
        if (n->handles[i] == 0)
            return i;
    return UINT32_MAX;
}

static sim_call *call_record(world *w, const call_plan *p)
{
    if (w->call_count == w->call_room) {
        w->call_room = w->call_room ? 2 * w->call_room : 256;
        w->calls = realloc(w->calls, w->call_room * sizeof *w->calls);
    }
    sim_call *c = &w->calls[w->call_count++];
    *c = (sim_call){.caller = p->caller,
                    .target = p->target,
                    .size = p->size,
                    .reply_size = p->reply_size,
                    .duration = p->duration,
                    .does = (uint8_t)p->does,
                    .settled = p->settled,
                    .steady = p->steady,
                    .depth = p->depth,
                    .plan = p->plan,
                    .parent = p->parent,
                    .parent_request = p->parent_request,
                    .begun = w->now,
                    .deadline = w->now + p->timeout,
                    .caller_life = w->nodes[p->caller].life};
    return c;
}

static void cancel_now(world *w, void *what, uint64_t number, uint64_t unused);

static void submit(node *n, uint32_t number, uint32_t peer, uint64_t timeout)
{
    world *w = n->world;
    sim_call *c = &w->calls[number];
    uint32_t index = free_handle(n);
    uint8_t method[METHOD_SIZE], extension[8];
    method_write(number, method);
    pattern_fill(number, 1, extension, sizeof extension);
    n->handles[index] = number + 1;
    c->due = node_clock(n) + timeout;
    c->handle = (uint64_t)++n->generations[index] << 24 | index;
    c->open = true;
    call_command command = {.handle = c->handle,
                            .peer = peer,
                            .owner = (uint8_t)number,
                            .deadline = c->due,
                            .method = method,
                            .method_size = METHOD_SIZE,
                            .extension = extension,
                            .extension_size = (uint16_t)(number % (sizeof extension + 1)),
                            .size = c->size};
    uint64_t around = METHOD_SIZE + (uint64_t)command.extension_size;
    uint8_t *body = NULL;
    if (around + c->size <= REQUEST_ROOM && (number % 16 != 3 || w->counting)) {
        body = malloc(c->size ? c->size : 1);
        pattern_fill(number, 0, body, c->size);
        command.body = body;
    } else if (c->size > 0) {
        command.memory = c->memory = memory_make(n, c->size, MEMORY_ENGINE);
        pattern_fill(number, 0, memory_of(n, c->memory)->bytes, c->size);
    } else {
        command.body = method; /* nothing of it is read */
    }
    say(w, "node %u call %u to %u: %llu bytes, reply %llu, does %u, handle %llx", n->index, number,
        c->target, (unsigned long long)c->size, (unsigned long long)c->reply_size, c->does,
        (unsigned long long)c->handle);
    uint64_t now = node_enter(n);
    bool taken = engine_call(n->engine, now, &command);
    free(body);
    EXPECT(w, taken, "Q1: node %u does not take call %u: handle in use", n->index, number);
    node_settle(n);
}

uint32_t workload_call(world *w, const call_plan *p)
{
    node *n = &w->nodes[p->caller];
    if (!node_runs(n) || n->paused || free_handle(n) == UINT32_MAX)
        return UINT32_MAX;
    uint64_t now = node_enter(n);
    uint32_t peer = engine_peer(n->engine, now, &n->dials[p->target]);
    if (peer != 0 && !n->watched[p->target] && chance(w, w->swarm.watch)) {
        n->watched[p->target] = w->now;
        engine_peer_watch(n->engine, now, peer, true);
    }
    node_settle(n);
    if (peer == 0) /* table full, a limit of this seed */
        return UINT32_MAX;
    call_record(w, p);
    uint32_t number = w->call_count - 1;
    submit(n, number, peer, p->timeout);
    if (w->faulty && !p->settled && !p->steady && chance(w, 80))
        world_at(w, w->now + chance_below(w, p->timeout), cancel_now, n, number, 0);
    return number;
}

/* ---- second thoughts ---- */

static void cancel_now(world *w, void *what, uint64_t number, uint64_t unused)
{
    (void)unused;
    node *n = what;
    sim_call *c = &w->calls[number];
    if (!c->open || c->caller_life != n->life || !node_runs(n) || n->paused)
        return;
    say(w, "node %u cancels call %u", n->index, (unsigned)number);
    c->cancelled = true;
    uint64_t now = node_enter(n);
    engine_cancel(n->engine, now, c->handle);
    node_settle(n);
}

/* ---- the end of a call ---- */

static void take_now(world *w, void *what, uint64_t number, uint64_t life)
{
    node *n = what;
    sim_call *c = &w->calls[number];
    if (n->life != life || n->engine == NULL)
        return;
    if (!node_runs(n) || n->paused) {
        world_at(w, w->now + MS(20), take_now, n, number, life);
        return;
    }
    EXPECT(w, c->body == NULL || pattern_matches((uint32_t)number, 1, c->body, c->body_size),
           "Q3: node %u: the reply to call %u changed before it was taken", n->index,
           (unsigned)number);
    uint64_t now = node_enter(n);
    n->handles[c->handle & 0xffffff] = 0;
    uint32_t parent = c->parent;
    uint64_t request = c->parent_request;
    engine_taken(n->engine, now, c->handle);
    node_settle(n);
    if (parent != 0)
        handler_nested(n, parent - 1, request);
}

static void event_done(node *n, const event *e)
{
    world *w = n->world;
    uint64_t index = e->id & 0xffffff;
    EXPECT(w, index < n->config.calls && n->handles[index] != 0,
           "Q1: node %u: DONE for handle %llx, which is not in use", n->index,
           (unsigned long long)e->id);
    uint32_t number = n->handles[index] - 1;
    sim_call *c = &w->calls[number];
    EXPECT(w, c->handle == e->id && c->open, "Q1: call %u of node %u ends twice", number, n->index);
    c->open = false;
    c->done = true;
    c->status = e->status;
    c->outcome = e->outcome;
    c->ended = w->now;
    c->target_life = w->nodes[c->target].life;
    say(w, "node %u call %u ends: %s, ran %u", n->index, number, status_name(e->status),
        e->outcome);
    if (e->memory != 0)
        memory_to_application(n, e->memory, e->size);
    check_done(n, number, e);
    batches_ended(w, c, e->size);
    c->body = e->memory == 0 ? e->body : NULL;
    c->body_size = e->size;
    if (e->memory != 0)
        memory_release(n, e->memory, MEMORY_APPLICATION);
    w->succeeded += e->status == STATUS_OK;
    uint64_t later = w->counting || chance(w, 800) ? 0 : chance_below(w, MS(50));
    world_at(w, w->now + later, take_now, n, number, n->life);
}

void workload_event(node *n, const event *e)
{
    step(n->world, (uint64_t)e->kind, e->id, (uint64_t)e->status << 8 | e->outcome);
    switch (e->kind) {
    case EVENT_DONE: event_done(n, e); break;
    case EVENT_REQUEST: handler_request(n, e); break;
    case EVENT_CANCEL: handler_cancel(n, e->id); break;
    case EVENT_PEER: check_peer(n, e); break;
    case EVENT_STRANGER:
        say(n->world, "node %u: stranger %s", n->index, address_text(&e->remote));
        break;
    default: broken(n->world, "Q1: node %u: event of kind %d", n->index, (int)e->kind);
    }
}

void workload_crash(node *n)
{
    world *w = n->world;
    for (uint32_t i = 0; i < w->call_count; i++)
        if (w->calls[i].caller == n->index && w->calls[i].open)
            w->calls[i].open = false; /* its caller is dead; done stays false */
    free(n->serves);
    n->serves = NULL;
    n->serve_count = 0;
}

bool workload_open(const world *w)
{
    for (uint32_t i = 0; i < w->call_count; i++)
        if (w->calls[i].open)
            return true;
    for (uint32_t i = 0; i < w->node_count; i++)
        if (handler_count(&w->nodes[i]) > 0)
            return true;
    return false;
}

/* ---- the load ---- */

static uint64_t draw_size(world *w)
{
    uint64_t max = w->nodes[0].config.max_message;
    switch (chance_below(w, 10)) {
    case 0: return chance_between(w, REQUEST_ROOM - 40, REQUEST_ROOM + 40); /* around the switch */
    case 1: return chance_below(w, max / 8);
    case 2: return chance(w, 300) ? chance_below(w, max) : chance_below(w, 300);
    case 3: return chance(w, 50) ? max + chance_below(w, 100) : 0;
    default: return chance_below(w, 600);
    }
}

static behaviour draw_behaviour(world *w)
{
    return chance(w, 600) ? DOES_REPLY : (behaviour)chance_below(w, BEHAVIOURS);
}

static void random_call(world *w)
{
    w->planning = true;
    call_plan p = {.plan = ++w->planned,
                   .caller = (uint32_t)chance_below(w, w->node_count),
                   .size = draw_size(w),
                   .reply_size = draw_size(w),
                   .timeout = MS(chance_between(w, 5, chance(w, 300) ? 20000 : 2000)),
                   .duration = chance(w, 500) ? 0 : chance_below(w, MS(100)),
                   .does = draw_behaviour(w)};
    p.target = (uint32_t)chance_below(w, w->node_count - 1);
    p.target += p.target >= p.caller;
    if (p.does == DOES_SLEEP)
        p.duration = chance_below(w, SECONDS(3));
    w->planning = false;
    workload_call(w, &p);
}

static void load(world *w, void *what, uint64_t left, uint64_t until)
{
    (void)what;
    if (left == 0 || !w->faulty || w->now >= until)
        return;
    w->planning = true;
    uint64_t burst = chance(w, 200) ? chance_between(w, 1, 8) : 1;
    w->planning = false;
    for (uint64_t i = 0; i < burst; i++)
        random_call(w);
    uint64_t gap = (until - w->now) / left;
    w->planning = true;
    world_at(w, w->now + chance_below(w, 2 * gap + 1), load, NULL, left - 1, until);
    w->planning = false;
}

void workload_begin(world *w)
{
    for (uint32_t i = 0; i < w->calls_planned / 100 + 1; i++)
        world_at(w, chance_below(w, SECONDS(1)), load, NULL,
                 w->calls_planned < 100 ? w->calls_planned : 100, w->healed);
}

/* ---- after the heal: everything must go well now ---- */

static void settled_call(world *w, void *what, uint64_t unused, uint64_t pairing)
{
    (void)what;
    (void)unused;
    call_plan p = {.caller = (uint32_t)(pairing >> 32),
                   .target = (uint32_t)pairing,
                   .timeout = SECONDS(20),
                   .settled = true};
    uint64_t max = w->nodes[0].config.max_message;
    if (chance(w, 200))
        p.size = chance_below(w, max + 1);
    if (chance(w, 200))
        p.reply_size = chance_below(w, max + 1);
    if (workload_call(w, &p) == UINT32_MAX)
        world_at(w, w->now + MS(50), settled_call, NULL, 0, pairing);
}

/* Q13: two seconds after the heal everybody reaches everybody; with tiny tables a call may still
 * wait for a slot, so an open one is judged by what the engine says of the peer. */
static void look_at_first(world *w, void *what, uint64_t number, uint64_t unused)
{
    (void)what;
    (void)unused;
    const sim_call *c = &w->calls[number];
    if (c->open)
        EXPECT(w, check_reached(&w->nodes[c->caller], c->target),
               "Q13: node %u does not reach node %u 2 s after the heal", c->caller, c->target);
}

static void first_call(world *w, void *what, uint64_t pairing, uint64_t unused)
{
    (void)what;
    (void)unused;
    uint32_t call = workload_call(w, &(call_plan){.caller = (uint32_t)(pairing >> 32),
                                                  .target = (uint32_t)pairing,
                                                  .timeout = SECONDS(20)});
    /* A connection that died without a word needs 2 s to be found out (T7), then its heir some. */
    bool lanes_only = w->options.lane0_only || w->swarm.udp_blocked;
    uint64_t patience = lanes_only ? SECONDS(4) : SECONDS(2);
    if (call != UINT32_MAX)
        world_at(w, w->now + patience, look_at_first, NULL, call, 0);
}

#define HANDLERS_END SECONDS(10) /* the longest sleep (C3); lanes are tried again (M5) */

void workload_healed(world *w)
{
    for (uint32_t from = 0; from < w->node_count; from++) {
        for (uint32_t to = 0; to < w->node_count; to++) {
            if (from == to)
                continue;
            uint64_t pairing = (uint64_t)from << 32 | to;
            world_at(w, w->now, first_call, NULL, pairing, 0);
            for (uint32_t i = 0; i < 6; i++)
                world_at(w, w->now + HANDLERS_END + chance_below(w, SECONDS(3)), settled_call, NULL,
                         0, pairing);
        }
    }
}
