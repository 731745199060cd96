/* lanes.c - all lanes of one thread. */
#define _GNU_SOURCE
#include "io/lanes.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/ensure.h"
#include "io/clock.h"
#include "io/tcp.h"

static bool lanes_watch_wake(lanes *s)
{
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET};
    return s->streams.epfd >= 0 && s->wake_fd >= 0 &&
           epoll_ctl(s->streams.epfd, EPOLL_CTL_ADD, s->wake_fd, &wake) == 0;
}

bool lanes_open(lanes *s, lane_keys *keys, uint32_t lanes_most)
{
    list_init(&s->free);
    list_init(&s->inbox);
    atomic_init(&s->attention, false);
    atomic_init(&s->asleep, false);
    s->keys = keys;
    for (uint32_t i = 0; i < lanes_most; i++) {
        keys[i].next = s->free_keys;
        s->free_keys = &keys[i];
    }
    bool ok = lane_set_open(&s->quick, LANE_SHORT);
    ok &= lane_set_open(&s->streams, LANE_PIECE);
    s->quick.tools.ahead = true;
    s->commands = calloc(LANES_COMMANDS, sizeof *s->commands);
    s->streams.epfd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!ok || s->commands == NULL || !lanes_watch_wake(s))
        return false;
    for (uint32_t i = 0; i < LANES_COMMANDS; i++)
        list_push_back(&s->free, &s->commands[i].link);
    return true;
}

static void keys_give(lanes *s, lane *l)
{
    if (l->send == NULL)
        return;
    lane_keys *keys = CONTAINER_OF(l->send, lane_keys, send);
    lane_cipher_wipe(&keys->send);
    lane_cipher_wipe(&keys->receive);
    keys->next = s->free_keys;
    s->free_keys = keys;
}

static void lanes_drop(lanes *s, lane_set *set)
{
    for (list_link *at; (at = list_first(&set->all)) != NULL;) {
        lane *l = CONTAINER_OF(at, lane, link);
        list_remove(at);
        lane_fail_all(l, &set->tools);
        keys_give(s, l);
        tcp_close(l->fd);
        free(l);
    }
    lane_set_close(set);
}

void lanes_close(lanes *s)
{
    lanes_take_in(s);
    lanes_drop(s, &s->quick);
    lanes_drop(s, &s->streams);
    free(s->commands);
    if (s->streams.epfd >= 0)
        close(s->streams.epfd);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
}

/* ---- under the engine's lock ---- */

bool lanes_room(const lanes *s)
{
    return s->under_way + 2 < LANES_COMMANDS;
}

void lanes_wake(lanes *s)
{
    atomic_store(&s->attention, true);
    if (atomic_load(&s->asleep)) {
        uint64_t one = 1;
        ssize_t written = write(s->wake_fd, &one, sizeof one);
        (void)written;
    }
}

static lane_command *command_new(lanes *s, lane *l, lane_command_kind kind)
{
    list_link *at = list_first(&s->free);
    ENSURE(at != NULL);
    list_remove(at);
    s->under_way++;
    lane_command *c = CONTAINER_OF(at, lane_command, link);
    *c = (lane_command){.lane = l, .kind = kind};
    return c;
}

static void command_post(lanes *s, lane_command *c)
{
    list_push_back(&s->inbox, &c->link);
    lanes_wake(s);
}

static void command_free(lanes *s, lane_command *c)
{
    s->under_way--;
    list_push_front(&s->free, &c->link);
}

lane *lanes_join(lanes *s, const lane_start *start)
{
    lane *l = malloc(sizeof *l);
    lane_keys *keys = s->free_keys;
    if (l == NULL || keys == NULL) {
        free(l);
        return NULL;
    }
    s->free_keys = keys->next;
    lane_init(l, start->connection, start->fd);
    keys->send = *start->send;
    keys->receive = *start->receive;
    l->send = &keys->send;
    l->receive = &keys->receive;
    l->prefix = start->prefix;
    l->prefix_size = start->prefix_size;
    l->name = start->name;
    l->streams = start->streams;
    if (start->streams)
        command_post(s, command_new(s, l, COMMAND_JOIN));
    else
        lane_set_add(&s->quick, l, l->name);
    return l;
}

