/* stress.h - what the programs of this folder begin with: a node on loopback, and a count of what
 * was wrong, by whichever thread. */
#ifndef RUDP_STRESS_STRESS_H
#define RUDP_STRESS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "include/rudp.h"

static atomic_int faults;

static inline void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "wrong: %s\n", what);
        atomic_fetch_add(&faults, 1);
    }
}

/* key: 32 bytes; NULL: plaintext. */
static inline rudp_node *node_new(const uint8_t *key)
{
    rudp_options o = {.listen = {.ip = {127, 0, 0, 1}, .family = 4}, .key = key};
    char error[160];
    rudp_node *n = NULL;
    if (rudp_open_wait(&o, &n, error, sizeof error) != 0) {
        fprintf(stderr, "open: %s\n", error);
        exit(2);
    }
    return n;
}

#endif
