/* sockets.h - "how do our addresses look to the kernel, and which descriptors do we open?"
 *
 * A node has one family of sockets, that of the address it listens on. An IPv6 socket on the
 * wildcard address also speaks IPv4, with mapped addresses (::ffff:1.2.3.4); they are 4 to us and 6
 * to the kernel, and nowhere else does anybody see the mapped form. */
#ifndef RUDP_IO_SOCKETS_H
#define RUDP_IO_SOCKETS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/address.h"

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} socket_address;

/* The kernel's form for a socket of the given family (4 or 6). 0: it cannot be reached from it. */
socklen_t socket_address_of(const address *a, uint8_t family, socket_address *out);

/* Ours; family 0 if it is neither IPv4 nor IPv6. */
address address_of_socket(const socket_address *s);

/* Ours, of an IPv6 address which may be a mapped one. */
address address_of_in6(const struct in6_addr *ip, uint16_t port, uint32_t scope);

bool address_is_loopback(const address *a);
bool address_is_wildcard(const address *a);

/* setsockopt for an int; false if the kernel refused. */
bool socket_set(int fd, int level, int option, int value);

#endif
