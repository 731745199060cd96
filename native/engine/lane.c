/* lane.c - the life of a connection: entered, established elsewhere, parted, gone. */
#include "engine/lane.h"

#include "engine/machine.h"
#include "engine/outbox.h"
#include "engine/pulse.h"
#include "engine/state.h"

#define PARK_ANNOUNCED NS_PER_S /* between LANE_PARK and the end of lane 0 (M1) */
#define SMALL_SEGMENTS 1160u    /* TCP_MAXSEG after two lanes without progress (T8) */

#define CLOSING  CONNECTION_CLOSING
#define STRANGER CONNECTION_STRANGER

/* clang-format off */
static const uint8_t table[CONNECTION_STATES][CONNECTION_INPUTS] = {
    /* from the peer, or from the kernel about it */
    /*  OPENED_LANE, OPENED_DIAL, FIRST, HELLO_ZERO, HELLO_BULK, WELCOME_ZERO, WELCOME_BULK, END */
    /* from ourselves: OPEN, ACCEPT, ADOPT, DROP, FREE */
    [CONNECTION_FREE] = {STAY, STAY, STAY, STAY, STAY, STAY, STAY, STAY,
                         CONNECTION_OPENING, STRANGER, NEVER, NEVER, NEVER},
    [CONNECTION_OPENING] = {CONNECTION_GREETING, CONNECTION_HANDSHAKING, STAY, STAY, STAY, STAY,
                            STAY, CLOSING, NEVER, NEVER, CONNECTION_OPENING, CLOSING, NEVER},
    [CONNECTION_GREETING] = {STAY, STAY, STAY, STAY, STAY, CONNECTION_PACKETS, CONNECTION_BULK,
                             CLOSING, NEVER, NEVER, NEVER, CLOSING, NEVER},
    [CONNECTION_STRANGER] = {STAY, STAY, CONNECTION_HANDSHAKING, CONNECTION_PACKETS,
                             CONNECTION_BULK, STAY, STAY, CLOSING, NEVER, NEVER, NEVER, CLOSING,
                             NEVER},
    [CONNECTION_HANDSHAKING] = {STAY, STAY, STAY, CONNECTION_PACKETS, CONNECTION_BULK, STAY, STAY,
                                CLOSING, NEVER, NEVER, CONNECTION_GREETING, CLOSING, NEVER},
    [CONNECTION_PACKETS] = {STAY, STAY, STAY, STAY, STAY, STAY, STAY, CLOSING,
                            NEVER, NEVER, NEVER, CLOSING, NEVER},
    [CONNECTION_BULK] = {STAY, STAY, STAY, STAY, STAY, STAY, STAY, CLOSING,
                         NEVER, NEVER, NEVER, CLOSING, NEVER},
    [CONNECTION_CLOSING] = {STAY, STAY, STAY, STAY, STAY, STAY, STAY, STAY,
                            NEVER, NEVER, NEVER, NEVER, CONNECTION_FREE},
};
/* clang-format on */

void connection_input_apply(connection *c, connection_input input)
{
    c->state = machine_next(c->state, table[c->state][input]);
}

/* ---- the table of connections ---- */

connection *lane_by_id(const engine *e, uint32_t id)
{
    uint32_t index = id & 0xffff;
    bool known = slots_match(&e->connection_slots, index, (uint16_t)(id >> 16));
    return known ? &e->connections[index] : NULL;
}

connection *connection_new(engine *e, uint64_t now, connection_input how)
{
    uint32_t index;
    if (!slots_take(&e->connection_slots, &index)) {
        e->counters.dropped[DROP_TABLE]++;
        return NULL;
    }
    connection *c = &e->connections[index];
    memset(c, 0, sizeof *c);
    c->index = index;
    c->id = (uint32_t)slots_generation(&e->connection_slots, index) << 16 | index;
    c->timer.kind = TIMER_CONNECTION;
    c->began = now;
    list_init(&c->turns);
    connection_input_apply(c, how);
    return c;
}

