/* connections.c - TCP connections in packet mode, and handing them over to lanes. */
#define _GNU_SOURCE
#include "io/connections.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/ensure.h"

enum { LOOK_EVENTS = 64, ACCEPT_MOST = 64 };

#define LISTENER_REST (100 * NS_PER_MS)

bool connections_open(connections *c, engine *e, lanes *s, int listener, uint32_t most)
{
    *c = (connections){.engine = e, .lanes = s, .listener = listener};
    list_init(&c->held);
    list_init(&c->flush);
    size_t free_size = (indices_size(most) + 15) & ~(size_t)15;
    c->table = calloc(most, sizeof *c->table);
    c->memory = malloc(free_size + map_size(most));
    c->epfd = s->quick.epfd = epoll_create1(EPOLL_CLOEXEC);
    if (c->table == NULL || c->memory == NULL || c->epfd < 0)
        return false;
    indices_init(&c->free, c->memory, most, true);
    map_init(&c->by_id, (uint8_t *)c->memory + free_size, most, 0);
    for (uint32_t i = 0; i < most; i++)
        c->table[i].fd = -1;
    struct epoll_event watch = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    return listener < 0 || epoll_ctl(c->epfd, EPOLL_CTL_ADD, listener, &watch) == 0;
}

static carrier *carrier_find(connections *c, uint32_t id)
{
    uint32_t index;
    return map_get(&c->by_id, id, &index) ? &c->table[index] : NULL;
}

static void carrier_watch(connections *c, carrier *n, uint32_t interest)
{
    if (interest == n->interest)
        return;
    struct epoll_event watch = {.events = interest, .data.u64 = (uint64_t)(n - c->table)};
    epoll_ctl(c->epfd, EPOLL_CTL_MOD, n->fd, &watch);
    n->interest = interest;
}

/* NULL: no room in the tables; the caller still owns the descriptor. */
static carrier *carrier_add(connections *c, uint32_t id, int fd, carrier_state state)
{
    uint32_t index;
    if (!indices_lowest(&c->free, &index))
        return NULL;
    carrier *n = &c->table[index];
    uint32_t interest = state == CARRIER_DIALLING ? EPOLLOUT : EPOLLIN;
    struct epoll_event watch = {.events = interest, .data.u64 = index};
    if (epoll_ctl(c->epfd, EPOLL_CTL_ADD, fd, &watch) != 0 || !map_put(&c->by_id, id, index))
        return NULL;
    indices_drop(&c->free, index);
    *n = (carrier){.id = id, .fd = fd, .state = state, .interest = interest};
    return n;
}

static void carrier_leave_set(connections *c, const carrier *n)
{
    epoll_ctl(c->epfd, EPOLL_CTL_DEL, n->fd, NULL);
}

static void carrier_leave_lists(carrier *n)
{
    if (link_linked(&n->held))
        list_remove(&n->held);
    if (link_linked(&n->flush))
        list_remove(&n->flush);
}

static void carrier_forget(connections *c, carrier *n)
{
    carrier_leave_lists(n);
    free(n->unsent);
    map_remove(&c->by_id, n->id);
    indices_add(&c->free, (uint32_t)(n - c->table));
    *n = (carrier){.fd = -1};
}

/* The connection ends; news first, if any, then that nothing follows. */
static void carrier_end(connections *c, uint64_t now, carrier *n, connection_news news)
{
    uint32_t id = n->id;
    int fd = n->fd;
    carrier_leave_set(c, n);
    carrier_forget(c, n);
    tcp_close(fd);
    if (news != CONNECTION_GONE)
        engine_connection(c->engine, now, id, news);
    engine_connection(c->engine, now, id, CONNECTION_GONE);
}

void connections_close(connections *c)
{
    for (uint32_t i = 0; c->table != NULL && i < c->free.limit; i++) {
        carrier *n = &c->table[i];
        if (n->state == CARRIER_DIALLING || n->state == CARRIER_PACKETS)
            tcp_close(n->fd);
        free(n->unsent);
    }
    free(c->table);
    free(c->memory);
    if (c->listener >= 0)
        close(c->listener);
    if (c->epfd >= 0)
        close(c->epfd);
}

/* ---- in ---- */

static void listener_watch(connections *c, uint32_t interest)
{
    struct epoll_event watch = {.events = interest, .data.u64 = UINT64_MAX};
    epoll_ctl(c->epfd, EPOLL_CTL_MOD, c->listener, &watch);
}

static void connections_witness(connections *c, uint32_t id, int fd, const address *dialler,
                                const address *acceptor)
{
    uint64_t witness = witness_of(&c->here, fd, dialler, acceptor);
    if (witness != 0)
        engine_witness(c->engine, id, witness);
}

