/* handler.c - what the answering applications do with requests: all that handlers do in real life.
 *
 *   REQUEST event -> NEW -(copied: engine_request_taken)-> QUEUED -(starts)-> RUNNING -> reply
 *                                                            | cancelled, too late, no method
 *                                                            +-> refused, never started
 *
 * The start is written to the call's journal: Q2 compares it with what callers were told. */
#include "world.h"

#define SERVES_MAX 512u

/* Where a request stands, in which life of its node: the next life gives out the same numbers. */
static uint64_t place_of(const node *n, uint64_t entry)
{
    return n->life << 32 | entry;
}

static asked *serve_of(node *n, uint64_t place, uint64_t request)
{
    uint64_t entry = (uint32_t)place;
    if (n->engine == NULL || place != place_of(n, entry) || entry >= n->serve_count)
        return NULL;
    asked *s = &n->serves[entry];
    return s->state != ASKED_FREE && s->request == request ? s : NULL;
}

uint32_t handler_count(const node *n)
{
    uint32_t queued = 0;
    for (uint32_t i = 0; i < n->serve_count; i++)
        queued += n->serves[i].state != ASKED_FREE;
    return queued;
}

/* Late and stalled applications come back later. */
static bool postponed(node *n, happening_run run, uint64_t place, uint64_t request)
{
    world *w = n->world;
    if (node_runs(n) && !n->paused)
        return false;
    world_at(w, w->now + MS(10) + chance_below(w, MS(10)), run, n, place, request);
    return true;
}

/* ---- the end ---- */

static void forget(node *n, asked *s)
{
    if (s->memory != 0)
        memory_release(n, s->memory, MEMORY_APPLICATION);
    s->state = ASKED_FREE;
    s->memory = 0;
}

static void refuse(node *n, asked *s, status why)
{
    say(n->world, "node %u refuses call %u: %s", n->index, s->call, status_name(why));
    uint64_t request = s->request;
    forget(n, s);
    uint64_t now = node_enter(n);
    engine_refuse(n->engine, now, request, why);
    node_settle(n);
}

static void reply(node *n, asked *s, status how)
{
    world *w = n->world;
    const sim_call *c = &w->calls[s->call];
    uint64_t size = how == STATUS_OK ? c->reply_size : how == STATUS_CANCELLED ? 0 : s->call % 64;
    reply_command command = {.request = s->request, .status = (uint8_t)how, .size = size};
    uint8_t *body = malloc(size && size <= REPLY_ROOM ? size : 1);
    if (size <= REPLY_ROOM && (s->call % 16 != 5 || size == 0 || w->counting)) {
        pattern_fill(s->call, 1, body, size);
        command.body = body;
    } else {
        command.memory = memory_make(n, size, MEMORY_ENGINE);
        pattern_fill(s->call, 1, memory_of(n, command.memory)->bytes, size);
    }
    say(w, "node %u replies to call %u: %s, %llu bytes", n->index, s->call, status_name(how),
        (unsigned long long)size);
    forget(n, s);
    uint64_t now = node_enter(n);
    engine_reply(n->engine, now, &command);
    free(body);
    node_settle(n);
}

static void finish(world *w, void *what, uint64_t place, uint64_t request)
{
    node *n = what;
    asked *s = serve_of(n, place, request);
    if (s == NULL || postponed(n, finish, place, request))
        return;
    uint8_t does = w->calls[s->call].does;
    if (s->cancelled && does != DOES_IGNORE_CANCEL && s->call % 2 == 0)
        reply(n, s, STATUS_CANCELLED);
    else
        reply(n, s, does == DOES_RAISE ? STATUS_EXCEPTION : STATUS_OK);
}

void handler_nested(node *n, uint32_t entry, uint64_t request)
{
    world_at(n->world, n->world->now, finish, n, place_of(n, entry), request);
}

/* ---- the beginning ---- */

static bool nest(node *n, const asked *s)
{
    world *w = n->world;
    const sim_call *c = &w->calls[s->call];
    if (c->depth >= 2 || c->deadline <= w->now + MS(2))
        return false;
    call_plan p = {.caller = n->index,
                   .target = chance(w, 500) ? c->caller : (n->index + 1) % w->node_count,
                   .size = c->size,
                   .reply_size = c->reply_size,
                   .timeout = (c->deadline - w->now) / 2,
                   .does = chance(w, 300) ? DOES_NEST : DOES_REPLY,
                   .depth = c->depth + 1,
                   .parent = (uint32_t)(s - n->serves) + 1,
                   .parent_request = s->request};
    return p.target != n->index && workload_call(w, &p) != UINT32_MAX;
}

