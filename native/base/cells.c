#include "base/cells.h"

#include "base/ensure.h"

#include <string.h>

static const uint16_t class_size[CELL_CLASSES] = {128, 384, 1280, CELL_LARGEST};

/* As many as the smallest class puts into a slab. */
enum { CELLS_MOST = CELL_SLAB_SIZE / 128, NO_CLASS = CELL_CLASSES };

/* Eight words of bits and a byte that says which of them are not zero: the set of free cells,
 * so that the lowest is found in two steps. Not `indices`, whose pointers would double it. */
struct slab {
    uint64_t free[CELLS_MOST / 64];
    uint16_t count; /* cells taken */
    uint8_t words;  /* bit i: free[i] is not zero */
    uint8_t kind;   /* index into class_size, or NO_CLASS */
};

static uint32_t cells_in_slab(uint32_t kind)
{
    return CELL_SLAB_SIZE / class_size[kind];
}

static uint32_t slabs_in(size_t arena_bytes)
{
    ENSURE(arena_bytes / CELL_SLAB_SIZE <= INDICES_MOST);
    return (uint32_t)(arena_bytes / CELL_SLAB_SIZE);
}

enum { INDEX_SETS = CELL_CLASSES + 2 }; /* open ones, free, idle */

size_t cells_size(size_t arena_bytes)
{
    uint32_t count = slabs_in(arena_bytes);
    return INDEX_SETS * indices_size(count) + count * sizeof(slab);
}

void cells_init(cells *c, void *bookkeeping, uint8_t *arena, size_t arena_bytes)
{
    uint32_t count = slabs_in(arena_bytes);
    size_t step = indices_size(count);
    uint8_t *at = bookkeeping;
    *c = (cells){.arena = arena, .room = (size_t)count * CELL_SLAB_SIZE};
    indices_init(&c->free, at, count, true);
    indices_init(&c->idle, at += step, count, false);
    for (uint32_t kind = 0; kind < CELL_CLASSES; kind++)
        indices_init(&c->open[kind], at += step, count, false);
    c->slabs = (slab *)(void *)(at + step);
    for (uint32_t i = 0; i < count; i++)
        c->slabs[i].kind = NO_CLASS;
}

/* The smallest class that fits, or NO_CLASS. */
static uint32_t class_for(size_t size)
{
    uint32_t kind = 0;
    while (kind < CELL_CLASSES && class_size[kind] < size)
        kind++;
    return kind;
}

size_t cell_capacity(size_t size)
{
    uint32_t kind = class_for(size);
    return kind == NO_CLASS ? 0 : class_size[kind];
}

/* The remainder at the end of a slab of 384 or 1,280 is no room while the slab has that class. */
static size_t slab_waste(uint32_t kind)
{
    return CELL_SLAB_SIZE - (size_t)cells_in_slab(kind) * class_size[kind];
}

/* Takes the lowest free slab for a class. */
static bool slab_open(cells *c, uint32_t kind, uint32_t *index)
{
    if (!indices_lowest(&c->free, index))
        return false;
    indices_drop(&c->free, *index);
    indices_drop(&c->idle, *index);
    indices_add(&c->open[kind], *index);
    slab *s = &c->slabs[*index];
    uint32_t count = cells_in_slab(kind);
    memset(s, 0, sizeof *s);
    memset(s->free, 0xff, count / 64 * sizeof s->free[0]);
    if (count % 64 != 0)
        s->free[count / 64] = (UINT64_C(1) << (count % 64)) - 1;
    s->words = (uint8_t)((1U << ((count + 63) / 64)) - 1);
    s->kind = (uint8_t)kind;
    c->room -= slab_waste(kind);
    return true;
}

/* The last cell came back: the slab is free for any class and may go back to the system. */
static void slab_close(cells *c, uint32_t index)
{
    slab *s = &c->slabs[index];
    indices_drop(&c->open[s->kind], index);
    indices_add(&c->free, index);
    indices_add(&c->idle, index);
    c->room += slab_waste(s->kind);
    s->kind = NO_CLASS;
}

/* The lowest free cell of a slab that has one. */
static uint32_t slab_take(slab *s)
{
    uint32_t word = (uint32_t)__builtin_ctz(s->words);
    uint32_t bit = (uint32_t)__builtin_ctzll(s->free[word]);
    s->free[word] &= s->free[word] - 1;
    if (s->free[word] == 0)
        s->words &= (uint8_t)~(1U << word);
    s->count++;
    return word * 64 + bit;
}

void *cells_take(cells *c, size_t size)
{
    uint32_t kind = class_for(size);
    if (kind == NO_CLASS)
        return NULL;
    uint32_t index;
    if (!indices_lowest(&c->open[kind], &index) && !slab_open(c, kind, &index))
        return NULL;
    slab *s = &c->slabs[index];
    uint32_t cell = slab_take(s);
    if (s->words == 0)
        indices_drop(&c->open[kind], index);
    c->used += class_size[kind];
    c->room -= class_size[kind];
    return c->arena + (size_t)index * CELL_SLAB_SIZE + (size_t)cell * class_size[kind];
}

void cells_give(cells *c, void *cell)
{
    size_t offset = (size_t)((uintptr_t)cell - (uintptr_t)c->arena);
    size_t index = offset / CELL_SLAB_SIZE;
    ENSURE(index < c->free.limit);
    slab *s = &c->slabs[index];
    ENSURE(s->kind != NO_CLASS);
    uint32_t size = class_size[s->kind];
    uint32_t number = (uint32_t)(offset % CELL_SLAB_SIZE) / size;
    ENSURE(offset % CELL_SLAB_SIZE % size == 0 && number < cells_in_slab(s->kind));
    uint64_t bit = UINT64_C(1) << (number % 64);
    ENSURE((s->free[number / 64] & bit) == 0); /* not given back before */
    s->free[number / 64] |= bit;
    s->words |= (uint8_t)(1U << (number / 64));
    s->count--;
    c->used -= size;
    c->room += size;
    if (s->count == 0)
        slab_close(c, (uint32_t)index);
    else
        indices_add(&c->open[s->kind], (uint32_t)index);
}

bool cells_idle_slab(cells *c, uint8_t **slab_bytes)
{
    uint32_t index;
    if (!indices_lowest(&c->idle, &index))
        return false;
    indices_drop(&c->idle, index);
    *slab_bytes = c->arena + (size_t)index * CELL_SLAB_SIZE;
    return true;
}
