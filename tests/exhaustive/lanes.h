/* lanes.h - "what if the connection breaks here?", for the two engines of search.h
 *
 *   packet mode   bytes arrive at once and in order: nothing to search in them
 *   bulk          segments wait in line; delivering one, corrupting one, and breaking either end
 *                 of the connection are choices of the model
 *
 * A connection that broke at one end still delivers what is under way to the other end, which hears
 * of the break behind it: that is how an old lane comes to deliver after the switch (T2). Only
 * positions travel: the engine never sees the bytes of a bulk lane.
 *
 * Call lanes_pump after each step; lanes_action takes the actions. */
#ifndef RUDP_EXHAUSTIVE_LANES_H
#define RUDP_EXHAUSTIVE_LANES_H

#include "exhaustive/search.h"

#define LINKS      6u
#define LINK_BYTES 600u
#define SEGMENTS   6u
#define REPORTS    12u

typedef enum { LINK_FREE, LINK_OPENING, LINK_UP } link_state;

typedef struct {
    uint8_t state, opener;
    uint32_t id[2]; /* the engines' names, 0: that end is gone */
    bool bulk[2];
    bool shut[2]; /* this end ended it; the other hears of it behind the segments */
    uint8_t in[2][LINK_BYTES];
    uint32_t in_size[2];
    segment line[2][SEGMENTS]; /* on the way to this end */
    uint8_t line_count[2];
    bool waiting[2]; /* a header was given and no READ came yet */
} lane_link;

/* Something to tell an engine as soon as its drain is over. */
typedef struct {
    uint64_t token, memory;
    uint32_t connection;
    uint8_t who, kind, result;
} report;

enum { REPORT_NONE, REPORT_DONE, REPORT_GONE };

typedef struct {
    lane_link links[LINKS];
    report reports[REPORTS];
    uint32_t report_count;
    uint32_t made;            /* memories that ALLOC gave, in all */
    uint32_t verified, reads; /* of the message that is received */
    uint32_t writes;          /* not reported yet */
    bool corrupt_next;
} lanes;

static lanes *lanes_now; /* inside scene_now.model */

static lane_link *lane_link_of(unsigned who, uint32_t id)
{
    for (unsigned i = 0; i < LINKS; i++) {
        lane_link *l = &lanes_now->links[i];
        if (l->state != LINK_FREE && l->id[who] == id && id != 0)
            return l;
    }
    return NULL;
}

static void lanes_report(report r)
{
    HOLDS(lanes_now->report_count < REPORTS, "too many orders at once");
    lanes_now->reports[lanes_now->report_count++] = r;
}

/* ---- actions ---- */

static void lanes_open(unsigned who, const action *a)
{
    for (unsigned i = 0; i < LINKS; i++) {
        lane_link *l = &lanes_now->links[i];
        if (l->state != LINK_FREE)
            continue;
        memset(l, 0, sizeof *l);
        l->state = LINK_OPENING;
        l->opener = (uint8_t)who;
        l->id[who] = a->connection;
        return;
    }
    fails("too many connections");
}

static void lanes_write(unsigned who, lane_link *l, const action *a)
{
    HOLDS(l->bulk[who] && !l->shut[who], "WRITE on a connection that is no lane");
    lanes_now->writes++;
    lanes_report((report){.token = a->token, .who = (uint8_t)who, .kind = REPORT_DONE});
    if (l->id[!who] == 0)
        return; /* nobody is there any more */
    HOLDS(l->line_count[!who] < SEGMENTS, "too many segments under way");
    l->line[!who][l->line_count[!who]++] = a->segment;
}

/* T2: final memory is read into at the expected offset only, and only until it is complete. */
static void lanes_read(unsigned who, lane_link *l, const action *a)
{
    HOLDS(l->waiting[who], "T2: READ without a segment");
    l->waiting[who] = false;
    bool corrupt = lanes_now->corrupt_next;
    lanes_now->corrupt_next = false;
    if (a->memory != 0) {
        HOLDS(a->segment.offset == lanes_now->verified, "Q8: READ at %llu, verified are %u",
              (unsigned long long)a->segment.offset, lanes_now->verified);
        if (!corrupt)
            lanes_now->verified += a->segment.length;
        lanes_now->reads++;
    }
    lanes_report((report){.token = a->token,
                          .who = (uint8_t)who,
                          .kind = REPORT_DONE,
                          .result = corrupt ? DONE_CORRUPT : DONE_OK});
}

/* This end is over: the engine hears GONE, the other end hears of it later. */
static void lanes_end(lane_link *l, unsigned who)
{
    if (l->shut[who])
        return;
    l->shut[who] = true;
    l->waiting[who] = false;
    l->in_size[who] = l->line_count[who] = 0;
    lanes_report((report){.connection = l->id[who], .who = (uint8_t)who, .kind = REPORT_GONE});
}

static __attribute__((unused)) bool lanes_action(unsigned who, const action *a)
{
    if (a->kind == ACTION_OPEN) {
        lanes_open(who, a);
        return true;
    }
    if (a->kind == ACTION_ALLOC) {
        lanes_report((report){.token = a->token,
                              .who = (uint8_t)who,
                              .kind = REPORT_DONE,
                              .memory = 1000 + ++lanes_now->made});
        return true;
    }
    if (a->kind == ACTION_SEND || a->kind == ACTION_EVENT || a->kind == ACTION_RELEASE)
        return false;
    lane_link *l = lane_link_of(who, a->connection);
    HOLDS(l != NULL, "action %d for connection %u, which is gone", (int)a->kind, a->connection);
    switch (a->kind) {
    case ACTION_PUT:
        if (l->in_size[!who] + a->size <= LINK_BYTES && l->id[!who] != 0) {
            memcpy(l->in[!who] + l->in_size[!who], a->bytes, a->size);
            l->in_size[!who] += (uint32_t)a->size;
        }
        break;
    case ACTION_BULK: l->bulk[who] = true; break;
    case ACTION_WRITE: lanes_write(who, l, a); break;
    case ACTION_READ: lanes_read(who, l, a); break;
    default: lanes_end(l, who); break;
    }
    return true;
}

