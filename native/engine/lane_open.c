/* lane_open.c - how a connection becomes a lane: wanted, opened or asked for, greeted, welcomed. */
#include "engine/lane.h"
#include "engine/outbox.h"
#include "engine/route.h"
#include "engine/state.h"

#define RETRY         (NS_PER_S / 2) /* between the first attempts (M5) */
#define FAILING_LEAST 3u             /* attempts that failed ... */
#define FAILING_FOR   (3 * NS_PER_S) /* ... over so long: there is no TCP to that peer (M5) */
#define ASK_LASTS     NS_PER_S       /* the dialler needs so long for two attempts */
#define ASKED_AGAIN   NS_PER_S /* an ASK about a lane at least so old means that it is no good */
#define FIRST_SEGMENT 65536u   /* bytes, before the lane's rate is known */

static const uint32_t asks[LANE_CLASSES] = {CONTROL_ASK_0, CONTROL_ASK_1, CONTROL_ASK_2};

/* ---- M5 ---- */

static bool failing(uint64_t now, const session *s)
{
    return s->lane_failures >= FAILING_LEAST && now - s->lane_failing_since >= FAILING_FOR;
}

void connection_attempt_failed(engine *e, uint64_t now, session *s, uint64_t began)
{
    if (s->lane_failures == 0)
        s->lane_failing_since = began;
    s->lane_failures++;
    s->lane_next_attempt =
        failing(now, s) ? time_after(began, e->config.lane_retry) : time_after(now, RETRY);
}

/* ---- wanting ---- */

/* A connection of the class that is up or on its way, whichever is newest. */
static connection *coming(engine *e, const session *s, uint8_t lane_class)
{
    connection *c = lane_by_id(e, s->lanes[lane_class]);
    while (c != NULL && c->bad)
        c = lane_by_id(e, c->older);
    return c;
}

bool lane_unavailable(engine *e, uint64_t now, session *s)
{
    if (!e->config.tcp)
        return true;
    for (uint8_t k = 0; k < LANE_CLASSES; k++)
        if (lane_usable(e, s, k) != NULL)
            return false;
    lane_want(e, now, s, 1);
    return failing(now, s);
}

/* May an attempt begin now? M5: while one is under way, to either address, the verdict is open, and
 * big messages wait for it. */
static bool may_try(const engine *e, uint64_t now, session *s)
{
    if (now < s->lane_next_attempt)
        return false;
    if (failing(now, s))
        s->lane_failures = FAILING_LEAST - 2;
    else if (now - s->lane_next_attempt > e->config.lane_retry)
        s->lane_failures = 0; /* so long ago that they say nothing of today */
    return true;
}

/* M3: the acceptor cannot dial through the other's NAT. An ASK in vain counts as an attempt. */
static void ask(engine *e, uint64_t now, session *s, uint8_t lane_class)
{
    uint64_t *asked = &s->asked_lane[lane_class];
    if (*asked != 0 && now - *asked < ASK_LASTS)
        return;
    if (*asked != 0)
        connection_attempt_failed(e, now, s, *asked);
    *asked = 0;
    if (!may_try(e, now, s))
        return;
    *asked = now;
    outbox_control(e, s, asks[lane_class]);
}

/* Its name in the session, and its share of the keys (M4). */
static void number(engine *e, session *s, connection *c)
{
    random_bytes(&e->random, c->nonce_ours, sizeof c->nonce_ours);
    c->lane = s->next_lane + c->lane_class;
    s->next_lane += LANE_STEP;
}

/* T8, before anything dies of it: lane 0 carries nothing that is worth full segments, and where
 * large packets are swallowed full segments will be. */
static uint16_t segments(const session *s, uint8_t lane_class)
{
    bool small = lane_class == 0 || s->route.narrow || s->asked_small;
    return small ? LANE_SMALL : s->segment_size;
}

