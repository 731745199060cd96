/* address.h - where is somebody?
 *
 * An address is only where to send; who somebody is, their session says (S1). IPv4 addresses use
 * the first four bytes of ip. Unused bytes are zero, so that addresses compare as bytes. */
#ifndef RUDP_BASE_ADDRESS_H
#define RUDP_BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t ip[16];
    uint32_t scope; /* IPv6 interface index for link-local addresses, else 0 */
    uint16_t port;  /* host byte order */
    uint8_t family; /* 0: none, 4 or 6 */
    uint8_t unused;
} address;

static inline bool address_equal(const address *a, const address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static inline bool address_same_host(const address *a, const address *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* A 64-bit digest to look addresses up by; the map mixes in a secret of its own. */
static inline uint64_t address_digest(const address *a)
{
    uint64_t high, low;
    memcpy(&high, a->ip, 8);
    memcpy(&low, a->ip + 8, 8);
    uint64_t rest = ((uint64_t)a->scope << 24) ^ ((uint64_t)a->port << 8) ^ a->family;
    uint64_t digest = (high ^ (low * 0x9e3779b97f4a7c15u)) * 0xbf58476d1ce4e5b9u;
    return (digest ^ (digest >> 29) ^ rest) * 0x94d049bb133111ebu + rest;
}

#endif
