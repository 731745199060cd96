/* slot_table.h - which calls (or transfers) may be under way in one session and direction?
 *
 *     entry:   0    1    2   ...  first-1 |  first ...            up to count-1
 *           [seq val][ ][ ]               | pages of 504 entries, taken as needed
 *
 * The caller's side (C1) takes the lowest free slot, adds one to its sequence and counts slots in
 * use; value is its call's index + 1. The answerer's side looks slots up by the number a packet
 * names; value is its served request's index + 1, or 0 when all is forgotten but the sequence.
 * A slot and its sequence live as long as the session: sequences never go back. */
#ifndef RUDP_ENGINE_SLOT_TABLE_H
#define RUDP_ENGINE_SLOT_TABLE_H

#include "base/cells.h"

#include <stdbool.h>
#include <stdint.h>

#define SLOT_PAGE_ENTRIES 504u
#define SLOT_PAGES        8u
#define SLOT_FIRST_MAX    64u

typedef struct {
    uint32_t sequence; /* highest so far; the first used is 1 */
    uint32_t value;    /* owner's index + 1, 0: none */
} slot_entry;

typedef struct {
    uint64_t used[8];
    slot_entry entries[SLOT_PAGE_ENTRIES];
} slot_page; /* 4096 bytes: one cell */

typedef struct {
    uint16_t count;      /* slots that exist (granted) */
    uint16_t first;      /* of these, in `entries` */
    uint16_t used_count; /* caller's side: in use */
    uint16_t unused;
    uint64_t used;       /* caller's side: bit per slot of `entries` */
    slot_entry *entries; /* a cell, NULL until needed: an idle session holds none */
    slot_page **pages;   /* a cell with SLOT_PAGES pointers, NULL until needed */
} slot_table;

/* Takes no memory yet: a cell for `first` entries is taken on first use. */
void slot_table_init(slot_table *t, uint16_t first);

/* Makes room for count slots, the first ones included; it never shrinks. At most first + 8 * 504.
 * False when that is too many or there is no cell: as it was. */
bool slot_table_grow(slot_table *t, cells *c, uint16_t count);

/* The entry, or NULL: no such slot (or its cell was not taken yet: no one used it). */
slot_entry *slot_table_at(slot_table *t, uint32_t slot);

/* The same for the answerer, whose first use it may be; NULL also if there is no cell now. */
slot_entry *slot_table_reach(slot_table *t, cells *c, uint32_t slot);

/* Caller's side: there are slots, but no cell was to be had for them when one was last wanted. */
bool slot_table_starved(const slot_table *t);

/* Lowest free slot; its sequence is already raised by one. False: all in use, or no cell. */
bool slot_table_take(slot_table *t, cells *c, uint16_t *slot);
void slot_table_give(slot_table *t, uint16_t slot); /* its value is 0 again */
/* As if it had not been taken: right only while no packet has named the sequence. */
void slot_table_untake(slot_table *t, uint16_t slot);

/* Gives all cells back. */
void slot_table_free(slot_table *t, cells *c);

/* Bytes of cells that it holds. */
size_t slot_table_cells(const slot_table *t);

#endif
