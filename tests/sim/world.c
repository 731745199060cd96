/* world.c - the queue of happenings, chance, and the trace that two runs of a seed must share. */
#include "world.h"

#include <stdarg.h>

/* ---- the queue: a binary heap, ties in order of arming ---- */

static bool earlier(const happening *a, const happening *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void queue_push(world *w, happening h)
{
    if (w->queue_count == w->queue_room) {
        w->queue_room = w->queue_room ? 2 * w->queue_room : 256;
        w->queue = realloc(w->queue, w->queue_room * sizeof *w->queue);
    }
    size_t at = w->queue_count++;
    while (at > 0 && earlier(&h, &w->queue[(at - 1) / 2])) {
        w->queue[at] = w->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->queue[at] = h;
}

static happening queue_pop(world *w)
{
    happening first = w->queue[0];
    happening last = w->queue[--w->queue_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->queue_count)
            break;
        if (child + 1 < w->queue_count && earlier(&w->queue[child + 1], &w->queue[child]))
            child++;
        if (!earlier(&w->queue[child], &last))
            break;
        w->queue[at] = w->queue[child];
        at = child;
    }
    w->queue[at] = last;
    return first;
}

void world_at(world *w, uint64_t at, happening_run run, void *what, uint64_t a, uint64_t b)
{
    queue_push(w, (happening){.at = at < w->now ? w->now : at,
                              .order = w->order++,
                              .run = run,
                              .what = what,
                              .a = a,
                              .b = b});
}

void world_at_owned(world *w, uint64_t at, happening_run run, void *what, uint64_t a, uint64_t b)
{
    queue_push(w, (happening){.at = at < w->now ? w->now : at,
                              .order = w->order++,
                              .run = run,
                              .what = what,
                              .a = a,
                              .b = b,
                              .owned = true});
}

#define HAPPENINGS_MAX 20000000u /* of one seed: a world that never comes to rest is a finding */

void world_run(world *w, uint64_t until)
{
    while (w->queue_count > 0 && w->queue[0].at <= until) {
        happening h = queue_pop(w);
        w->now = h.at;
        EXPECT(w, ++w->happenings < HAPPENINGS_MAX, "Q19: the world does not come to rest");
        h.run(w, h.what, h.a, h.b);
    }
    w->now = until;
}

void world_free(world *w)
{
    for (size_t i = 0; i < w->queue_count; i++)
        if (w->queue[i].owned)
            free(w->queue[i].what);
    free(w->queue);
    free(w->calls);
}

/* ---- chance ---- */

uint64_t chance_below(world *w, uint64_t bound)
{
    if (w->options.batch != 0 && !w->planning) /* batches.c: no chance but what is wanted */
        return bound == 0 ? 0 : bound - 1;
    return bound == 0 ? 0 : random_below(&w->chance, bound);
}

bool chance(world *w, uint32_t permille)
{
    return permille > 0 && chance_below(w, 1000) < permille;
}

uint64_t chance_between(world *w, uint64_t low, uint64_t high)
{
    return low + chance_below(w, high - low + 1);
}

/* ---- the trace (Q12) ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t m = (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6))) * 0xbf58476d1ce4e5b9u;
    return m ^ (m >> 29);
}

void step(world *w, uint64_t a, uint64_t b, uint64_t c)
{
    step_record *s = w->steps;
    if (s == NULL)
        return;
    uint64_t hash = mix(mix(mix(w->now, a), b), c);
    if (s->comparing) {
        EXPECT(w, s->at < s->count && s->hash[s->at] == hash,
               "Q12: the second run differs at step %zu of %zu", s->at, s->count);
        s->at++;
        return;
    }
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 4096;
        s->hash = realloc(s->hash, s->room * sizeof *s->hash);
    }
    s->hash[s->count++] = hash;
}

void step_bytes(world *w, const uint8_t *bytes, size_t size)
{
    if (w->steps == NULL)
        return;
    uint64_t hash = size;
    for (size_t i = 0; i < size; i++)
        hash = hash * 0x100000001b3u ^ bytes[i];
    step(w, hash, size, 0);
}

void say_line(world *w, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%12.6f ", (double)w->now / 1e9);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}