static connection *open_to(engine *e, uint64_t now, session *s, const address *remote,
                           uint8_t lane_class)
{
    connection *c = connection_new(e, now, DO_OPEN);
    if (c == NULL)
        return NULL;
    c->ours = true;
    c->open_due = true;
    c->remote = *remote;
    c->lane_class = lane_class;
    c->segment_size = segments(s, lane_class);
    connection_chain(s, c);
    connection_act(e, c);
    trace_add(&e->trace, now, TRACE_LANE_OPEN, s->index)->detail = lane_class;
    timer_arm(&e->timers, &c->timer, time_after(now, e->config.lane_welcome));
    return c;
}

/* Where the peer listens. What we dialled is known to work (M3); where packets come from since (S8)
 * is the last thing tried. */
static address listens_at(const session *s)
{
    address remote = s->route.now.remote;
    if (s->theirs_port != 0)
        remote.port = s->theirs_port;
    return s->lane_failures == FAILING_LEAST - 1 ? remote : s->dialled;
}

/* Packets went over lane 0 and stay unanswered, probes too: maybe it is the lane that is dead (T7,
 * T8). Another is opened beside it, and meanwhile packets try UDP. That packets come by it says
 * nothing: a connection may be dead in one direction. */
static void doubt_zero(engine *e, uint64_t now, session *s)
{
    connection *c = lane_zero(e, s);
    if (c != NULL && s->pulse.unanswered >= 2 &&
        route_lane0_waits(s, now) >= e->config.lane_progress)
        c->bad = true;
}

void lane_want(engine *e, uint64_t now, session *s, uint8_t lane_class)
{
    ENSURE(lane_class < LANE_CLASSES);
    if (!e->config.tcp || !session_live(s))
        return;
    if (lane_class == 0)
        doubt_zero(e, now, s);
    if (coming(e, s, lane_class) != NULL)
        return;
    if (!s->dialler) {
        ask(e, now, s, lane_class);
        return;
    }
    if (!may_try(e, now, s))
        return;
    address remote = listens_at(s);
    connection *c = open_to(e, now, s, &remote, lane_class);
    if (c == NULL) {
        s->lane_next_attempt = time_after(now, RETRY);
        return;
    }
    c->session = s;
    number(e, s, c);
}

static void replace(engine *e, uint64_t now, connection *c)
{
    if (!c->bad) {
        c->bad = true;
        trace_add(&e->trace, now, TRACE_LANE_DOWN, c->session->index)->detail = c->lane;
    }
    lane_want(e, now, c->session, c->lane_class);
}

/* T8: counted before another is opened, which is to have smaller segments already. Lane 0 has. */
void lane_suspect(engine *e, uint64_t now, connection *c)
{
    if (c->lane_class != 0 && !c->counted)
        connection_stalled(e, c->session, c);
    replace(e, now, c);
}

void lane_narrow(engine *e, uint64_t now, session *s)
{
    for (uint8_t k = 1; k < LANE_CLASSES; k++) {
        connection *c = coming(e, s, k);
        if (c == NULL || c->segment_size == LANE_SMALL)
            continue;
        if (s->dialler)
            replace(e, now, c);
        else
            outbox_control(e, s, asks[k]);
    }
}

void lane_zero_silent(engine *e, uint64_t now, session *s)
{
    connection *c = lane_zero(e, s);
    if (c == NULL)
        return;
    c->stuck = true;
    lane_suspect(e, now, c);
}

/* The acceptor asks although a lane is up here: it has lost it, or finds it bad (T7). */
applied lane_got_ask(engine *e, uint64_t now, session *s, const frame *f)
{
    uint8_t lane_class = f->lane_class & (LANE_ASK_SMALL - 1);
    if (lane_class >= LANE_CLASSES || !s->dialler)
        return VIOLATION;
    s->asked_small = (f->lane_class & LANE_ASK_SMALL) != 0;
    connection *c = lane_usable(e, s, lane_class);
    bool large = c != NULL && s->asked_small && c->segment_size != LANE_SMALL;
    if (c != NULL && (large || now - c->began >= ASKED_AGAIN)) {
        c->stuck = true;
        lane_suspect(e, now, c);
    } else {
        lane_want(e, now, s, lane_class);
    }
    return APPLIED;
}