/* ---- what follows by itself ---- */

static bool pump_reports(void)
{
    if (lanes_now->report_count == 0)
        return false;
    report r = lanes_now->reports[0];
    lanes_now->report_count--;
    memmove(lanes_now->reports, lanes_now->reports + 1,
            lanes_now->report_count * sizeof *lanes_now->reports);
    lanes_now->reports[lanes_now->report_count] = (report){.kind = REPORT_NONE};
    engine *e = actors[r.who].engine;
    if (r.kind == REPORT_DONE) {
        if (r.memory == 0 && lanes_now->writes > 0 && r.result == DONE_OK)
            lanes_now->writes--;
        engine_done(e, scene_now.now, r.token, (done_result)r.result, r.memory);
    } else {
        lane_link *l = lane_link_of(r.who, r.connection);
        if (l != NULL)
            l->id[r.who] = 0;
        engine_connection(e, scene_now.now, r.connection, CONNECTION_GONE);
    }
    settle(r.who);
    return true;
}

static bool pump_opening(lane_link *l)
{
    unsigned from = l->opener, to = !from;
    l->state = LINK_UP;
    l->id[to] =
        engine_accept(actors[to].engine, scene_now.now, &actors[to].address, &actors[from].address);
    settle(to);
    if (l->shut[from])
        return true;
    engine_connection(actors[from].engine, scene_now.now, l->id[from], CONNECTION_OPENED);
    settle(from);
    return true;
}

static bool pump_bytes(lane_link *l, unsigned who)
{
    size_t room = engine_room(actors[who].engine, l->id[who]);
    if (room == 0 || l->bulk[who])
        return false;
    size_t size = room < l->in_size[who] ? room : l->in_size[who];
    uint8_t *bytes = malloc(size);
    memcpy(bytes, l->in[who], size);
    l->in_size[who] -= (uint32_t)size;
    memmove(l->in[who], l->in[who] + size, l->in_size[who]);
    memset(l->in[who] + l->in_size[who], 0, size);
    engine_bytes(actors[who].engine, scene_now.now, l->id[who], bytes, size);
    free(bytes);
    settle(who);
    return true;
}

static bool pump_end(lane_link *l, unsigned who)
{
    bool over = l->shut[!who] && !l->shut[who] && l->id[who] != 0 && l->line_count[who] == 0 &&
                l->in_size[who] == 0 && !l->waiting[who];
    if (!over)
        return false;
    uint32_t id = l->id[who];
    lanes_end(l, who);
    engine_connection(actors[who].engine, scene_now.now, id, CONNECTION_ENDED);
    settle(who);
    return true;
}

static bool pump_link(lane_link *l)
{
    if (l->state == LINK_FREE)
        return false;
    if (l->state == LINK_OPENING)
        return pump_opening(l);
    for (unsigned who = 0; who < 2; who++) {
        if (l->in_size[who] > 0 && l->id[who] != 0 && pump_bytes(l, who))
            return true;
        if (pump_end(l, who))
            return true;
    }
    if (l->id[0] == 0 && l->id[1] == 0)
        memset(l, 0, sizeof *l);
    return false;
}

static __attribute__((unused)) void lanes_pump(void)
{
    for (unsigned count = 0;; count++) {
        HOLDS(count < 10000, "connections without end");
        bool moved = pump_reports();
        for (unsigned i = 0; i < LINKS && !moved; i++)
            moved = pump_link(&lanes_now->links[i]);
        if (!moved)
            return;
    }
}

/* ---- choices ---- */

static __attribute__((unused)) bool lanes_may_deliver(unsigned i, unsigned who)
{
    const lane_link *l = &lanes_now->links[i];
    return l->state == LINK_UP && l->line_count[who] > 0 && !l->waiting[who] && !l->shut[who] &&
           l->id[who] != 0 && l->bulk[who];
}

static __attribute__((unused)) void lanes_deliver(unsigned i, unsigned who, bool corrupt)
{
    lane_link *l = &lanes_now->links[i];
    segment s = l->line[who][0];
    l->line_count[who]--;
    memmove(l->line[who], l->line[who] + 1, l->line_count[who] * sizeof s);
    l->waiting[who] = true;
    lanes_now->corrupt_next = corrupt;
    engine_segment(actors[who].engine, scene_now.now, l->id[who], &s);
    settle(who);
}

static __attribute__((unused)) bool lanes_may_break(unsigned i, unsigned who)
{
    const lane_link *l = &lanes_now->links[i];
    return l->state == LINK_UP && l->id[who] != 0 && !l->shut[who] && l->bulk[who];
}

static __attribute__((unused)) void lanes_break(unsigned i, unsigned who)
{
    lane_link *l = &lanes_now->links[i];
    uint32_t id = l->id[who];
    lanes_end(l, who);
    engine_connection(actors[who].engine, scene_now.now, id, CONNECTION_BROKE);
    settle(who);
}

#endif