static void lane_becomes_stream(lanes *s, lane *l, uint64_t now)
{
    l->streamed_at = now;
    lane_set_remove(&s->quick, l);
    command_post(s, command_new(s, l, COMMAND_JOIN));
}

/* Long ones, and those for which the socket has no room at once. */
static bool is_for_thread(const lane *l, const lane_command *c)
{
    bool stuck = c->kind == COMMAND_WRITE && !l->writable;
    return !l->ended && !l->shut && (c->segment.length > LANE_SHORT || stuck);
}

/* Only what has ended a command, and so what the inbox has nothing for. */
static void lane_becomes_quick(lanes *s, lane *l)
{
    lane_set_remove(&s->streams, l);
    lane_set_add(&s->quick, l, l->name);
}

void lanes_move(lanes *s, lane *l, uint64_t now, const action *a)
{
    lane_command *c = command_new(s, l, a->kind == ACTION_WRITE ? COMMAND_WRITE : COMMAND_READ);
    c->token = a->token;
    c->memory = a->memory;
    c->segment = a->segment;
    if (l->set == &s->quick && is_for_thread(l, c))
        lane_becomes_stream(s, l, now);
    if (c->segment.length > LANE_SHORT)
        l->streamed_at = now;
    if (l->set == &s->quick)
        lane_set_give(&s->quick, c);
    else
        command_post(s, c);
}

void lanes_shut(lanes *s, lane *l)
{
    if (l->set == &s->quick)
        lane_set_shut(&s->quick, l);
    else
        command_post(s, command_new(s, l, COMMAND_SHUT));
}

void lanes_take_in(lanes *s)
{
    for (list_link *at; (at = list_first(&s->inbox)) != NULL;) {
        list_remove(at);
        lane_command *c = CONTAINER_OF(at, lane_command, link);
        lane *l = c->lane;
        switch (c->kind) {
        case COMMAND_JOIN: lane_set_add(&s->streams, l, (epoll_data_t){.ptr = l}); break;
        case COMMAND_SHUT: lane_set_shut(&s->streams, l); break;
        case COMMAND_READ:
        case COMMAND_WRITE: lane_set_give(&s->streams, c); continue;
        }
        command_free(s, c);
    }
}

bool lanes_have_news(const lanes *s)
{
    return s->called || lane_set_has_news(&s->streams);
}

static void lanes_tell_done(lanes *s, lane_set *set, engine *e, uint64_t now)
{
    for (list_link *at; (at = list_first(&set->done)) != NULL;) {
        list_remove(at);
        lane_command *c = CONTAINER_OF(at, lane_command, link);
        lane *l = c->lane;
        engine_done(e, now, c->token, c->result, 0);
        command_free(s, c);
        bool settled = !l->streams && now - l->streamed_at > LANES_SETTLED;
        if (settled && l->set == &s->streams && lane_is_quiet(l))
            lane_becomes_quick(s, l);
    }
}

static void lane_bury(lanes *s, lane *l)
{
    lane_set_remove(l->set, l);
    keys_give(s, l);
    tcp_close(l->fd);
    free(l);
}

/* Order matters: what was done, then what came, then the end, then that nothing follows. */
static void lane_set_tell(lanes *s, lane_set *set, engine *e, uint64_t now,
                          const lanes_owner *owner)
{
    lanes_tell_done(s, set, e, now);
    for (list_link *at; (at = list_first(&set->news)) != NULL;) {
        list_remove(at);
        lane *l = CONTAINER_OF(at, lane, news);
        if (l->segment_came && !l->shut)
            engine_segment(e, now, l->connection, &l->in.segment);
        l->segment_came = false;
        if (!l->ended && !l->shut)
            continue;
        lane_fail_all(l, &set->tools);
        lanes_tell_done(s, set, e, now);
        if (l->ended && !l->shut)
            engine_connection(e, now, l->connection, l->how);
        uint32_t connection = l->connection;
        owner->gone(owner->context, connection);
        lane_bury(s, l);
        engine_connection(e, now, connection, CONNECTION_GONE);
    }
}

