/* tcp.c - sockets for lanes and lane 0. */
#define _GNU_SOURCE
#include "io/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"

/* Loopback has no bandwidth to guess at: the model-based default of some systems halves the rate
 * there. Measured: bbr 5.4, cubic and reno 10.3 GB/s. */
static void tcp_choose_congestion(int fd)
{
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) != 0)
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

static void tcp_tune(int fd, const address *remote, uint64_t patience)
{
    socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    socket_set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, TCP_UNSENT);
    socket_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(patience / NS_PER_MS));
    int seconds = (int)(patience / NS_PER_S);
    socket_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds < 4 ? 1 : seconds / 2);
    socket_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds < 4 ? 1 : seconds / 4);
    socket_set(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
    socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (address_is_loopback(remote))
        tcp_choose_congestion(fd);
}

static int tcp_socket(uint8_t family)
{
    int fd =
        socket(family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int tcp_give_up(int fd, int error)
{
    close(fd);
    return -error;
}

int tcp_listen(const address *listen_at, const char **what)
{
    *what = "socket";
    int fd = tcp_socket(listen_at->family);
    if (fd < 0)
        return fd;
    socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* a restarted node gets its port back at once */
    if (listen_at->family == 6)
        socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !address_is_wildcard(listen_at));
    socket_address name;
    socklen_t size = socket_address_of(listen_at, listen_at->family, &name);
    *what = "bind";
    if (bind(fd, &name.any, size) != 0)
        return tcp_give_up(fd, errno);
    *what = "listen";
    if (listen(fd, TCP_BACKLOG) != 0)
        return tcp_give_up(fd, errno);
    return fd;
}

typedef int name_of(int fd, struct sockaddr *name, socklen_t *size);

static bool tcp_end(name_of *ask, int fd, address *out)
{
    socket_address name;
    socklen_t size = sizeof name;
    memset(&name, 0, sizeof name);
    if (ask(fd, &name.any, &size) != 0)
        return false;
    *out = address_of_socket(&name);
    return true;
}

bool tcp_ends(int fd, address *local, address *remote)
{
    return tcp_end(getsockname, fd, local) && tcp_end(getpeername, fd, remote);
}

int tcp_accept(int listener, uint64_t patience, address *local, address *remote)
{
    socket_address name;
    socklen_t size = sizeof name;
    memset(&name, 0, sizeof name);
    int fd = accept4(listener, &name.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    *remote = address_of_socket(&name);
    if (!tcp_end(getsockname, fd, local))
        return tcp_give_up(fd, errno);
    tcp_tune(fd, remote, patience);
    return fd;
}

int tcp_connect(const tcp_dial *dial)
{
    socket_address name;
    if (dial->remote.family == 6 && dial->family == 4)
        return -EAFNOSUPPORT;
    int fd = tcp_socket(dial->family);
    if (fd < 0)
        return fd;
    if (dial->segment_size != 0)
        socket_set(fd, IPPROTO_TCP, TCP_MAXSEG, dial->segment_size);
    tcp_tune(fd, &dial->remote, dial->patience);
    if (dial->local.family != 0 && !address_is_wildcard(&dial->local)) {
        /* The address that UDP uses, so that both look alike to the peer; the port is free. A
         * refusal is no obstacle: the route then picks the address. */
        address from = dial->local;
        from.port = 0;
        socket_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        socklen_t from_size = socket_address_of(&from, dial->family, &name);
        if (from_size != 0 && bind(fd, &name.any, from_size) != 0)
            errno = 0;
    }
    socklen_t size = socket_address_of(&dial->remote, dial->family, &name);
    if (connect(fd, &name.any, size) != 0 && errno != EINPROGRESS)
        return tcp_give_up(fd, errno);
    return fd;
}

int tcp_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 ? errno : error;
}

void tcp_close(int fd)
{
    shutdown(fd, SHUT_RDWR);
    close(fd);
}