static void start(world *w, void *what, uint64_t place, uint64_t request)
{
    node *n = what;
    asked *s = serve_of(n, place, request);
    if (s == NULL || s->state != ASKED_QUEUED || postponed(n, start, place, request))
        return;
    uint32_t number = s->call;
    sim_call *c = &w->calls[number];
    if (s->cancelled || node_clock(n) >= s->deadline) { /* C8: looked at once more */
        refuse(n, s, s->cancelled ? STATUS_CANCELLED : STATUS_DEADLINE);
        return;
    }
    if (c->does == DOES_REFUSE || (c->does == DOES_BUSY && chance(w, 500))) {
        status no = number % 2 ? STATUS_NO_METHOD : STATUS_BAD_REQUEST;
        refuse(n, s, c->does == DOES_BUSY ? STATUS_BUSY : no);
        return;
    }
    check_start(n, s);
    c->runs++;
    w->handlers++;
    s->state = ASKED_RUNNING;
    say(w, "node %u runs call %u", n->index, number);
    if (c->does == DOES_NEST && nest(n, s))
        return;
    world_at(w, w->now + w->calls[number].duration, finish, n, place, request);
}

static void copied(world *w, void *what, uint64_t place, uint64_t request)
{
    node *n = what;
    asked *s = serve_of(n, place, request);
    if (s == NULL || postponed(n, copied, place, request))
        return;
    uint32_t call;
    bool intact = method_read(s->method, s->method_size, &call) && call == s->call &&
                  (s->memory != 0 || pattern_matches(call, 0, s->body, s->size));
    EXPECT(w, intact, "Q3: node %u: the bytes of request %u changed before they were taken",
           n->index, s->call);
    s->state = ASKED_QUEUED;
    s->method = s->body = NULL;
    uint64_t now = node_enter(n);
    engine_request_taken(n->engine, now, request);
    node_settle(n);
    uint64_t later = w->counting || chance(w, 700) ? 0 : chance_below(w, MS(30));
    world_at(w, w->now + later, start, n, place, request);
}

/* ---- events ---- */

static asked *free_entry(node *n)
{
    for (uint32_t i = 0; i < n->serve_count; i++)
        if (n->serves[i].state == ASKED_FREE)
            return &n->serves[i];
    EXPECT(n->world, n->serve_count < SERVES_MAX, "C1: node %u holds %u requests", n->index,
           n->serve_count);
    n->serves = realloc(n->serves, ++n->serve_count * sizeof *n->serves);
    return &n->serves[n->serve_count - 1];
}

void handler_request(node *n, const event *e)
{
    world *w = n->world;
    uint32_t call;
    EXPECT(w, method_read(e->method, e->method_size, &call) && call < w->call_count,
           "Q3: node %u gets a request that nobody made", n->index);
    const sim_call *c = &w->calls[call];
    uint32_t extension = call % 9;
    uint8_t expected[8];
    pattern_fill(call, 1, expected, sizeof expected);
    EXPECT(w,
           c->target == n->index && c->size == e->size && e->extension_size == extension &&
               memcmp(e->method + METHOD_SIZE, expected, extension) == 0,
           "Q3: node %u gets request %u with %llu bytes, made were %llu for node %u", n->index,
           call, (unsigned long long)e->size, (unsigned long long)c->size, c->target);
    if (e->memory != 0)
        memory_to_application(n, e->memory, e->size);
    const uint8_t *body = e->memory != 0 ? memory_of(n, e->memory)->bytes : e->body;
    EXPECT(w, pattern_matches(call, 0, body, e->size), "Q3: node %u: request %u is garbled",
           n->index, call);
    for (uint32_t i = 0; i < n->serve_count; i++)
        EXPECT(w, n->serves[i].state == ASKED_FREE || n->serves[i].request != e->id,
               "Q2: node %u gets request id %llx twice", n->index, (unsigned long long)e->id);
    asked *s = free_entry(n);
    *s = (asked){.request = e->id,
                 .deadline = e->deadline,
                 .memory = e->memory,
                 .method = e->method,
                 .body = e->body,
                 .size = e->size,
                 .method_size = e->method_size,
                 .call = call,
                 .state = ASKED_NEW};
    uint64_t later = w->counting || chance(w, 800) ? 0 : chance_below(w, MS(20));
    say(w, "node %u gets request %u", n->index, call);
    world_at(w, w->now + later, copied, n, place_of(n, (uint64_t)(s - n->serves)), e->id);
}

void handler_cancel(node *n, uint64_t request)
{
    world *w = n->world;
    for (uint32_t i = 0; i < n->serve_count; i++) {
        asked *s = &n->serves[i];
        if (s->state == ASKED_FREE || s->request != request)
            continue;
        say(w, "node %u: call %u is cancelled", n->index, s->call);
        s->cancelled = true;
        if (s->state == ASKED_RUNNING && w->calls[s->call].does != DOES_IGNORE_CANCEL)
            world_at(w, w->now + chance_below(w, MS(5)), finish, n, i, request);
        return;
    }
}
