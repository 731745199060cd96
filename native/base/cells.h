/* cells.h - "where do these few bytes stay until they are acknowledged?"
 *
 *   arena    | slab 0        | slab 1        | slab 2 (free) | ...       64 KiB each
 *            | 128 128 128 ..| 1280 1280 ..  |
 *
 * One arena is reserved at init and never grows (A5). Each slab serves one class of cell, 128,
 * 384, 1,280 or 4,096 bytes (the last for pages of call slots), and goes back to the free slabs
 * with its last cell. Lowest slab first, lowest cell in it first: what is in use stays together,
 * and empty slabs can be given back to the system (A6).
 *
 * All notes about cells are kept outside the arena: a page of it is touched first by whoever
 * got a cell in it, and a slab handed to madvise stays untouched until it is used again.
 *
 * The trap: a cell's size is its class, not what was asked; ask cell_capacity() when charging
 * a peer for it. Cells are aligned to 128, the last two kinds of page only as the arena is. */
#ifndef RUDP_BASE_CELLS_H
#define RUDP_BASE_CELLS_H

#include "base/indices.h"

enum {
    CELL_CLASSES = 4,
    CELL_LARGEST = 4096,
    CELL_SLAB_SIZE = 65536,
};

typedef struct slab slab; /* which class, which of its cells are free: cells.c */

typedef struct {
    uint8_t *arena;
    slab *slabs;                /* one for each slab */
    indices free;               /* slabs without a class */
    indices open[CELL_CLASSES]; /* slabs of the class with a free cell */
    indices idle;               /* slabs that became free and are not yet reported */
    size_t used;                /* bytes in cells taken */
    size_t room;                /* bytes in free slabs and in free cells */
} cells;

/* Bytes of bookkeeping for an arena of this size; a multiple of 8. */
size_t cells_size(size_t arena_bytes);

/* bookkeeping: aligned to 8. arena: aligned to 128; what is over a multiple of 64 KiB stays
 * unused; below 1 TiB. */
void cells_init(cells *c, void *bookkeeping, uint8_t *arena, size_t arena_bytes);

/* The size of the cell that a request gets; 0 if it is too large for any. */
size_t cell_capacity(size_t size);

/* A cell of the smallest class that fits, contents undefined; NULL if there is none or size is
 * over CELL_LARGEST. */
void *cells_take(cells *c, size_t size);

/* ENSURE: a cell that is taken. */
void cells_give(cells *c, void *cell);

/* Bytes that could still be taken, if the sizes asked for fit. */
static inline size_t cells_room(const cells *c)
{
    return c->room;
}

/* Bytes in cells taken, each counted with the size of its class. */
static inline size_t cells_used(const cells *c)
{
    return c->used;
}

/* Yields one by one the slabs that became empty since last asked, so that the loop may give
 * their pages back; each once, until it is used again. False when there is none. */
bool cells_idle_slab(cells *c, uint8_t **slab_bytes);

#endif
