#include "engine/slot_table.h"

#include "base/ensure.h"

#include <string.h>

void slot_table_init(slot_table *t, uint16_t first)
{
    ENSURE(first <= SLOT_FIRST_MAX);
    *t = (slot_table){.count = first, .first = first};
}

static bool first_ready(slot_table *t, cells *c)
{
    if (t->entries != NULL || t->first == 0)
        return true;
    t->entries = cells_take(c, t->first * sizeof *t->entries);
    if (t->entries == NULL)
        return false;
    memset(t->entries, 0, t->first * sizeof *t->entries);
    return true;
}

static uint32_t pages_for(const slot_table *t, uint32_t count)
{
    return count <= t->first ? 0 : (count - t->first + SLOT_PAGE_ENTRIES - 1) / SLOT_PAGE_ENTRIES;
}

static bool pages_ready(slot_table *t, cells *c)
{
    if (t->pages != NULL)
        return true;
    t->pages = cells_take(c, SLOT_PAGES * sizeof *t->pages);
    if (t->pages == NULL)
        return false;
    memset(t->pages, 0, SLOT_PAGES * sizeof *t->pages);
    return true;
}

bool slot_table_grow(slot_table *t, cells *c, uint16_t count)
{
    uint32_t had = pages_for(t, t->count);
    uint32_t want = pages_for(t, count);
    if (want > SLOT_PAGES || !first_ready(t, c) || (want > 0 && !pages_ready(t, c)))
        return false;
    for (uint32_t i = had; i < want; i++) {
        t->pages[i] = cells_take(c, sizeof *t->pages[i]);
        if (t->pages[i] == NULL) {
            while (i-- > had) {
                cells_give(c, t->pages[i]);
                t->pages[i] = NULL;
            }
            return false;
        }
        memset(t->pages[i], 0, sizeof *t->pages[i]);
    }
    if (count > t->count)
        t->count = count;
    return true;
}

slot_entry *slot_table_at(slot_table *t, uint32_t slot)
{
    if (slot >= t->count)
        return NULL;
    if (slot < t->first)
        return t->entries == NULL ? NULL : &t->entries[slot];
    uint32_t past = slot - t->first; /* of pages that slot_table_grow made */
    return &t->pages[past / SLOT_PAGE_ENTRIES]->entries[past % SLOT_PAGE_ENTRIES];
}

slot_entry *slot_table_reach(slot_table *t, cells *c, uint32_t slot)
{
    return first_ready(t, c) ? slot_table_at(t, slot) : NULL;
}

bool slot_table_starved(const slot_table *t)
{
    return t->entries == NULL && t->count > 0;
}

/* The word that holds the slot's bit; pages count their own entries from 0. */
static uint64_t *bit_of(slot_table *t, uint16_t slot, uint64_t *mask)
{
    if (slot < t->first) {
        *mask = UINT64_C(1) << slot;
        return &t->used;
    }
    uint32_t past = (uint32_t)slot - t->first;
    uint32_t within = past % SLOT_PAGE_ENTRIES;
    *mask = UINT64_C(1) << (within % 64);
    return &t->pages[past / SLOT_PAGE_ENTRIES]->used[within / 64];
}

/* The lowest free slot; there is one. */
static uint16_t lowest_free(const slot_table *t)
{
    if (~t->used != 0) {
        uint32_t slot = (uint32_t)__builtin_ctzll(~t->used);
        if (slot < t->first)
            return (uint16_t)slot;
    }
    uint32_t pages = pages_for(t, t->count);
    for (uint32_t page = 0; page < pages; page++) {
        for (uint32_t word = 0; word < 8; word++) {
            uint64_t free = ~t->pages[page]->used[word];
            uint32_t within =
                free == 0 ? SLOT_PAGE_ENTRIES : word * 64 + (uint32_t)__builtin_ctzll(free);
            if (within < SLOT_PAGE_ENTRIES)
                return (uint16_t)(t->first + page * SLOT_PAGE_ENTRIES + within);
        }
    }
    return t->count;
}

bool slot_table_take(slot_table *t, cells *c, uint16_t *slot)
{
    if (t->used_count >= t->count || !first_ready(t, c))
        return false;
    *slot = lowest_free(t);
    ENSURE(*slot < t->count);
    uint64_t mask;
    uint64_t *word = bit_of(t, *slot, &mask);
    *word |= mask;
    t->used_count++;
    slot_table_at(t, *slot)->sequence++;
    return true;
}

void slot_table_give(slot_table *t, uint16_t slot)
{
    ENSURE(slot < t->count);
    uint64_t mask;
    uint64_t *word = bit_of(t, slot, &mask);
    ENSURE((*word & mask) != 0);
    *word &= ~mask;
    t->used_count--;
    slot_table_at(t, slot)->value = 0;
}

void slot_table_untake(slot_table *t, uint16_t slot)
{
    slot_table_give(t, slot);
    slot_table_at(t, slot)->sequence--;
}

void slot_table_free(slot_table *t, cells *c)
{
    if (t->entries != NULL)
        cells_give(c, t->entries);
    for (uint32_t i = 0; t->pages != NULL && i < SLOT_PAGES; i++)
        if (t->pages[i] != NULL)
            cells_give(c, t->pages[i]);
    if (t->pages != NULL)
        cells_give(c, t->pages);
    *t = (slot_table){0};
}

size_t slot_table_cells(const slot_table *t)
{
    size_t held = t->entries == NULL ? 0 : cell_capacity(t->first * sizeof *t->entries);
    if (t->pages == NULL)
        return held;
    held += cell_capacity(SLOT_PAGES * sizeof *t->pages);
    for (uint32_t i = 0; i < SLOT_PAGES; i++)
        held += t->pages[i] == NULL ? 0 : cell_capacity(sizeof **t->pages);
    return held;
}
