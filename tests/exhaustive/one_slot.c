/* one_slot.c - one call slot: call, cancel, refuse, reply, and a second call in the same slot,
 * under every loss, duplication and order (C1 to C4; Q1, Q2, Q6). */
#include "exhaustive/search.h"

#define CALLS 2u

typedef struct {
    uint64_t handle, request;
    uint8_t begun, cancelled, done, status, outcome;
    uint8_t asked; /* its request is at the answerer, not yet answered */
    uint8_t runs, refused;
} slot_call;

typedef struct {
    slot_call calls[CALLS];
    uint32_t peer;
    uint32_t healed;
} model;

static model *m = (model *)(void *)scene_now.model;

/* ---- events ---- */

static void event_done(const event *e)
{
    for (unsigned i = 0; i < CALLS; i++) {
        slot_call *c = &m->calls[i];
        if (c->handle != e->id || !c->begun)
            continue;
        HOLDS(!c->done, "Q1: call %u ends twice", i);
        c->done = 1;
        c->status = e->status;
        c->outcome = e->outcome;
        HOLDS(e->status != STATUS_OK || (c->runs == 1 && e->size == 1 && e->body[0] == i),
              "Q3: call %u gets a reply that is not its own", i);
        HOLDS(e->outcome != RAN_YES || c->runs == 1, "Q2: call %u never ran", i);
        HOLDS(e->outcome != RAN_NO || c->runs == 0, "Q2: call %u did run", i);
        HOLDS(e->status != STATUS_CANCELLED || c->cancelled, "Q1: nobody cancelled call %u", i);
        return;
    }
    fails("Q1: DONE for nobody");
}

static void model_event(unsigned who, const event *e)
{
    if (e->kind == EVENT_DONE)
        event_done(e);
    if (e->kind == EVENT_REQUEST) {
        HOLDS(who == 1 && e->method_size == 1 && e->method[0] < CALLS, "Q3: request of nobody");
        slot_call *c = &m->calls[e->method[0]];
        HOLDS(c->runs == 0 && !c->refused && !c->asked, "Q2: request %u comes twice", e->method[0]);
        HOLDS(!c->done || c->outcome != RAN_NO, "Q2: request %u after its caller was told no",
              e->method[0]);
        c->request = e->id;
        c->asked = 1;
    }
}

static bool model_action(unsigned who, const action *a)
{
    (void)who;
    HOLDS(a->kind == ACTION_SEND, "action %d without lanes", (int)a->kind);
    return false;
}

/* ---- what the applications may do ---- */

enum { CALL, CANCEL, REPLY, REFUSE, KINDS };

static bool may(unsigned kind, unsigned i)
{
    const slot_call *c = &m->calls[i];
    switch (kind) {
    case CALL: return !c->begun && (i == 0 || m->calls[i - 1].begun) && !m->healed;
    case CANCEL: return c->begun && !c->done && !c->cancelled && !m->healed;
    case REPLY: return c->asked;
    default: return c->asked && !m->healed;
    }
}

static void act(unsigned kind, unsigned i)
{
    slot_call *c = &m->calls[i];
    uint8_t name = (uint8_t)i;
    engine *caller = actors[0].engine, *answerer = actors[1].engine;
    if (kind == CALL) {
        c->begun = 1;
        c->handle = (uint64_t)1 << 24 | i;
        call_command command = {.handle = c->handle,
                                .peer = m->peer,
                                .deadline = scene_now.now + SECONDS(3),
                                .method = &name,
                                .method_size = 1,
                                .body = &name,
                                .size = 1};
        HOLDS(engine_call(caller, scene_now.now, &command), "handle %u in use", i);
        settle(0);
    } else if (kind == CANCEL) {
        c->cancelled = 1;
        engine_cancel(caller, scene_now.now, c->handle);
        settle(0);
        HOLDS(c->done, "Q1: call %u was cancelled and is open", i);
    } else {
        engine_request_taken(answerer, scene_now.now, c->request);
        c->asked = 0;
        if (kind == REPLY) {
            c->runs = 1;
            reply_command reply = {.request = c->request, .body = &name, .size = 1};
            engine_reply(answerer, scene_now.now, &reply);
        } else {
            c->refused = 1;
            engine_refuse(answerer, scene_now.now, c->request, STATUS_NO_METHOD);
        }
        settle(1);
    }
}

static unsigned model_choices(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CALLS; i++)
        for (unsigned kind = 0; kind < KINDS; kind++)
            count += may(kind, i);
    return count;
}

static void model_choose(unsigned which)
{
    for (unsigned i = 0; i < CALLS; i++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            if (may(kind, i) && which-- == 0) {
                act(kind, i);
                return;
            }
        }
    }
}

/* ---- the end ---- */

static void model_follow(void) {}

static void model_finish(void)
{
    m->healed = 1;
    for (unsigned round = 0; round < 40; round++) {
        run_for(MS(100));
        while (model_choices() > 0)
            model_choose(0);
    }
    for (unsigned i = 0; i < CALLS; i++) {
        const slot_call *c = &m->calls[i];
        if (!c->begun)
            continue;
        HOLDS(c->done, "Q1: call %u never ended", i);
        HOLDS(c->outcome != RAN_NO || c->runs == 0, "Q2: call %u ran after all", i);
        HOLDS(c->status != STATUS_DEADLINE, "Q16: call %u was lost on the way", i);
        engine_taken(actors[0].engine, scene_now.now, c->handle);
        settle(0);
    }
    run_for(SECONDS(2));
    HOLDS(engine_all_free(actors[0].engine), "Q6: something of the caller is not free");
    HOLDS(engine_all_free(actors[1].engine), "Q6: something of the answerer is not free");
}

int main(void)
{
    config c = search_config();
    c.call_slots = c.call_slots_max = 1;
    search_begin(&c);
    m->peer = engine_peer(actors[0].engine, scene_now.now, &actors[1].address);
    engine_peer_watch(actors[0].engine, scene_now.now, m->peer, true);
    settle(0);
    run_for(MS(300)); /* a session is up and all of it acknowledged */
    scene_now.losses = 2;
    scene_now.copies = 1;
    scene_now.timers = 1;
    explore(8);
    search_end("one slot");
    return 0;
}
