/* message.h - one message of three segments: what must hold of it, and what may befall it.
 *
 * Its lane is broken at either end or its segment corrupted, beside every loss, duplication and
 * order of the packets about it (T1 to T5, T10; Q8). transfer.c lets it wait for memory, eager.c
 * sends it without (A1). */
#ifndef RUDP_EXHAUSTIVE_MESSAGE_H
#define RUDP_EXHAUSTIVE_MESSAGE_H

#include "exhaustive/lanes.h"

#define SEGMENT     1024u
#define TOTAL       (3 * SEGMENT)
#define SENT_MEMORY 7u

typedef struct {
    lanes lanes;
    uint64_t request, received, handle;
    uint32_t peer;
    uint32_t breaks, corruptions; /* budgets */
    uint8_t begun, released, requests, runs, done, status, outcome;
} model;

static model *m = (model *)(void *)scene_now.model;

static void model_event(unsigned who, const event *e)
{
    if (e->kind == EVENT_REQUEST) {
        HOLDS(who == 1 && ++m->requests == 1, "Q2: the request comes twice");
        HOLDS(e->size == TOTAL && e->memory != 0 && m->lanes.verified == TOTAL,
              "Q8: delivered with %u bytes verified", m->lanes.verified);
        m->request = e->id;
        m->received = e->memory;
    }
    if (e->kind == EVENT_DONE) {
        HOLDS(who == 0 && !m->done, "Q1: the call ends twice");
        m->done = 1;
        m->status = e->status;
        m->outcome = e->outcome;
    }
}

static bool model_action(unsigned who, const action *a)
{
    if (a->kind == ACTION_RELEASE && who == 0) {
        HOLDS(a->memory == SENT_MEMORY && ++m->released == 1, "T5: RELEASE of %llu",
              (unsigned long long)a->memory);
        return true;
    }
    HOLDS(a->kind != ACTION_RELEASE, "T4: the receiver gives memory back");
    HOLDS(a->kind != ACTION_WRITE || (a->memory == SENT_MEMORY && !m->released), "T5: WRITE");
    HOLDS(a->kind != ACTION_READ || a->memory == 0 || !m->received, "T2: READ after delivery");
    return lanes_action(who, a);
}

/* ---- choices: segments, breaks, the handler's reply ---- */

typedef enum { DELIVER, CORRUPT, BREAK, KINDS } kind;

static bool may(unsigned k, unsigned i, unsigned who)
{
    switch (k) {
    case DELIVER: return lanes_may_deliver(i, who);
    case CORRUPT: return m->corruptions > 0 && lanes_may_deliver(i, who);
    default: return m->breaks > 0 && lanes_may_break(i, who);
    }
}

static void answer(void)
{
    engine *e = actors[1].engine;
    m->runs = 1;
    engine_request_taken(e, scene_now.now, m->request);
    settle(1);
    reply_command reply = {.request = m->request, .body = (const uint8_t *)"", .size = 0};
    engine_reply(e, scene_now.now, &reply);
    settle(1);
    lanes_pump();
}

/* Number `which` among what may be done now; counts on if which is UINT32_MAX. */
static unsigned each_choice(unsigned which)
{
    unsigned count = 0;
    for (unsigned i = 0; i < LINKS; i++) {
        for (unsigned who = 0; who < 2; who++) {
            for (unsigned k = 0; k < KINDS; k++) {
                if (!may(k, i, who) || count++ != which)
                    continue;
                m->corruptions -= k == CORRUPT;
                m->breaks -= k == BREAK;
                if (k == BREAK)
                    lanes_break(i, who);
                else
                    lanes_deliver(i, who, k == CORRUPT);
                lanes_pump();
                return count;
            }
        }
    }
    if (m->requests && !m->runs && count++ == which)
        answer();
    return count;
}

static unsigned model_choices(void)
{
    return each_choice(UINT32_MAX);
}

static void model_choose(unsigned which)
{
    each_choice(which);
}

static void model_follow(void)
{
    lanes_pump();
}

/* ---- the end ---- */

static void model_finish(void)
{
    m->breaks = m->corruptions = 0;
    for (unsigned round = 0; round < 60 && !(m->done && m->released); round++) {
        while (model_choices() > 0)
            model_choose(0);
        run_for(MS(100));
    }
    HOLDS(m->done && m->status == STATUS_OK, "T3: the transfer does not end well: done %u, %s",
          m->done, status_name(m->status));
    HOLDS(m->runs == 1 && m->outcome == RAN_YES, "Q2: ran %u times", m->runs);
    HOLDS(m->released, "T5: the memory was not given back");
    HOLDS(m->lanes.made == 1, "A1: %u memories for one message", m->lanes.made);
    engine_taken(actors[0].engine, scene_now.now, m->handle);
    settle(0);
    for (unsigned round = 0; round < 20; round++) {
        run_for(MS(100));
        lanes_pump();
    }
    HOLDS(engine_all_free(actors[0].engine), "Q6: something of the sender is not free");
    HOLDS(engine_all_free(actors[1].engine), "Q6: something of the receiver is not free");
}

/* ---- the beginning ---- */

static void message_begin(void)
{
    config c = search_config();
    c.tcp = true;
    c.connections = 6;
    c.segment_min = c.segment_max = SEGMENT;
    c.watch_lane0 = SECONDS(1000); /* lane 0 is another story */
    lanes_now = &m->lanes;
    search_begin(&c);
    m->peer = engine_peer(actors[0].engine, scene_now.now, &actors[1].address);
    engine_peer_watch(actors[0].engine, scene_now.now, m->peer, true);
    settle(0);
    run_for(MS(200));
    lanes_pump();
}

/* The next message of the sender; what the model remembers of the one before is over. */
static void message_call(void)
{
    m->handle += (uint64_t)1 << 24;
    m->begun = m->released = m->requests = m->runs = m->done = 0;
    m->request = m->received = 0;
    m->lanes.made = m->lanes.verified = m->lanes.reads = 0;
    call_command command = {.handle = m->handle,
                            .peer = m->peer,
                            .deadline = scene_now.now + SECONDS(20),
                            .method = (const uint8_t *)"m",
                            .method_size = 1,
                            .memory = SENT_MEMORY,
                            .size = TOTAL};
    HOLDS(engine_call(actors[0].engine, scene_now.now, &command), "the call is not taken");
    settle(0);
}

static void message_search(const char *name, unsigned breaks, unsigned depth)
{
    scene_now.losses = 1;
    scene_now.copies = 1;
    scene_now.timers = 2;
    m->breaks = breaks;
    m->corruptions = 1;
    explore(depth);
    search_end(name);
}

#endif
