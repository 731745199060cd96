/* lane_set.c - lanes that move in one place. */
#define _GNU_SOURCE
#include "io/lane_set.h"

#include <stdlib.h>

#include "base/ensure.h"

bool lane_set_open(lane_set *s, uint32_t step)
{
    list_init(&s->all);
    list_init(&s->ready);
    list_init(&s->news);
    list_init(&s->done);
    s->tools =
        (lane_tools){.step = step, .take = step, .sink = malloc(LANE_STEP), .done = &s->done};
    return s->tools.sink != NULL;
}

void lane_set_close(lane_set *s)
{
    lane_tools_free(&s->tools);
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

void lane_set_add(lane_set *s, lane *l, epoll_data_t data)
{
    struct epoll_event watch = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data = data};
    l->set = s;
    list_push_back(&s->all, &l->link);
    if (epoll_ctl(s->epfd, EPOLL_CTL_ADD, l->fd, &watch) != 0) {
        l->ended = true;
        l->how = CONNECTION_BROKE;
        lane_mark(&s->news, &l->news);
    }
    l->readable = l->writable = true;
    lane_mark(&s->ready, &l->ready);
}

void lane_set_remove(lane_set *s, lane *l)
{
    lane_unmark(&l->ready);
    lane_unmark(&l->news);
    list_remove(&l->link);
    /* A forked child may hold a copy of the descriptor, and then closing alone takes nothing out
     * of the set. */
    epoll_ctl(s->epfd, EPOLL_CTL_DEL, l->fd, NULL);
    l->set = NULL;
}

void lane_set_hear(lane_set *s, lane *l, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        l->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        l->writable = true;
    lane_mark(&s->ready, &l->ready);
}

void lane_set_give(lane_set *s, lane_command *c)
{
    lane *l = c->lane;
    if (l->ended || l->shut) {
        c->result = DONE_FAILED;
        list_push_back(&s->done, &c->link);
        return;
    }
    if (c->kind == COMMAND_READ)
        lane_give_read(l, c, &s->tools);
    else
        lane_give_write(l, c);
    lane_mark(&s->ready, &l->ready);
    if (l->ended)
        lane_mark(&s->news, &l->news);
}

void lane_set_shut(lane_set *s, lane *l)
{
    l->shut = true;
    lane_mark(&s->news, &l->news);
}

void lane_set_step(lane_set *s, uint64_t most)
{
    const lane_tools *tools = &s->tools;
    uint64_t end = tools->read + tools->wrote + most;
    list_link again;
    list_init(&again);
    for (list_link *at; (at = list_first(&s->ready)) != NULL;) {
        if (tools->read + tools->wrote >= end)
            break;
        list_remove(at);
        lane *l = CONTAINER_OF(at, lane, ready);
        if (lane_step(l, &s->tools))
            list_push_back(&again, &l->ready);
        if (l->segment_came || l->ended)
            lane_mark(&s->news, &l->news);
    }
    list_splice_back(&s->ready, &again);
}

bool lane_set_has_news(const lane_set *s)
{
    return !list_empty(&s->done) || !list_empty(&s->news);
}

bool lane_set_busy(const lane_set *s)
{
    return !list_empty(&s->ready) || lane_set_has_news(s);
}
