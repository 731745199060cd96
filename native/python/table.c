/* table.c - the places of calls under way. */
#include "python/link.h"

#include <stdlib.h>

void table_init(link_table *t, uint32_t limit)
{
    *t = (link_table){.limit = limit};
}

/* Room for one more place, and for its handle among the free ones. */
static bool table_grow(link_table *t)
{
    if (t->count < t->room)
        return true;
    uint32_t room = t->room == 0 ? 16 : t->room * 2;
    link_place *places = realloc(t->places, room * sizeof *places);
    if (places != NULL)
        t->places = places;
    uint64_t *free_handles = realloc(t->free, room * sizeof *free_handles);
    if (free_handles != NULL)
        t->free = free_handles;
    if (places == NULL || free_handles == NULL)
        return false;
    t->room = room;
    return true;
}

uint64_t table_take(link_table *t)
{
    if (t->free_count > 0) {
        uint64_t handle = t->free[--t->free_count];
        t->places[handle & HANDLE_INDEX].handle = handle;
        return handle;
    }
    if (t->count >= t->limit || !table_grow(t))
        return 0;
    uint64_t handle = t->count | HANDLE_GENERATION;
    t->places[t->count++] = (link_place){.handle = handle};
    return handle;
}

void table_give(link_table *t, uint64_t handle)
{
    t->free[t->free_count++] = handle + HANDLE_GENERATION;
}

call_object *table_end(link_table *t, uint64_t handle)
{
    uint64_t index = handle & HANDLE_INDEX;
    if (index >= t->count || t->places[index].handle != handle)
        return NULL; /* of a generation that is gone */
    call_object *call = t->places[index].call;
    t->places[index].call = NULL;
    table_give(t, handle);
    return call;
}

void table_clear(link_table *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        Py_CLEAR(t->places[i].call);
    free(t->places);
    free(t->free);
    table_init(t, 0);
}
