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
    return s->epfd >= 0 && s->wake_fd >= 0 &&
           epoll_ctl(s->epfd, EPOLL_CTL_ADD, s->wake_fd, &wake) == 0;
}

bool lanes_open(lanes *s, lane_keys *keys, uint32_t lanes_most)
{
    list_init(&s->free);
    list_init(&s->inbox);
    list_init(&s->all);
    list_init(&s->ready);
    list_init(&s->news);
    list_init(&s->done);
    atomic_init(&s->attention, false);
    atomic_init(&s->asleep, false);
    s->keys = keys;
    for (uint32_t i = 0; i < lanes_most; i++) {
        keys[i].next = s->free_keys;
        s->free_keys = &keys[i];
    }
    s->commands = calloc(LANES_COMMANDS, sizeof *s->commands);
    s->tools = (lane_tools){.step = LANE_PIECE, .sink = malloc(LANE_STEP), .done = &s->done};
    s->epfd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->commands == NULL || s->tools.sink == NULL || !lanes_watch_wake(s))
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

void lanes_close(lanes *s)
{
    lanes_take_in(s);
    for (list_link *at; (at = list_first(&s->all)) != NULL;) {
        lane *l = CONTAINER_OF(at, lane, link);
        list_remove(at);
        lane_fail_all(l, &s->tools);
        keys_give(s, l);
        tcp_close(l->fd);
        free(l);
    }
    lane_tools_free(&s->tools);
    free(s->commands);
    if (s->epfd >= 0)
        close(s->epfd);
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

lane *lanes_join(lanes *s, uint32_t connection, int fd, const lane_cipher *send,
                 const lane_cipher *receive, uint8_t *prefix, size_t prefix_size)
{
    lane *l = malloc(sizeof *l);
    lane_keys *keys = s->free_keys;
    if (l == NULL || keys == NULL) {
        free(l);
        return NULL;
    }
    s->free_keys = keys->next;
    lane_init(l, connection, fd);
    keys->send = *send;
    keys->receive = *receive;
    l->send = &keys->send;
    l->receive = &keys->receive;
    l->prefix = prefix;
    l->prefix_size = prefix_size;
    command_post(s, command_new(s, l, COMMAND_JOIN));
    return l;
}

static void lanes_move(lanes *s, lane *l, const action *a, lane_command_kind kind)
{
    lane_command *c = command_new(s, l, kind);
    c->token = a->token;
    c->memory = a->memory;
    c->segment = a->segment;
    command_post(s, c);
}

void lanes_write(lanes *s, lane *l, const action *a)
{
    lanes_move(s, l, a, COMMAND_WRITE);
}

void lanes_read(lanes *s, lane *l, const action *a)
{
    lanes_move(s, l, a, COMMAND_READ);
}

void lanes_shut(lanes *s, lane *l)
{
    command_post(s, command_new(s, l, COMMAND_SHUT));
}

static void lane_mark(list_link *list, list_link *node)
{
    if (!link_linked(node))
        list_push_back(list, node);
}

static void lane_unmark(list_link *node)
{
    if (link_linked(node))
        list_remove(node);
}

static void lane_join(lanes *s, lane *l)
{
    struct epoll_event watch = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = l};
    list_push_back(&s->all, &l->link);
    if (epoll_ctl(s->epfd, EPOLL_CTL_ADD, l->fd, &watch) != 0) {
        l->ended = true;
        l->how = CONNECTION_BROKE;
    }
    l->readable = l->writable = true;
}

/* True: the command has done its work; false: the lane holds it until it is done. */
static bool command_obey(lanes *s, lane_command *c)
{
    lane *l = c->lane;
    bool over = l->ended || l->shut;
    switch (c->kind) {
    case COMMAND_JOIN: lane_join(s, l); return true;
    case COMMAND_SHUT: l->shut = true; return true;
    case COMMAND_READ:
    case COMMAND_WRITE: break;
    }
    if (over) {
        c->result = DONE_FAILED;
        list_push_back(&s->done, &c->link);
    } else if (c->kind == COMMAND_READ) {
        lane_give_read(l, c, &s->tools);
    } else {
        lane_give_write(l, c);
    }
    return false;
}

void lanes_take_in(lanes *s)
{
    for (list_link *at; (at = list_first(&s->inbox)) != NULL;) {
        list_remove(at);
        lane_command *c = CONTAINER_OF(at, lane_command, link);
        lane *l = c->lane;
        if (command_obey(s, c))
            command_free(s, c);
        lane_mark(l->ended || l->shut ? &s->news : &s->ready,
                  l->ended || l->shut ? &l->news : &l->ready);
    }
}

