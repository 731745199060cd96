/* memory.c - to whom does memory belong at this moment?
 *
 *   message to send    application -> call or reply -> ENGINE -> RELEASE -> application
 *   message received   ALLOC -> ENGINE -> event -> APPLICATION -> freed;  or RELEASE if abandoned
 *
 * Each piece is one allocation of exactly its size, freed at RELEASE, so that the sanitizer sees
 * any touch afterwards (Q7b). While a WRITE or READ names it, it may not be released (T5). */
#include "world.h"

/* A handle is index + 1 and a generation: never the same number twice in a life. */
static uint64_t handle_of(const node *n, uint32_t index)
{
    return (uint64_t)n->memories[index].generation << 24 | (index + 1);
}

memory *memory_of(node *n, uint64_t handle)
{
    uint64_t index = (handle & 0xffffff) - 1;
    if (handle == 0 || index >= n->memory_count)
        return NULL;
    memory *m = &n->memories[index];
    return m->owner != MEMORY_FREE && handle_of(n, (uint32_t)index) == handle ? m : NULL;
}

uint64_t memory_make(node *n, uint64_t size, memory_owner owner)
{
    uint32_t index = 0;
    while (index < n->memory_count && n->memories[index].owner != MEMORY_FREE)
        index++;
    if (index == n->memory_count) {
        n->memories = realloc(n->memories, ++n->memory_count * sizeof *n->memories);
        n->memories[index] = (memory){.generation = 0};
    }
    memory *m = &n->memories[index];
    *m = (memory){.bytes = malloc(size ? size : 1),
                  .size = size,
                  .generation = m->generation + 1,
                  .owner = (uint8_t)owner};
    return handle_of(n, index);
}

void memory_release(node *n, uint64_t handle, memory_owner by)
{
    world *w = n->world;
    memory *m = memory_of(n, handle);
    EXPECT(w, m != NULL && m->owner == by,
           "Q7b: node %u releases memory %#llx that is not there, or not its own", n->index,
           (unsigned long long)handle);
    EXPECT(w, m->users == 0, "Q7b: node %u releases memory %#llx while a lane uses it (T5)",
           n->index, (unsigned long long)handle);
    free(m->bytes);
    m->bytes = NULL;
    m->owner = MEMORY_FREE;
}

/* An event hands a received message over: nobody may write to it any more (Q8). */
void memory_to_application(node *n, uint64_t handle, uint64_t size)
{
    world *w = n->world;
    memory *m = memory_of(n, handle);
    EXPECT(w, m != NULL && m->received && m->owner == MEMORY_ENGINE,
           "Q8: node %u delivers memory %#llx that it does not have", n->index,
           (unsigned long long)handle);
    EXPECT(w, m->users == 0, "Q8: node %u delivers memory that a lane still writes to (T2)",
           n->index);
    EXPECT(w, m->size == size && m->verified == size,
           "Q8: node %u delivers %llu bytes, %llu of %llu are verified", n->index,
           (unsigned long long)size, (unsigned long long)m->verified, (unsigned long long)m->size);
    m->owner = MEMORY_APPLICATION;
}

void memory_crash(node *n)
{
    for (uint32_t i = 0; i < n->memory_count; i++)
        free(n->memories[i].bytes);
    free(n->memories);
    free(n->completions);
    n->memories = NULL;
    n->completions = NULL;
    n->memory_count = n->completion_count = n->completion_room = 0;
}

uint32_t memory_held(const node *n)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < n->memory_count; i++)
        held += n->memories[i].owner != MEMORY_FREE;
    return held;
}

/* ---- completions: late, and in any order (E2) ---- */

void completion_add(node *n, const completion *c)
{
    world *w = n->world;
    if (n->completion_count == n->completion_room) {
        n->completion_room = n->completion_room ? 2 * n->completion_room : 8;
        n->completions = realloc(n->completions, n->completion_room * sizeof *n->completions);
    }
    uint64_t delay = chance(w, 500) ? 0 : chance_below(w, w->swarm.completion + 1);
    n->completions[n->completion_count] = *c;
    n->completions[n->completion_count++].due = w->now + delay;
    node_wake(n, delay);
}

static void report(node *n, const completion *c)
{
    memory *m = memory_of(n, c->names);
    if (m != NULL) {
        m->users--;
        if (m->received) {
            m->reading = false;
            if (c->result == DONE_OK)
                m->verified = c->read_to;
        }
    }
    step(n->world, n->index, c->token, (uint64_t)c->result);
    uint64_t now = node_enter(n);
    engine_done(n->engine, now, c->token, c->result, c->memory);
    node_settle(n);
}

void completions_turn(node *n)
{
    world *w = n->world;
    uint64_t next = TIME_NEVER;
    for (uint32_t i = 0; i < n->completion_count;) {
        completion c = n->completions[i];
        if (c.due > w->now) {
            next = c.due < next ? c.due : next;
            i++;
            continue;
        }
        n->completions[i] = n->completions[--n->completion_count];
        report(n, &c);
        i = 0;
        next = TIME_NEVER;
    }
    if (next != TIME_NEVER)
        node_wake(n, next - w->now);
}

bool completions_pending(const node *n, uint32_t connection)
{
    for (uint32_t i = 0; i < n->completion_count; i++)
        if (n->completions[i].connection == connection)
            return true;
    return false;
}

/* A1: no length over the limit is ever asked for; and the answer may be no. */
void memory_alloc(node *n, const action *a)
{
    world *w = n->world;
    EXPECT(w, a->length > 0 && a->length <= n->config.max_message,
           "A1: node %u asks for %llu bytes, the limit is %llu", n->index,
           (unsigned long long)a->length, (unsigned long long)n->config.max_message);
    if (w->faulty && chance(w, w->swarm.failing_alloc)) {
        completion_add(n, &(completion){.token = a->token, .result = DONE_FAILED});
        return;
    }
    uint64_t handle = memory_make(n, a->length, MEMORY_ENGINE);
    memory *m = memory_of(n, handle);
    m->received = true;
    memset(m->bytes, 0x5a, m->size);
    completion_add(n, &(completion){.token = a->token, .result = DONE_OK, .memory = handle});
}
