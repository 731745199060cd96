/* search.h - "does it hold in every order?"
 *
 *   state = memory of two engines + datagrams under way + what the model remembers
 *
 *            +-- deliver datagram i --+-- deliver it and keep a copy --+-- lose it --+
 *   state ---+-- the next timer expires                                             +--> states
 *            +-- the application does one of the things it may do now --------------+
 *
 * Depth first, each choice from the same state: engines are plain memory, so a state is saved by
 * copying its pages and restored to the same addresses. A state whose bytes were seen before is not
 * searched again (trace and counters aside: they tell how one came here, not where one is). Faults
 * have budgets; where they end or the depth does, the network heals and everything must finish.
 *
 * One program for each model: it includes this file and defines the six functions below. The trap:
 * plaintext only, because libcrypto's contexts live outside the engine's memory. */
#ifndef RUDP_EXHAUSTIVE_SEARCH_H
#define RUDP_EXHAUSTIVE_SEARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/random.h"
#include "base/time.h"
#include "engine/engine.h"

#define FLIGHTS     16u
#define MODEL_BYTES 16384u
#define PAGE        4096u
#define DEPTH_MAX   64u
#define MS(n)       ((uint64_t)(n) * NS_PER_MS)
#define SECONDS(n)  ((uint64_t)(n) * NS_PER_S)

typedef struct {
    uint8_t to;
    uint16_t size; /* 0: none */
    uint32_t order;
    uint8_t bytes[PACKET_BUDGET];
} flight;

/* Everything that is not in the engines. */
typedef struct {
    uint64_t now;
    random_source entropy;
    flight flights[FLIGHTS];
    uint32_t order;
    uint32_t losses, copies, timers; /* budgets left */
    bool full; /* more datagrams under way than there is room for: the newest was lost */
    _Alignas(16) uint8_t model[MODEL_BYTES];
} scene;

typedef struct {
    engine *engine;
    uint8_t *memory;
    size_t size;
    address address;
} actor;

static scene scene_now;
static actor actors[2];
static uint64_t states, leaves, pruned;
static unsigned path[DEPTH_MAX], path_length;

/* ---- what the model defines ---- */

static unsigned model_choices(void); /* things that the application may do now */
static void model_choose(unsigned which);
static void model_event(unsigned who, const event *e);
static bool model_action(unsigned who, const action *a); /* true: it was the model's */
static void model_follow(void);                          /* what follows every step by itself */
static void model_finish(void); /* healed: brings all to an end and checks it */

#define HOLDS(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fails(__VA_ARGS__);                                                                    \
    } while (0)

_Noreturn static void fails(const char *format, ...) __attribute__((format(printf, 1, 2)));

#include <stdarg.h>

_Noreturn static void fails(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nchoices:");
    for (unsigned i = 0; i < path_length; i++)
        fprintf(stderr, " %u", path[i]);
    fprintf(stderr, "\n");
    abort();
}

/* ---- one step of an engine ---- */

static void fly(unsigned from, const action *a)
{
    for (unsigned i = 0; i < FLIGHTS; i++) {
        flight *f = &scene_now.flights[i];
        if (f->size != 0)
            continue;
        f->to = (uint8_t)!from;
        f->size = (uint16_t)a->size;
        f->order = scene_now.order++;
        memcpy(f->bytes, a->bytes, a->size);
        return;
    }
    scene_now.full = true;
}

static void settle(unsigned who)
{
    engine *e = actors[who].engine;
    uint8_t buffer[ACTION_BUFFER];
    action a;
    do {
        while (engine_entropy_room(e) > 0) {
            uint8_t fresh[ENGINE_ENTROPY];
            random_bytes(&scene_now.entropy, fresh, sizeof fresh);
            engine_entropy(e, fresh);
        }
        for (unsigned i = 0; engine_next(e, scene_now.now, ACTION_ALL, &a, buffer); i++) {
            HOLDS(i < 10000, "engine_next never ends");
            if (a.kind == ACTION_EVENT)
                model_event(who, &a.event);
            else if (!model_action(who, &a) && a.kind == ACTION_SEND)
                fly(who, &a);
        }
    } while (engine_entropy_room(e) > 0);
}

static void deliver(unsigned i, bool keep)
{
    flight *f = &scene_now.flights[i];
    uint8_t *bytes = malloc(f->size);
    memcpy(bytes, f->bytes, f->size);
    unsigned to = f->to;
    datagram d = {actors[to].address, actors[!to].address, bytes, f->size};
    if (!keep)
        f->size = 0;
    engine_datagrams(actors[to].engine, scene_now.now, &d, 1, 0);
    free(bytes);
    settle(to);
    model_follow();
}

