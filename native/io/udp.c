/* udp.c - one datagram socket, in batches. */
#define _GNU_SOURCE
#include "io/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <unistd.h>

#include "base/ensure.h"

enum { SEND_TRIES = 64 }; /* errors of others met in one flush before the rest waits */

/* P10: never fragments, and never believes the kernel's idea of the path's size. To be told the
 * local address of each datagram costs the kernel a look at its routes. */
static bool udp_options(const udp *u)
{
    int fd = u->fd;
    bool ok = true;
    if (!socket_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER))
        socket_set(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER);
    if (!socket_set(fd, SOL_SOCKET, SO_SNDBUFFORCE, UDP_BUFFER))
        socket_set(fd, SOL_SOCKET, SO_SNDBUF, UDP_BUFFER);
    socket_set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    if (u->family == 6) {
        ok = !u->wildcard || socket_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        socket_set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
        socket_set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    } else {
        ok = !u->wildcard || socket_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
    /* An IPv6 socket carries IPv4 too, and has the options of both. */
    socket_set(fd, IPPROTO_IP, IP_RECVERR, 1);
    socket_set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    return ok;
}

static void udp_prepare(udp *u)
{
    for (size_t i = 0; i < UDP_BATCH; i++) {
        u->in.parts[i] = (struct iovec){u->in.bytes[i], UDP_SLOT};
        u->in.headers[i].msg_hdr = (struct msghdr){.msg_name = &u->in.names[i],
                                                   .msg_namelen = sizeof u->in.names[i],
                                                   .msg_iov = &u->in.parts[i],
                                                   .msg_iovlen = 1,
                                                   .msg_control = u->in.control[i],
                                                   .msg_controllen = UDP_CONTROL};
        u->out.headers[i].msg_hdr = (struct msghdr){
            .msg_name = &u->out.names[i], .msg_iov = &u->out.parts[i], .msg_iovlen = 1};
    }
}

int udp_open(udp *u, const address *listen, const char **what)
{
    u->family = listen->family;
    u->wildcard = address_is_wildcard(listen);
    u->fd =
        socket(u->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *what = "socket";
    if (u->fd < 0)
        return errno;
    *what = "setsockopt";
    if (u->family == 6)
        socket_set(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, !u->wildcard);
    if (!udp_options(u))
        return errno;
    socket_address name;
    socklen_t size = socket_address_of(listen, u->family, &name);
    *what = "bind";
    if (bind(u->fd, &name.any, size) != 0)
        return errno;
    *what = "getsockname";
    if (getsockname(u->fd, &name.any, &size) != 0)
        return errno;
    u->local = address_of_socket(&name);
    udp_prepare(u);
    return 0;
}

void udp_close(udp *u)
{
    if (u->fd >= 0)
        close(u->fd);
    u->fd = -1;
}

/* The kernel counts to 2^32 and begins again. */
static void udp_note_drops(udp *u, uint32_t drops)
{
    u->drops += (uint32_t)(drops - (uint32_t)u->drops);
}

static void udp_read_control(udp *u, struct msghdr *header, address *local)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            *local = (address){.family = 4, .port = u->local.port};
            memcpy(local->ip, &info.ipi_addr, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            *local = address_of_in6(&info.ipi6_addr, u->local.port, info.ipi6_ifindex);
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t drops;
            memcpy(&drops, CMSG_DATA(c), sizeof drops);
            udp_note_drops(u, drops);
        }
    }
}

size_t udp_receive(udp *u)
{
    int count = recvmmsg(u->fd, u->in.headers, UDP_BATCH, MSG_DONTWAIT, NULL);
    if (count < 0) {
        /* Either the news of somebody's ICMP, told once, or an empty socket. Also then the error
         * queue is looked at now and then: anything in it keeps the descriptor readable. */
        bool told = errno != EAGAIN && errno != EINTR;
        if (!told && ++u->empty % UDP_LOOK_EVERY != 0)
            return 0;
        if (!udp_drain_errors(u) && !told)
            return 0;
        count = recvmmsg(u->fd, u->in.headers, UDP_BATCH, MSG_DONTWAIT, NULL);
    }
    for (int i = 0; i < count; i++) {
        struct mmsghdr *m = &u->in.headers[i];
        datagram *d = &u->datagrams[i];
        d->bytes = u->in.bytes[i];
        d->size = m->msg_len; /* cut at UDP_SLOT, over the budget: no packet, for the engine */
        d->remote = address_of_socket(&u->in.names[i]);
        d->local = u->wildcard ? (address){0} : u->local;
        udp_read_control(u, &m->msg_hdr, &d->local);
        m->msg_hdr.msg_namelen = sizeof u->in.names[i];
        m->msg_hdr.msg_controllen = UDP_CONTROL;
    }
    return count < 0 ? 0 : (size_t)count;
}

uint8_t *udp_slot(udp *u)
{
    return u->out_count < UDP_BATCH ? u->out.bytes[u->out_count] : NULL;
}