static void connection_free(engine *e, connection *c)
{
    connection_input_apply(c, DO_FREE);
    connection_wipe(c);
    if (link_linked(&c->acting))
        list_remove(&c->acting);
    slots_give(&e->connection_slots, c->index);
}

void connection_wipe(connection *c)
{
    lane_cipher_wipe(&c->send);
    lane_cipher_wipe(&c->receive);
}

void connection_act(engine *e, connection *c)
{
    if (!link_linked(&c->acting))
        list_push_back(&e->acting, &c->acting);
}

/* ---- a session's chain of a class, newest first ---- */

void connection_chain(session *s, connection *c)
{
    c->older = s->lanes[c->lane_class];
    s->lanes[c->lane_class] = c->id;
}

static void unchain(engine *e, session *s, connection *c)
{
    uint32_t *at = &s->lanes[c->lane_class];
    while (*at != 0 && *at != c->id) {
        connection *next = lane_by_id(e, *at);
        ENSURE(next != NULL);
        at = &next->older;
    }
    ENSURE(*at == c->id);
    *at = c->older;
    c->older = 0;
}

connection *lane_by_number(const engine *e, const session *s, uint32_t lane)
{
    if (lane == 0 || lane % LANE_STEP >= LANE_CLASSES)
        return NULL;
    connection *c = lane_by_id(e, s->lanes[lane % LANE_STEP]);
    while (c != NULL && c->lane != lane)
        c = lane_by_id(e, c->older);
    return c;
}

connection *lane_usable(const engine *e, const session *s, uint8_t lane_class)
{
    uint8_t up = lane_class == 0 ? CONNECTION_PACKETS : CONNECTION_BULK;
    connection *c = lane_by_id(e, s->lanes[lane_class]);
    while (c != NULL && (c->state != up || c->bad))
        c = lane_by_id(e, c->older);
    return c;
}

connection *lane_zero(const engine *e, const session *s)
{
    return lane_usable(e, s, 0);
}

/* ---- strangers (M4) ---- */

void connection_leave_strangers(engine *e, connection *c)
{
    if (!link_linked(&c->at))
        return;
    list_remove(&c->at);
    e->stranger_count--;
}

uint32_t lane_accept(engine *e, uint64_t now, const address *local, const address *remote)
{
    if (!e->config.tcp || e->closed)
        return 0;
    list_link *oldest = list_first(&e->strangers);
    if (oldest != NULL && e->stranger_count >= e->config.strangers) {
        e->counters.dropped[DROP_STRANGER_LIMIT]++;
        lane_drop(e, now, CONTAINER_OF(oldest, connection, at));
    }
    connection *c = connection_new(e, now, DO_ACCEPT);
    if (c == NULL)
        return 0;
    c->given = true;
    c->local = *local;
    c->remote = *remote;
    list_push_back(&e->strangers, &c->at);
    e->stranger_count++;
    timer_arm(&e->timers, &c->timer, time_after(now, e->config.stranger_life));
    return c->id;
}

void lane_witness(engine *e, uint32_t id, uint64_t witness)
{
    connection *c = lane_by_id(e, id);
    if (c != NULL)
        c->witness = witness;
}

/* ---- parting ---- */

/* T8: a lane over which nothing moved though something should have. Small things that moved on it
 * before say nothing: they pass where full segments die. */
static bool stalled(const session *s, const connection *c, uint8_t was)
{
    if (c->counted)
        return false;
    if (c->stuck)
        return !c->full;
    if (c->full || (c->progressed && was == CONNECTION_PACKETS))
        return false;
    if (was == CONNECTION_PACKETS)
        return c->used;
    list_link *at = list_first(&s->transfers);
    for (; at != NULL; at = list_next(&s->transfers, at)) {
        const transfer *t = CONTAINER_OF(at, transfer, at);
        if (t->lane == c->lane && t->state != SEND_LEAVING && t->state != RECEIVE_LEAVING)
            return true;
    }
    return c->used && !c->progressed;
}