applied lane_got_gone(engine *e, uint64_t now, session *s, const frame *f)
{
    connection *c = lane_by_number(e, s, f->lane);
    if (c != NULL)
        lane_drop(e, now, c);
    return APPLIED;
}

applied lane_got_park(engine *e, uint64_t now, session *s, const frame *f)
{
    (void)e;
    (void)now;
    (void)f;
    s->parked_by_peer = true;
    return APPLIED;
}

/* ---- a dial over TCP (M2) ---- */

void lane_dial(engine *e, uint64_t now, session *s, const address *remote)
{
    if (!e->config.tcp)
        return;
    connection *c = lane_by_id(e, s->lanes[0]);
    if (c == NULL) {
        c = open_to(e, now, s, remote, 0);
        if (c != NULL)
            c->dial = s;
    } else if (c->state == CONNECTION_HANDSHAKING) {
        c->first_due = true;
        connection_act(e, c);
    }
}

void lane_adopt(engine *e, uint64_t now, uint32_t connection_id, session *s)
{
    connection *c = lane_by_id(e, connection_id != 0 ? connection_id : s->lanes[0]);
    if (c == NULL || c->dial != s)
        return;
    c->dial = NULL;
    c->session = s;
    c->first_due = false;
    number(e, s, c);
    bool opened = c->state == CONNECTION_HANDSHAKING;
    connection_input_apply(c, DO_ADOPT);
    if (!opened)
        return;
    c->hello_due = true;
    connection_act(e, c);
    timer_arm(&e->timers, &c->timer, time_after(now, e->config.lane_welcome));
}

void lane_answer(engine *e, uint64_t now, uint32_t connection_id, const uint8_t *bytes, size_t size)
{
    (void)now;
    connection *c = lane_by_id(e, connection_id);
    if (c == NULL || c->ours ||
        (c->state != CONNECTION_STRANGER && c->state != CONNECTION_HANDSHAKING))
        return;
    ENSURE(size <= PACKET_BUDGET);
    if (c->answer == NULL)
        c->answer = cells_take(&e->cells, PACKET_BUDGET);
    if (c->answer == NULL) {
        e->counters.dropped[DROP_NO_ROOM]++;
        return;
    }
    memcpy(c->answer, bytes, size);
    c->answer_size = (uint16_t)size;
    c->second_due = true;
    connection_input_apply(c, HEARD_FIRST);
    connection_act(e, c);
}

/* ---- established (M4) ---- */

static uint8_t *witness_in(uint8_t nonce[SEGMENT_NONCE])
{
    return nonce + SEGMENT_NONCE - sizeof(uint64_t);
}

static bool may_be_direct(const connection *c)
{
    return c->witness != 0 && c->session->cipher == CIPHER_PLAIN;
}

void connection_show_witness(connection *c)
{
    if (may_be_direct(c))
        store_u64(witness_in(c->nonce_ours), c->witness);
}

/* K11: each has shown the other what it was told, and both see whether it is the same. A nonce
 * without a witness is random there. */
static bool is_direct(connection *c)
{
    return may_be_direct(c) && load_u64(witness_in(c->nonce_theirs)) == c->witness;
}

static void start_ciphers(engine *e, connection *c)
{
    const session *s = c->session;
    const uint8_t *dialler = s->dialler ? c->nonce_ours : c->nonce_theirs;
    const uint8_t *acceptor = s->dialler ? c->nonce_theirs : c->nonce_ours;
    lane_cipher_start(&c->send, (cipher)s->cipher, s->lane_secret, c->lane, dialler, acceptor,
                      s->dialler);
    lane_cipher_start(&c->receive, (cipher)s->cipher, s->lane_secret, c->lane, dialler, acceptor,
                      !s->dialler);
    c->send.direct = c->receive.direct = is_direct(c);
    e->counters.lanes_direct += c->send.direct;
}