static uint64_t earliest(void)
{
    uint64_t first = engine_deadline(actors[0].engine), second = engine_deadline(actors[1].engine);
    return first < second ? first : second;
}

/* The earliest timer of the two expires; time jumps to it. There must be one. */
static void expire(void)
{
    uint64_t at = earliest();
    unsigned who = engine_deadline(actors[0].engine) != at;
    if (at > scene_now.now)
        scene_now.now = at;
    engine_tick(actors[who].engine, scene_now.now);
    settle(who);
    model_follow();
}

/* Everything under way arrives, in order. */
static void deliver_all(void)
{
    for (unsigned count = 0;; count++) {
        unsigned oldest = FLIGHTS;
        for (unsigned i = 0; i < FLIGHTS; i++) {
            const flight *f = &scene_now.flights[i];
            if (f->size && (oldest == FLIGHTS || f->order < scene_now.flights[oldest].order))
                oldest = i;
        }
        if (oldest == FLIGHTS)
            return;
        HOLDS(count < 10000, "packets without end");
        deliver(oldest, false);
    }
}

/* A perfect network for this long. */
static __attribute__((unused)) void run_for(uint64_t duration)
{
    uint64_t until = scene_now.now + duration;
    deliver_all();
    for (unsigned count = 0; count < 100000; count++) {
        if (earliest() > until)
            break;
        expire();
        deliver_all();
    }
    scene_now.now = until;
}

/* ---- saving and restoring ---- */

typedef struct {
    scene scene;
    uint8_t *bytes[2];
    uint32_t *pages[2]; /* numbers of the pages that are not zero */
    uint32_t count[2];
} snapshot;

static snapshot saved[DEPTH_MAX];

static bool page_zero(const uint8_t *page)
{
    static const uint8_t zero[PAGE];
    return memcmp(page, zero, PAGE) == 0;
}

static void save(snapshot *s)
{
    s->scene = scene_now;
    for (unsigned who = 0; who < 2; who++) {
        actor *a = &actors[who];
        uint32_t pages = (uint32_t)(a->size / PAGE);
        if (s->pages[who] == NULL) {
            s->pages[who] = malloc(pages * sizeof(uint32_t));
            s->bytes[who] = malloc(a->size);
        }
        s->count[who] = 0;
        for (uint32_t i = 0; i < pages; i++) {
            if (page_zero(a->memory + (size_t)i * PAGE))
                continue;
            memcpy(s->bytes[who] + (size_t)s->count[who] * PAGE, a->memory + (size_t)i * PAGE,
                   PAGE);
            s->pages[who][s->count[who]++] = i;
        }
    }
}

static void restore(const snapshot *s)
{
    scene_now = s->scene;
    for (unsigned who = 0; who < 2; who++) {
        actor *a = &actors[who];
        uint32_t at = 0;
        for (uint32_t i = 0; i < a->size / PAGE; i++) {
            uint8_t *page = a->memory + (size_t)i * PAGE;
            if (at < s->count[who] && s->pages[who][at] == i)
                memcpy(page, s->bytes[who] + (size_t)at++ * PAGE, PAGE);
            else if (!page_zero(page))
                memset(page, 0, PAGE);
        }
    }
}

/* ---- states seen ---- */

static uint64_t *seen;
static size_t seen_count, seen_room;

static uint64_t digest(uint64_t h, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    for (size_t i = size & ~(size_t)7; i < size; i++)
        h = (h ^ at[i]) * 0x9e3779b97f4a7c15u;
    return h;
}

/* The engine's memory but for its trace and its counters. */
static uint64_t digest_actor(uint64_t h, const actor *a)
{
    size_t from[2] = {(size_t)((const uint8_t *)engine_trace(a->engine) - a->memory),
                      (size_t)((const uint8_t *)engine_counters(a->engine) - a->memory)};
    size_t to[2] = {from[0] + sizeof(trace), from[1] + sizeof(counters)};
    unsigned first = from[1] < from[0];
    size_t at = 0;
    for (unsigned i = 0; i < 2; i++) {
        unsigned hole = i ^ first;
        h = digest(h, a->memory + at, from[hole] - at);
        at = to[hole];
    }
    for (; at + PAGE <= a->size; at += PAGE)
        if (!page_zero(a->memory + at))
            h = digest(h ^ at, a->memory + at, PAGE);
    return digest(h, a->memory + at, a->size - at);
}