/* ---- quick ---- */

void lanes_hear(lanes *s, lane *l, uint32_t events)
{
    if (l->set == &s->quick) /* else the event is older than its move */
        lane_set_hear(&s->quick, l, events);
}

bool lanes_quick(const lanes *s)
{
    return lane_set_busy(&s->quick);
}

uint64_t lanes_move_quick(lanes *s, engine *e, uint64_t now, uint64_t most,
                          const lanes_owner *owner)
{
    lane_tools *tools = &s->quick.tools;
    tools->read = tools->wrote = 0;
    lane_set_step(&s->quick, most);
    lane_set_tell(s, &s->quick, e, now, owner);
    return tools->read + tools->wrote;
}

/* ---- the thread, under the lock ---- */

/* A piece of 1 MiB takes a fifth less of a CPU than four of 256 KiB: fewer wake-ups of the reader,
 * fewer packets that are not full. But the CPU is not to be had meanwhile, for 0.2 ms on loopback.
 * So the large ones are for when nobody makes small calls. Who reads can take still smaller ones,
 * as it waits for who writes anyway. */
static void lanes_choose_step(lane_tools *tools, const engine *e, uint64_t now)
{
    uint64_t small = engine_small_at(e);
    bool alone = small == 0 || now - small > LANES_ALONE;
    tools->step = alone ? LANE_STEP : LANE_PIECE;
    tools->take = alone ? LANE_STEP : LANE_TAKE;
}

void lanes_tell(lanes *s, engine *e, uint64_t now, const lanes_owner *owner)
{
    lanes_choose_step(&s->streams.tools, e, now);
    lanes_take_in(s); /* nothing in the inbox may outlive the lane it is for */
    lane_set_tell(s, &s->streams, e, now, owner);
}

/* ---- the thread ---- */

/* A stream that is read faster than it is written would wake this thread for every segment, and
 * waking it costs the sender more than it costs us (measured: 10 wake-ups per 4 MiB on loopback, a
 * tenth of the sender's time). So while much comes we look again a little later instead of asking
 * to be woken. Commands wait as long, at most twice LANES_NAP with the kernel's slack. */
static void lanes_let_come(lanes *s)
{
    if (s->streams.tools.read < LANES_STREAM)
        return;
    uint64_t now = clock_now();
    bool fast = now - s->streamed_at < LANES_STREAM_TIME;
    s->streams.tools.read = 0;
    s->streamed_at = now;
    if (fast && !atomic_load(&s->attention))
        nanosleep(&(struct timespec){.tv_nsec = LANES_NAP}, NULL);
}

int lanes_wait(lanes *s, int timeout_ms, struct epoll_event *out)
{
    struct epoll_event events[LANES_EVENTS];
    if (timeout_ms != 0)
        lanes_let_come(s);
    atomic_store(&s->asleep, true);
    s->called = atomic_exchange(&s->attention, false);
    if (s->called)
        timeout_ms = 0;
    int count = epoll_wait(s->streams.epfd, events, LANES_EVENTS, timeout_ms);
    int error = errno;
    atomic_store(&s->asleep, false);
    int others = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 >= LANES_TAG_MOST)
            lane_set_hear(&s->streams, events[i].data.ptr, events[i].events);
        else if (events[i].data.u64 != 0)
            out[others++] = events[i];
    }
    return count < 0 ? -error : others;
}

void lanes_step(lanes *s)
{
    lane_set_step(&s->streams, UINT64_MAX / 2);
}

bool lanes_busy(const lanes *s)
{
    return lane_set_busy(&s->streams);
}
