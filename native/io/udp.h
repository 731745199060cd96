/* udp.h - "which datagrams came, and which could not leave?"
 *
 *   kernel -> recvmmsg -> in[0..64)       the engine looks at all of them at once
 *   engine -> out[first..count) -> sendmmsg -> kernel
 *                 |
 *                 a short call keeps the rest, and the rest goes first (E3)
 *
 * One socket, never blocking. Both addresses of every datagram are known: the local one matters
 * where a node listens on the wildcard address, else the answer leaves from whichever address the
 * route picks (S9).
 *
 * The trap is P11: what the kernel has learnt from ICMP about one peer it tells at the next
 * system call, whoever that is for; sendmmsg stops there and swallows the error. So after a short
 * count or an error the error queue is drained, its entries are blamed on the addresses they
 * name, and sending goes on at the same index. */
#ifndef RUDP_IO_UDP_H
#define RUDP_IO_UDP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "engine/engine.h"
#include "io/sockets.h"

enum {
    UDP_BATCH = 64,       /* datagrams per system call */
    UDP_SLOT = 1216,      /* bytes kept per datagram: a packet, prefix, line size */
    UDP_CONTROL = 128,    /* bytes of control messages per datagram */
    UDP_FAULTS = 64,      /* reports kept until they are read; more are lost */
    UDP_LOOK_EVERY = 8,   /* empty receptions until the error queue is looked at */
    UDP_BUFFER = 8 << 20, /* bytes asked for in each socket buffer */
};

_Static_assert(UDP_SLOT >= ACTION_BUFFER && UDP_SLOT > PACKET_BUDGET, "a slot holds any packet");

typedef struct {
    address remote;
    send_fault fault;
} udp_fault;

typedef struct {
    struct mmsghdr headers[UDP_BATCH];
    struct iovec parts[UDP_BATCH];
    socket_address names[UDP_BATCH];
    _Alignas(8) uint8_t control[UDP_BATCH][UDP_CONTROL];
    _Alignas(64) uint8_t bytes[UDP_BATCH][UDP_SLOT];
} udp_batch;

typedef struct {
    int fd;
    uint8_t family; /* of the socket, 4 or 6 */
    bool wildcard;  /* answers must name their local address (S9) */
    bool full;      /* the socket took less than it was given: out is kept */
    address local;  /* as bound, with the port */
    uint64_t drops; /* by the own kernel, in all (SO_RXQ_OVFL) */
    uint32_t out_first, out_count;
    uint32_t empty; /* times that nothing was there */
    uint32_t fault_count;
    udp_fault faults[UDP_FAULTS];
    datagram datagrams[UDP_BATCH]; /* what udp_receive found */
    udp_batch in, out;
} udp;

/* Binds; the port that the system picked stands in local afterwards. 0, or an errno with *what
 * naming the call that failed. u is all zeros before. */
int udp_open(udp *u, const address *listen, const char **what);
void udp_close(udp *u);

/* Takes in at most one batch; their number. Less than UDP_BATCH: the socket is empty now. */
size_t udp_receive(udp *u);

/* Where the next packet may be made; NULL: the batch is full, flush. */
uint8_t *udp_slot(udp *u);

/* The packet in the slot, or anywhere in the caller's hands until the flush, joins the batch. */
void udp_push(udp *u, const address *local, const address *remote, const uint8_t *bytes,
              size_t size);

/* Sends what waits; false if the socket is full and the rest is kept. */
bool udp_flush(udp *u);

/* Reads what ICMP said into faults. True if there was anything. */
bool udp_drain_errors(udp *u);

#endif