void connection_stalled(engine *e, session *s, connection *c)
{
    c->counted = true;
    s->lanes_stalled++;
    if (s->lanes_stalled == 2)
        s->segment_size = SMALL_SEGMENTS;
    if (s->lanes_stalled >= 4)
        s->segment_size = LANE_SMALL;
    e->counters.dropped[DROP_LANE]++;
}

static void move_transfers(engine *e, uint64_t now, session *s, uint32_t lane)
{
    list_link *at = list_first(&s->transfers);
    for (; at != NULL; at = list_next(&s->transfers, at)) {
        transfer *t = CONTAINER_OF(at, transfer, at);
        if (t->lane == lane && transfer_sending(t))
            transfer_lane_lost(e, now, t);
    }
}

/* What the end of this connection means for its session. */
static void tell_session(engine *e, uint64_t now, session *s, connection *c, uint8_t was,
                         bool by_peer)
{
    if (was == CONNECTION_OPENING || was == CONNECTION_GREETING) {
        connection_attempt_failed(e, now, s, c->began);
        return;
    }
    if (was != CONNECTION_PACKETS && was != CONNECTION_BULK)
        return;
    e->counters.lanes_dropped++;
    trace_add(&e->trace, now, TRACE_LANE_DOWN, s->index)->detail = c->lane;
    if (stalled(s, c, was)) {
        connection_stalled(e, s, c);
        s->lane_next_attempt =
            time_after(now, NS_PER_MS << (s->lanes_stalled < 9 ? s->lanes_stalled : 9));
    }
    if (was == CONNECTION_BULK)
        move_transfers(e, now, s, c->lane);
    else if (by_peer && !c->parked && !s->parked_by_peer)
        pulse_hint(e, now, s, false); /* L6 */
}

static void forget_answer(engine *e, connection *c)
{
    if (c->answer != NULL)
        cells_give(&e->cells, c->answer);
    c->answer = NULL;
    c->second_due = false;
}

static void strip(engine *e, connection *c)
{
    connection_leave_strangers(e, c);
    timer_disarm(&e->timers, &c->timer);
    list_link *at;
    while ((at = list_first(&c->turns)) != NULL)
        list_remove(at);
    if (c->record != NULL)
        cells_give(&e->cells, c->record);
    c->record = NULL;
    forget_answer(e, c);
    c->open_due = c->bulk_due = c->read_due = false;
    c->hello_due = c->welcome_due = c->first_due = false;
    session *s = c->session != NULL ? c->session : c->dial;
    if (s != NULL)
        unchain(e, s, c);
    c->session = c->dial = NULL;
}

/* The connection is over; shut: we end it. tell: somebody is there who should know. */
static void part(engine *e, uint64_t now, connection *c, connection_input input, bool tell)
{
    session *s = c->session;
    uint8_t was = c->state;
    connection_input_apply(c, input);
    strip(e, c);
    c->shut_due = input == DO_DROP && c->given;
    if (c->shut_due)
        connection_act(e, c);
    if (tell && s != NULL && session_live(s))
        tell_session(e, now, s, c, was, input == HEARD_END);
    if (!c->given)
        connection_free(e, c); /* the loop never heard of it */
}

void lane_drop(engine *e, uint64_t now, connection *c)
{
    if (c->state != CONNECTION_FREE && c->state != CONNECTION_CLOSING)
        part(e, now, c, DO_DROP, true);
}

