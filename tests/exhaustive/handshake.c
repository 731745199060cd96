/* handshake.c - two nodes dial each other, twice each, under every loss, duplication and order: in
 * the end exactly one session is left, and both use it (S5, S6; Q10). */
#include "exhaustive/search.h"

#define DIALS 2u

typedef struct {
    uint32_t peer[2];
    uint32_t dials[2]; /* made */
    uint32_t calls_done[2], calls_ok[2];
} model;

static model *m = (model *)(void *)scene_now.model;

static void model_event(unsigned who, const event *e)
{
    if (e->kind == EVENT_DONE) {
        m->calls_done[who]++;
        m->calls_ok[who] += e->status == STATUS_OK;
        engine_taken(actors[who].engine, scene_now.now, e->id);
    }
    if (e->kind == EVENT_REQUEST) {
        engine_request_taken(actors[who].engine, scene_now.now, e->id);
        reply_command reply = {.request = e->id, .body = (const uint8_t *)"", .size = 0};
        engine_reply(actors[who].engine, scene_now.now, &reply);
    }
}

static bool model_action(unsigned who, const action *a)
{
    (void)who;
    HOLDS(a->kind == ACTION_SEND, "action %d without lanes", (int)a->kind);
    return false;
}

/* The first dial is the application's wish; the second comes from a retry or from looking anew. */
static unsigned model_choices(void)
{
    return (m->dials[0] < DIALS ? 1u : 0u) + (m->dials[1] < DIALS ? 1u : 0u);
}

static void model_choose(unsigned which)
{
    unsigned who = m->dials[0] < DIALS ? which : 1;
    m->dials[who]++;
    engine *e = actors[who].engine;
    m->peer[who] = engine_peer(e, scene_now.now, &actors[!who].address);
    engine_peer_watch(e, scene_now.now, m->peer[who], m->dials[who] % 2 == 1);
    if (m->dials[who] % 2 == 0)
        engine_peer_watch(e, scene_now.now, m->peer[who], true);
    settle(who);
}

static void call(unsigned who)
{
    call_command command = {.handle = (uint64_t)(m->calls_done[who] + 1) << 24,
                            .peer = m->peer[who],
                            .deadline = scene_now.now + SECONDS(8),
                            .method = (const uint8_t *)"m",
                            .method_size = 1,
                            .body = (const uint8_t *)"",
                            .size = 0};
    HOLDS(engine_call(actors[who].engine, scene_now.now, &command), "handle in use");
    settle(who);
}

static uint64_t sessions_left(unsigned who)
{
    const counters *k = engine_counters(actors[who].engine);
    return k->sessions_made - k->sessions_ended;
}

static void model_follow(void) {}

static void model_finish(void)
{
    while (model_choices() > 0)
        model_choose(0);
    call(0);
    call(1);
    run_for(SECONDS(2));
    HOLDS(m->calls_ok[0] == 1 && m->calls_ok[1] == 1, "Q13: calls after the heal: %u and %u of 1",
          m->calls_ok[0], m->calls_ok[1]);
    run_for(SECONDS(8)); /* longer than an unconfirmed session and drain_max */
    for (unsigned who = 0; who < 2; who++)
        HOLDS(sessions_left(who) == 1, "Q10: node %u has %llu sessions", who,
              (unsigned long long)sessions_left(who));
    call(0);
    call(1);
    run_for(MS(200));
    HOLDS(m->calls_ok[0] == 2 && m->calls_ok[1] == 2, "S6: the session that is left is not one");
}

int main(void)
{
    config c = search_config();
    c.drain_max = SECONDS(2);
    search_begin(&c);
    scene_now.losses = 2;
    scene_now.copies = 1;
    scene_now.timers = 2;
    explore(6);
    search_end("handshake");
    return 0;
}