bool lanes_have_news(const lanes *s)
{
    return s->called || !list_empty(&s->done) || !list_empty(&s->news);
}

static void lanes_tell_done(lanes *s, engine *e, uint64_t now)
{
    for (list_link *at; (at = list_first(&s->done)) != NULL;) {
        list_remove(at);
        lane_command *c = CONTAINER_OF(at, lane_command, link);
        engine_done(e, now, c->token, c->result, 0);
        command_free(s, c);
    }
}

static void lane_bury(lanes *s, lane *l)
{
    lane_unmark(&l->ready);
    lane_unmark(&l->news);
    list_remove(&l->link);
    keys_give(s, l);
    /* A forked child may hold a copy of the descriptor, and then closing alone takes nothing out
     * of the set. */
    epoll_ctl(s->epfd, EPOLL_CTL_DEL, l->fd, NULL);
    tcp_close(l->fd);
    free(l);
}

/* A piece of 1 MiB takes a fifth less of a CPU than four of 256 KiB: fewer wake-ups of the reader,
 * fewer packets that are not full. But the CPU is not to be had meanwhile, for 0.2 ms on loopback.
 * So the large ones are for when nobody makes small calls. */
static uint32_t lanes_choose_step(const engine *e, uint64_t now)
{
    uint64_t small = engine_small_at(e);
    return small == 0 || now - small > LANES_ALONE ? LANE_STEP : LANE_PIECE;
}

/* Order matters: what was done, then what came, then the end, then that nothing follows. */
void lanes_tell(lanes *s, engine *e, uint64_t now, void (*gone)(void *, uint32_t), void *context)
{
    s->tools.step = lanes_choose_step(e, now);
    lanes_take_in(s); /* nothing in the inbox may outlive the lane it is for */
    lanes_tell_done(s, e, now);
    for (list_link *at; (at = list_first(&s->news)) != NULL;) {
        list_remove(at);
        lane *l = CONTAINER_OF(at, lane, news);
        if (l->segment_came && !l->shut)
            engine_segment(e, now, l->connection, &l->in.segment);
        l->segment_came = false;
        if (!l->ended && !l->shut)
            continue;
        lane_fail_all(l, &s->tools);
        lanes_tell_done(s, e, now);
        if (l->ended && !l->shut)
            engine_connection(e, now, l->connection, l->how);
        uint32_t connection = l->connection;
        gone(context, connection);
        lane_bury(s, l);
        engine_connection(e, now, connection, CONNECTION_GONE);
    }
}

/* ---- the thread ---- */

static void lane_hear(lanes *s, lane *l, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        l->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        l->writable = true;
    lane_mark(&s->ready, &l->ready);
}

/* A stream that is read faster than it is written would wake this thread for every segment, and
 * waking it costs the sender more than it costs us (measured: 10 wake-ups per 4 MiB on loopback, a
 * tenth of the sender's time). So while much comes we look again a little later instead of asking
 * to be woken. Commands wait as long, at most twice LANES_NAP with the kernel's slack. */
static void lanes_let_come(lanes *s)
{
    if (s->tools.read < LANES_STREAM)
        return;
    uint64_t now = clock_now();
    bool fast = now - s->streamed_at < LANES_STREAM_TIME;
    s->tools.read = 0;
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
    int count = epoll_wait(s->epfd, events, LANES_EVENTS, timeout_ms);
    int error = errno;
    atomic_store(&s->asleep, false);
    int others = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 >= LANES_TAG_MOST)
            lane_hear(s, events[i].data.ptr, events[i].events);
        else if (events[i].data.u64 != 0)
            out[others++] = events[i];
    }
    return count < 0 ? -error : others;
}

void lanes_step(lanes *s)
{
    list_link again;
    list_init(&again);
    for (list_link *at; (at = list_first(&s->ready)) != NULL;) {
        list_remove(at);
        lane *l = CONTAINER_OF(at, lane, ready);
        if (lane_step(l, &s->tools))
            list_push_back(&again, &l->ready);
        if (l->segment_came || l->ended)
            lane_mark(&s->news, &l->news);
    }
    list_splice_back(&s->ready, &again);
}

bool lanes_busy(const lanes *s)
{
    return !list_empty(&s->ready) || !list_empty(&s->done) || !list_empty(&s->news);
}