/* The connection has been parted from its session: this is the last that goes over it. */
static void last_word(engine *e, uint64_t now, session *s, connection *c)
{
    frame f = {.type = FRAME_CLOSE, .status = s->reason};
    c->answer = cells_take(&e->cells, PACKET_BUDGET);
    size_t size = c->answer == NULL ? 0 : outbox_single(e, now, s, &f, c->answer);
    c->answer_size = (uint16_t)size;
    c->second_due = size > 0;
    if (size == 0)
        forget_answer(e, c);
}

void lane_session_ended(engine *e, uint64_t now, session *s, bool say)
{
    bool over_lane0 = s->route.mode == PATH_LANE0 || !e->config.udp;
    connection *last = say && over_lane0 && lane_can_put(e, s) ? lane_zero(e, s) : NULL;
    for (uint8_t k = 0; k < LANE_CLASSES; k++) {
        connection *c;
        while ((c = lane_by_id(e, s->lanes[k])) != NULL)
            part(e, now, c, DO_DROP, false);
    }
    if (last != NULL)
        last_word(e, now, s, last);
}

/* ---- news ---- */

static void opened(engine *e, uint64_t now, connection *c)
{
    if (c->state != CONNECTION_OPENING)
        return;
    bool dial = c->dial != NULL;
    connection_input_apply(c, dial ? HEARD_OPENED_DIAL : HEARD_OPENED_LANE);
    if (dial)
        dial_accepted(now, c->dial);
    c->first_due = dial;
    c->hello_due = !dial;
    connection_act(e, c);
    /* A dial has time to ask twice, and what swallows that is lost: it opens another (M2). A lane
     * must be welcomed (M4). */
    uint64_t patience = dial ? e->config.lane_progress : e->config.lane_welcome;
    timer_arm(&e->timers, &c->timer, time_after(now, patience));
}

void lane_news(engine *e, uint64_t now, uint32_t id, connection_news news)
{
    connection *c = lane_by_id(e, id);
    if (c == NULL)
        return;
    if (news == CONNECTION_OPENED) {
        opened(e, now, c);
        return;
    }
    session *dial = c->dial;
    if (c->state != CONNECTION_CLOSING)
        part(e, now, c, HEARD_END, true);
    c->shut_due = false; /* the loop closes what has ended by itself */
    forget_answer(e, c);
    if (news == CONNECTION_REFUSED && dial != NULL)
        dial_refused(dial);
    if (news == CONNECTION_GONE)
        connection_free(e, c);
}

/* ---- time ---- */

/* M1: the dialler closes what a parked session has not used for 60 s. Lane 0 that is the only way
 * stays. */
static void park(engine *e, uint64_t now, connection *c)
{
    session *s = c->session;
    uint64_t look = e->config.lane0_park / 4;
    bool needed = s->pulse.watched || (c->lane_class == 0 && s->route.mode == PATH_LANE0);
    if (needed)
        c->parked_at = 0;
    else if (c->parked_at == 0)
        c->parked_at = now;
    else if (now - c->parked_at >= e->config.lane0_park) {
        c->parked = true;
        if (c->lane_class == 0)
            outbox_control(e, s, CONTROL_PARK);
        look = PARK_ANNOUNCED; /* bulk lanes wait as long, though their end means nothing */
    }
    timer_arm(&e->timers, &c->timer, time_after(now, look));
}

void lane_expired(engine *e, uint64_t now, connection *c)
{
    switch ((connection_state)c->state) {
    case CONNECTION_PACKETS:
    case CONNECTION_BULK:
        if (c->hold_due != 0) {
            connection_hold_over(e, now, c);
            return;
        }
        if (!c->parked) {
            park(e, now, c);
            return;
        }
        break;
    case CONNECTION_STRANGER:
    case CONNECTION_HANDSHAKING: e->counters.dropped[DROP_STRANGER_SLOW] += !c->ours; break;
    case CONNECTION_OPENING:
    case CONNECTION_GREETING: break;
    case CONNECTION_FREE:
    case CONNECTION_CLOSING:
    case CONNECTION_STATES: return;
    }
    lane_drop(e, now, c);
}