static void udp_report(udp *u, const address *remote, send_fault fault)
{
    if (u->fault_count < UDP_FAULTS)
        u->faults[u->fault_count++] = (udp_fault){*remote, fault};
}

/* S9. The interface is left to the route, except where only it makes the address unique. */
static size_t udp_write_control(const udp *u, const address *local, uint8_t *out)
{
    struct msghdr header = {.msg_control = out, .msg_controllen = UDP_CONTROL};
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    memset(out, 0, UDP_CONTROL);
    if (u->family == 4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, local->ip, 4);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        return CMSG_SPACE(sizeof info);
    }
    socket_address name;
    socket_address_of(local, 6, &name);
    struct in6_pktinfo info = {.ipi6_addr = name.v6.sin6_addr, .ipi6_ifindex = local->scope};
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(c), &info, sizeof info);
    return CMSG_SPACE(sizeof info);
}

void udp_push(udp *u, const address *local, const address *remote, const uint8_t *bytes,
              size_t size)
{
    ENSURE(u->out_count < UDP_BATCH);
    uint32_t i = u->out_count;
    struct msghdr *header = &u->out.headers[i].msg_hdr;
    header->msg_namelen = socket_address_of(remote, u->family, &u->out.names[i]);
    if (header->msg_namelen == 0) {
        udp_report(u, remote, SEND_UNREACHABLE);
        return;
    }
    u->out.parts[i] = (struct iovec){(void *)(uintptr_t)bytes, size};
    header->msg_control = NULL;
    header->msg_controllen = 0;
    if (u->wildcard && local->family != 0 && !address_is_wildcard(local)) {
        header->msg_control = u->out.control[i];
        header->msg_controllen = udp_write_control(u, local, u->out.control[i]);
    }
    u->out_count++;
}

static send_fault udp_fault_of(int error)
{
    switch (error) {
    case EMSGSIZE: return SEND_TOO_BIG;
    case ECONNREFUSED: return SEND_REFUSED;
    default: return SEND_UNREACHABLE;
    }
}

/* The first packet that waits was not taken. False: the socket is full. */
static bool udp_overcome(udp *u, int error)
{
    if (error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM)
        return false;
    bool others = udp_drain_errors(u);
    if (others && error != EMSGSIZE)
        return true; /* told about somebody else's: the same packet once more (P11) */
    if (error == ECONNREFUSED)
        return true; /* the same, and its entry in the queue had gone by itself */
    address remote = address_of_socket(&u->out.names[u->out_first]);
    udp_report(u, &remote, udp_fault_of(error));
    u->out_first++;
    return true;
}

/* As sendmmsg does; a single packet takes the call that costs least. */
static int udp_send(const udp *u, struct mmsghdr *first, unsigned count)
{
    const struct msghdr *h = &first->msg_hdr;
    if (count > 1 || h->msg_controllen > 0)
        return sendmmsg(u->fd, first, count, MSG_DONTWAIT);
    ssize_t sent = sendto(u->fd, h->msg_iov->iov_base, h->msg_iov->iov_len, MSG_DONTWAIT,
                          h->msg_name, h->msg_namelen);
    return sent < 0 ? -1 : 1;
}

bool udp_flush(udp *u)
{
    u->full = false;
    for (int tries = 0; u->out_first < u->out_count && tries < SEND_TRIES; tries++) {
        unsigned waiting = u->out_count - u->out_first;
        int sent = udp_send(u, &u->out.headers[u->out_first], waiting);
        if (sent < 0) {
            if (!udp_overcome(u, errno))
                break;
        } else {
            u->out_first += (uint32_t)sent;
            if ((unsigned)sent < waiting)
                udp_drain_errors(u); /* a full socket says so at the next try */
        }
    }
    u->full = u->out_first < u->out_count;
    if (!u->full)
        u->out_first = u->out_count = 0;
    return !u->full;
}

/* Whether the entry is about a path, not about a packet we just tried to send: those fail by
 * themselves. */
static bool udp_error_of(struct msghdr *header, int *error)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
        bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
        if (v4 || v6) {
            struct sock_extended_err e;
            memcpy(&e, CMSG_DATA(c), sizeof e);
            *error = (int)e.ee_errno;
            return e.ee_origin == SO_EE_ORIGIN_ICMP || e.ee_origin == SO_EE_ORIGIN_ICMP6;
        }
    }
    return false;
}

bool udp_drain_errors(udp *u)
{
    bool any = false;
    for (int i = 0; i < UDP_FAULTS; i++) {
        _Alignas(8) uint8_t control[512];
        uint8_t ignored[64];
        socket_address name;
        memset(&name, 0, sizeof name);
        struct iovec part = {ignored, sizeof ignored};
        struct msghdr header = {.msg_name = &name,
                                .msg_namelen = sizeof name,
                                .msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = control,
                                .msg_controllen = sizeof control};
        if (recvmsg(u->fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
        any = true;
        int error = 0;
        address remote = address_of_socket(&name);
        if (udp_error_of(&header, &error) && remote.family != 0)
            udp_report(u, &remote, udp_fault_of(error));
    }
    return any;
}