/* M4: who is nobody so far costs a table entry and nothing else; the engine bounds them. */
static void connections_accept(connections *c, uint64_t now)
{
    for (int i = 0; i < ACCEPT_MOST; i++) {
        address local, remote;
        int fd = tcp_accept(c->listener, c->patience, &local, &remote);
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            c->paused = now + LISTENER_REST; /* it would stay readable and keep us awake */
            listener_watch(c, 0);
            return;
        }
        if (fd == -EAGAIN)
            return;
        if (fd < 0)
            continue;
        uint32_t id = engine_accept(c->engine, now, &local, &remote);
        if (id == 0) {
            close(fd);
            continue;
        }
        connections_witness(c, id, fd, &remote, &local);
        if (carrier_add(c, id, fd, CARRIER_PACKETS) == NULL) {
            close(fd);
            engine_connection(c->engine, now, id, CONNECTION_BROKE);
            engine_connection(c->engine, now, id, CONNECTION_GONE);
        }
    }
}

static connection_news news_of(int error)
{
    return error == ETIMEDOUT ? CONNECTION_TIMEOUT : CONNECTION_REFUSED;
}

static void carrier_dialled(connections *c, uint64_t now, carrier *n)
{
    int error = tcp_error(n->fd);
    if (error != 0) {
        carrier_end(c, now, n, news_of(error));
        return;
    }
    n->state = CARRIER_PACKETS;
    carrier_watch(c, n, EPOLLIN);
    address local, remote;
    if (c->here.known && tcp_ends(n->fd, &local, &remote))
        connections_witness(c, n->id, n->fd, &local, &remote);
    engine_connection(c->engine, now, n->id, CONNECTION_OPENED);
}

/* False: the connection is no more, or reading has to stop. */
static bool carrier_read_once(connections *c, uint64_t now, carrier *n)
{
    size_t room = engine_room(c->engine, n->id);
    if (room == 0) {
        if (!link_linked(&n->held))
            list_push_back(&c->held, &n->held);
        carrier_watch(c, n, n->interest & ~(uint32_t)EPOLLIN);
        return false;
    }
    size_t size = room < CONNECTION_READ ? room : CONNECTION_READ;
    ssize_t got = read(n->fd, c->bytes, size);
    if (got > 0) {
        engine_bytes(c->engine, now, n->id, c->bytes, (size_t)got);
        return (size_t)got == size;
    }
    if (got == 0)
        carrier_end(c, now, n, CONNECTION_ENDED);
    else if (errno != EAGAIN && errno != EINTR)
        carrier_end(c, now, n, CONNECTION_BROKE);
    return false;
}

static void carrier_flush(connections *c, uint64_t now, carrier *n)
{
    if (n->unsent_size == 0)
        return;
    ssize_t sent = send(n->fd, n->unsent, n->unsent_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        carrier_end(c, now, n, CONNECTION_BROKE);
        return;
    }
    if (sent > 0) {
        n->unsent_size -= (size_t)sent;
        memmove(n->unsent, n->unsent + sent, n->unsent_size);
        engine_unsent(c->engine, n->id, n->unsent_size);
    }
    uint32_t out = n->unsent_size > 0 ? EPOLLOUT : 0;
    carrier_watch(c, n, (n->interest & ~(uint32_t)EPOLLOUT) | out);
}

static void carrier_hear(connections *c, uint64_t now, carrier *n, uint32_t events)
{
    if (n->state == CARRIER_DIALLING) {
        carrier_dialled(c, now, n);
        return;
    }
    if (n->state == CARRIER_LANE)
        lanes_hear(c->lanes, n->lane, events);
    if (n->state != CARRIER_PACKETS)
        return;
    uint32_t id = n->id;
    if (events & EPOLLOUT)
        carrier_flush(c, now, n);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
        return;
    /* Held, and broken: the error would be reported again and again. */
    if ((n->interest & EPOLLIN) == 0 && n->id == id && (events & (EPOLLHUP | EPOLLERR))) {
        carrier_end(c, now, n, CONNECTION_BROKE);
        return;
    }
    for (int i = 0; i < 4 && n->id == id && n->state == CARRIER_PACKETS; i++)
        if (!carrier_read_once(c, now, n))
            return;
}

bool connections_look(connections *c, uint64_t now)
{
    if (c->paused != 0 && now >= c->paused) {
        c->paused = 0;
        listener_watch(c, EPOLLIN);
    }
    struct epoll_event events[LOOK_EVENTS];
    int count = epoll_wait(c->epfd, events, LOOK_EVENTS, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == UINT64_MAX)
            connections_accept(c, now);
        else
            carrier_hear(c, now, &c->table[events[i].data.u64], events[i].events);
    }
    return count > 0;
}

