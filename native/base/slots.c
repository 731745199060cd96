#include "base/slots.h"

#include "base/ensure.h"

static size_t generations_size(uint32_t count)
{
    return ((size_t)count * sizeof(uint16_t) + 7) & ~(size_t)7;
}

size_t slots_size(uint32_t count)
{
    return indices_size(count) + generations_size(count);
}

void slots_init(slots *s, void *memory, uint32_t count)
{
    indices_init(&s->free, memory, count, true);
    s->generations = (uint16_t *)(void *)((uint8_t *)memory + indices_size(count));
    for (uint32_t i = 0; i < count; i++)
        s->generations[i] = 1;
}

bool slots_take(slots *s, uint32_t *index)
{
    if (!indices_lowest(&s->free, index))
        return false;
    indices_drop(&s->free, *index);
    return true;
}

bool slots_take_at(slots *s, uint32_t index)
{
    if (!indices_has(&s->free, index))
        return false;
    indices_drop(&s->free, index);
    return true;
}

void slots_give(slots *s, uint32_t index)
{
    ENSURE(slots_used(s, index));
    indices_add(&s->free, index);
    uint16_t next = (uint16_t)(s->generations[index] + 1);
    s->generations[index] = next == 0 ? 1 : next; /* 0 is nobody's generation */
}
