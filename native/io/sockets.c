/* sockets.c - addresses in both forms. */
#include "io/sockets.h"

#include <arpa/inet.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

socklen_t socket_address_of(const address *a, uint8_t family, socket_address *out)
{
    memset(out, 0, sizeof *out);
    if (family == 4) {
        if (a->family != 4)
            return 0;
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(a->port);
        memcpy(&out->v4.sin_addr, a->ip, 4);
        return sizeof out->v4;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(a->port);
    out->v6.sin6_scope_id = a->scope;
    if (a->family == 4) {
        memcpy(out->v6.sin6_addr.s6_addr, mapped, sizeof mapped);
        memcpy(out->v6.sin6_addr.s6_addr + 12, a->ip, 4);
    } else {
        memcpy(&out->v6.sin6_addr, a->ip, 16);
    }
    return sizeof out->v6;
}

address address_of_in6(const struct in6_addr *ip, uint16_t port, uint32_t scope)
{
    address a = {.port = port};
    if (memcmp(ip->s6_addr, mapped, sizeof mapped) == 0) {
        a.family = 4;
        memcpy(a.ip, ip->s6_addr + 12, 4);
        return a;
    }
    a.family = 6;
    memcpy(a.ip, ip->s6_addr, 16);
    if (IN6_IS_ADDR_LINKLOCAL(ip))
        a.scope = scope;
    return a;
}

address address_of_socket(const socket_address *s)
{
    if (s->any.sa_family == AF_INET) {
        address a = {.port = ntohs(s->v4.sin_port), .family = 4};
        memcpy(a.ip, &s->v4.sin_addr, 4);
        return a;
    }
    if (s->any.sa_family == AF_INET6)
        return address_of_in6(&s->v6.sin6_addr, ntohs(s->v6.sin6_port), s->v6.sin6_scope_id);
    return (address){0};
}

bool address_is_loopback(const address *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->family == 4 ? a->ip[0] == 127 : memcmp(a->ip, one, sizeof one) == 0;
}

bool address_is_wildcard(const address *a)
{
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, a->family == 4 ? 4 : 16) == 0;
}

bool socket_set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}