/* T7: those before it in its class were bad, or are not known to be over yet. */
static void drop_older(engine *e, uint64_t now, connection *c)
{
    connection *old;
    while ((old = lane_by_id(e, c->older)) != NULL)
        lane_drop(e, now, old);
}

static void give_work(engine *e, uint64_t now, session *s, uint8_t lane_class)
{
    list_link *at = list_first(&s->transfers);
    for (; at != NULL; at = list_next(&s->transfers, at)) {
        transfer *t = CONTAINER_OF(at, transfer, at);
        if (t->lane_class == lane_class && t->lane == 0 && transfer_sending(t))
            transfer_assign(e, now, t);
    }
}

static void established(engine *e, uint64_t now, connection *c)
{
    session *s = c->session;
    uint32_t first = FIRST_SEGMENT;
    c->began = c->progress_at = now;
    c->segment_bytes = first < e->config.segment_max ? first : e->config.segment_max;
    s->lane_failures = 0;
    s->lane_next_attempt = 0;
    s->asked_lane[c->lane_class] = 0;
    e->counters.lanes_opened++;
    trace_add(&e->trace, now, TRACE_LANE_UP, s->index)->detail = c->lane;
    /* Only the dialler parks; the other waits for the announced end. */
    timer_arm(&e->timers, &c->timer,
              s->dialler ? time_after(now, e->config.lane0_park / 4) : TIME_NEVER);
    if (c->lane_class == 0) {
        s->parked_by_peer = false;
        route_lane0_new(s);
        outbox_wake(e, s);
    } else {
        start_ciphers(e, c);
    }
    drop_older(e, now, c);
    credit_promise(e, s);
    if (c->lane_class != 0)
        give_work(e, now, s, c->lane_class);
}

applied lane_got_hello(engine *e, uint64_t now, session *s, uint32_t connection_id, const frame *f)
{
    connection *c = lane_by_id(e, connection_id);
    uint32_t lane_class = f->lane % LANE_STEP;
    if (c == NULL || c->ours || s->dialler || lane_class >= LANE_CLASSES || f->lane < LANE_STEP)
        return VIOLATION;
    if (c->state != CONNECTION_STRANGER && c->state != CONNECTION_HANDSHAKING)
        return VIOLATION;
    connection *newest = lane_by_id(e, s->lanes[lane_class]);
    if (newest != NULL && newest->lane >= f->lane) {
        lane_drop(e, now, c); /* overtaken: the dialler has given this one up */
        return APPLIED;
    }
    connection_leave_strangers(e, c);
    c->session = s;
    c->lane = f->lane;
    c->lane_class = (uint8_t)lane_class;
    connection_chain(s, c);
    memcpy(c->nonce_theirs, f->nonce, sizeof c->nonce_theirs);
    random_bytes(&e->random, c->nonce_ours, sizeof c->nonce_ours);
    connection_show_witness(c);
    connection_input_apply(c, lane_class == 0 ? HEARD_HELLO_ZERO : HEARD_HELLO_BULK);
    c->welcome_due = true; /* BULK follows once it is PUT */
    connection_act(e, c);
    established(e, now, c);
    return APPLIED;
}

applied lane_got_welcome(engine *e, uint64_t now, session *s, uint32_t connection_id,
                         const frame *f)
{
    connection *c = lane_by_id(e, connection_id);
    if (c == NULL || c->state != CONNECTION_GREETING || c->session != s || c->lane != f->lane ||
        c->hello_due)
        return VIOLATION;
    memcpy(c->nonce_theirs, f->nonce, sizeof c->nonce_theirs);
    connection_input_apply(c, c->lane_class == 0 ? HEARD_WELCOME_ZERO : HEARD_WELCOME_BULK);
    c->bulk_due = c->lane_class != 0;
    connection_act(e, c);
    established(e, now, c);
    return APPLIED;
}