static uint64_t digest_state(void)
{
    uint64_t h = digest(scene_now.now, scene_now.model, MODEL_BYTES);
    h = digest(h, &scene_now.losses, 3 * sizeof scene_now.losses);
    uint64_t flying = 0; /* in any order */
    for (unsigned i = 0; i < FLIGHTS; i++) {
        const flight *f = &scene_now.flights[i];
        if (f->size)
            flying += digest(f->to + 1u, f->bytes, f->size);
    }
    return digest_actor(digest_actor(h ^ flying, &actors[0]), &actors[1]) | 1;
}

static bool seen_before(uint64_t h)
{
    if (2 * seen_count >= seen_room) {
        size_t old = seen_room;
        uint64_t *set = seen;
        seen_room = old ? 2 * old : 65536;
        seen = calloc(seen_room, sizeof *seen);
        seen_count = 0;
        for (size_t i = 0; i < old; i++)
            if (set[i])
                seen_before(set[i]);
        free(set);
    }
    size_t at = h & (seen_room - 1);
    for (; seen[at]; at = (at + 1) & (seen_room - 1))
        if (seen[at] == h)
            return true;
    seen[at] = h;
    seen_count++;
    return false;
}

/* ---- the search ---- */

/* Does the choice of this number, or says that there is none (false). */
static bool choose(unsigned number)
{
    for (unsigned i = 0; i < FLIGHTS; i++) {
        if (scene_now.flights[i].size == 0)
            continue;
        if (number == 0) {
            deliver(i, false);
            return true;
        }
        if (scene_now.copies > 0 && --number == 0) {
            scene_now.copies--;
            deliver(i, true);
            return true;
        }
        if (scene_now.losses > 0 && --number == 0) {
            scene_now.losses--;
            scene_now.flights[i].size = 0;
            return true;
        }
        number--;
    }
    if (scene_now.timers > 0 && earliest() != TIME_NEVER && number-- == 0) {
        scene_now.timers--;
        expire();
        return true;
    }
    unsigned own = model_choices();
    if (number >= own)
        return false;
    model_choose(number);
    return true;
}

static void explore(unsigned depth)
{
    states++;
    if (seen_before(digest_state() + depth * 2)) {
        pruned++;
        return;
    }
    HOLDS(!scene_now.full, "more than %u datagrams under way", FLIGHTS);
    snapshot *here = &saved[depth];
    save(here);
    bool any = false;
    for (unsigned number = 0; depth > 0; number++) {
        path[path_length++] = number;
        bool done = choose(number);
        if (done) {
            any = true;
            explore(depth - 1);
        }
        path_length--;
        restore(here);
        if (!done)
            break;
    }
    if (!any) {
        leaves++;
        model_finish();
        restore(here);
    }
}

/* ---- beginning ---- */

static void actor_start(unsigned who, const config *c)
{
    static hello_keys plain;
    uint8_t seed[ENGINE_SEED] = {(uint8_t)(who + 1)};
    actor *a = &actors[who];
    a->size = (engine_size(c) + PAGE - 1) / PAGE * PAGE;
    a->memory = aligned_alloc(PAGE, a->size);
    memset(a->memory, 0, a->size);
    a->address = (address){
        .ip = {127, 0, 0, (uint8_t)(who + 1)}, .port = (uint16_t)(100 + who), .family = 4};
    a->engine = engine_init(a->memory, c, &plain, seed, scene_now.now);
}

/* The smallest engines: one of everything that the model needs. */
static config search_config(void)
{
    config c = config_tiny();
    c.sessions = 6;
    c.peers = 2;
    c.calls = 4;
    c.serves = 4;
    c.transfers = 4;
    c.connections = 4;
    c.records = 32;
    c.gone = 2;
    c.arena = 4 * 65536;
    c.ciphers = 1u << CIPHER_PLAIN;
    c.tcp = false;
    return c;
}

static void search_begin(const config *c)
{
    scene_now.now = SECONDS(1000);
    uint8_t seed[RANDOM_SEED_SIZE] = "search";
    random_init(&scene_now.entropy, seed);
    for (unsigned who = 0; who < 2; who++) {
        config mine = *c;
        mine.port = (uint16_t)(100 + who);
        actor_start(who, &mine);
    }
}

static void search_end(const char *name)
{
    printf("%s: %llu states, %llu of them seen before, %llu ends\n", name,
           (unsigned long long)states, (unsigned long long)pruned, (unsigned long long)leaves);
    for (unsigned who = 0; who < 2; who++) {
        engine_free(actors[who].engine);
        free(actors[who].memory);
    }
    for (unsigned i = 0; i < DEPTH_MAX; i++) {
        for (unsigned who = 0; who < 2; who++) {
            free(saved[i].bytes[who]);
            free(saved[i].pages[who]);
        }
    }
    free(seen);
}

#endif