void connections_release_held(connections *c)
{
    list_link *next;
    for (list_link *at = list_first(&c->held); at != NULL; at = next) {
        next = list_next(&c->held, at);
        carrier *n = CONTAINER_OF(at, carrier, held);
        if (engine_room(c->engine, n->id) > 0) {
            list_remove(at);
            carrier_watch(c, n, n->interest | EPOLLIN);
        }
    }
}

/* ---- out ---- */

void connections_flush(connections *c, uint64_t now)
{
    for (list_link *at; (at = list_first(&c->flush)) != NULL;) {
        list_remove(at);
        carrier *n = CONTAINER_OF(at, carrier, flush);
        if (n->state == CARRIER_PACKETS)
            carrier_flush(c, now, n);
    }
}

void connections_open_to(connections *c, uint64_t now, const action *a)
{
    tcp_dial dial = {.local = a->local,
                     .remote = a->remote,
                     .family = c->family,
                     .segment_size = a->segment_size,
                     .patience = c->patience};
    int fd = tcp_connect(&dial);
    if (fd >= 0 && carrier_add(c, a->connection, fd, CARRIER_DIALLING) != NULL)
        return;
    if (fd >= 0)
        close(fd);
    engine_connection(c->engine, now, a->connection, fd >= 0 ? CONNECTION_REFUSED : news_of(-fd));
    engine_connection(c->engine, now, a->connection, CONNECTION_GONE);
}

void connections_put(connections *c, const action *a)
{
    carrier *n = carrier_find(c, a->connection);
    if (n == NULL || n->state != CARRIER_PACKETS)
        return; /* it broke while the packet was made: lost, like a datagram */
    if (n->unsent == NULL)
        n->unsent = malloc(CONNECTION_UNSENT);
    if (n->unsent == NULL)
        return;
    ENSURE(n->unsent_size + a->size <= CONNECTION_UNSENT);
    memcpy(n->unsent + n->unsent_size, a->bytes, a->size);
    n->unsent_size += a->size;
    engine_unsent(c->engine, n->id, n->unsent_size);
    if (!link_linked(&n->flush))
        list_push_back(&c->flush, &n->flush);
}

void connections_shut(connections *c, uint64_t now, uint32_t id)
{
    carrier *n = carrier_find(c, id);
    if (n == NULL)
        return; /* it ended by itself meanwhile, and the engine has been told */
    if (n->state == CARRIER_LANE) {
        lanes_shut(c->lanes, n->lane);
        return;
    }
    carrier_flush(c, now, n); /* the last packet may say why */
    n = carrier_find(c, id);
    if (n != NULL)
        carrier_end(c, now, n, CONNECTION_GONE);
}

void connections_bulk(connections *c, uint64_t now, const action *a)
{
    carrier *n = carrier_find(c, a->connection);
    if (n == NULL)
        return;
    ENSURE(n->state == CARRIER_PACKETS);
    carrier_leave_set(c, n);
    lane_start start = {.connection = n->id,
                        .fd = n->fd,
                        .streams = a->lane_class > 1,
                        .name = {.u64 = (uint64_t)(n - c->table)},
                        .send = a->send,
                        .receive = a->receive,
                        .prefix = n->unsent_size > 0 ? n->unsent : NULL,
                        .prefix_size = n->unsent_size};
    lane *l = lanes_join(c->lanes, &start);
    if (l == NULL) {
        carrier_end(c, now, n, CONNECTION_BROKE);
        return;
    }
    carrier_leave_lists(n);
    if (start.prefix == NULL)
        free(n->unsent);
    n->unsent = NULL;
    n->unsent_size = 0;
    n->lane = l;
    n->state = CARRIER_LANE;
}

void connections_move(connections *c, uint64_t now, const action *a)
{
    carrier *n = carrier_find(c, a->connection);
    if (n == NULL || n->state != CARRIER_LANE) {
        engine_done(c->engine, now, a->token, DONE_FAILED, 0);
        return;
    }
    lanes_move(c->lanes, n->lane, now, a);
}

static void connections_lane_gone(void *context, uint32_t id)
{
    connections *c = context;
    carrier *n = carrier_find(c, id);
    ENSURE(n != NULL && n->state == CARRIER_LANE);
    carrier_forget(c, n);
}

lanes_owner connections_own(connections *c)
{
    return (lanes_owner){.context = c, .gone = connections_lane_gone};
}
