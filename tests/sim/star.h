/* star.h - many small engines around one real one, on a network that loses nothing.
 *
 *          leaf leaf leaf ...        each a real engine with the smallest tables
 *             \  |  /
 *               hub                  the engine that is looked at
 *
 * This counts, it does not search: what idle peers cost (cluster.c), what it costs when all come at
 * once (join.c). */
#ifndef RUDP_SIM_STAR_H
#define RUDP_SIM_STAR_H

#include "world.h"

#define HUB UINT32_MAX

typedef struct {
    uint64_t at, order;
    uint32_t whom; /* leaf or HUB */
    uint32_t size; /* of the datagram, 0: a timer */
    uint8_t *bytes;
} due;

typedef struct {
    engine *engine;
    void *room;
    address address;
    uint64_t timer; /* armed for */
    size_t size;
} member;

typedef struct star star;
struct star {
    member hub, *leaves;
    uint32_t count;
    uint64_t now, order, delay;
    due *heap;
    size_t heap_count, heap_room;
    uint64_t received, sent, verbs, computed; /* of the hub */
    random_source chance;
    hello_keys keys;
    /* If set: a datagram for the hub, or its timer, is handled here. */
    void (*hub_gets)(star *s, const due *d);
    void (*event)(star *s, uint32_t whom, const event *e); /* if set */
    void *what;                                            /* of whoever set them */
};

void star_init(star *s, uint32_t count, uint64_t seed, const char *name);
void star_free(star *s);
void star_push(star *s, due d);
void star_run(star *s, uint64_t until);
/* Makes the engine of the hub or of a leaf; the leaf has its address then. */
void star_start(star *s, uint32_t whom, const config *c);
member *star_member(star *s, uint32_t whom);
/* After every verb: what the engine wants done is done. */
void star_settle(star *s, uint32_t whom);
/* A leaf's interest in the hub. */
void star_watch(star *s, uint32_t leaf, bool watch);
datagram star_datagram(star *s, const due *d);
uint64_t star_resident(const member *m); /* bytes of the engine's memory that were touched */
uint32_t star_sessions(const star *s);   /* of the hub */
config star_leaf(void);

#endif
