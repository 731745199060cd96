/* batches.c - do results depend on how inputs are batched? (E5, Q12)
 *
 *   one seed --> batches of 1 -----> how each call ended
 *            --> batches of 5 -----> the same?
 *            --> batches of 64 ----> the same?
 *
 * Everything else must be equal, so the world draws nothing while it runs: what applications want
 * is drawn as ever, all the rest is fixed (chance_below). Tables are roomy: one that is full says
 * BUSY to whoever comes last, and that may well depend on who was handled before. */
#include "world.h"

#define MARGIN MS(30) /* so near to its deadline a call may end one way or the other */

void batches_ended(world *w, const sim_call *c, uint64_t size)
{
    endings *all = w->options.endings;
    if (all == NULL || c->plan == 0)
        return;
    if (c->plan > all->room) {
        uint32_t room = 2 * c->plan + 64;
        all->each = realloc(all->each, room * sizeof *all->each);
        memset(all->each + all->room, 0, (room - all->room) * sizeof *all->each);
        all->room = room;
    }
    uint64_t left = c->deadline > w->now ? c->deadline - w->now : 0;
    all->each[c->plan - 1] = (ending){size, left, c->status, c->outcome, true};
}

config batches_config(config c)
{
    c.calls = 512;
    c.serves = 512;
    c.transfers = TRANSFERS_MAX;
    c.connections = 64;
    c.records = 4096;
    c.arena = 64 * 65536;
    c.request_credit = c.reply_credit = 64u << 20;
    c.call_slots = c.call_slots_max = 64;
    c.transfer_slots = c.transfer_slots_max = 16;
    return c;
}

static bool refused(const ending *e)
{
    return e->status == STATUS_NO_METHOD || e->status == STATUS_BAD_REQUEST;
}

static bool alike(const ending *a, const ending *b)
{
    if (!a->done || !b->done) /* of a caller that could not make it */
        return true;
    bool late = a->status == STATUS_DEADLINE || b->status == STATUS_DEADLINE;
    if (late && (a->status == b->status || a->left + b->left < MARGIN))
        return true; /* whether it ran is known or not, by how far it came */
    /* Which refusal, and how long an exception, depends on a number that nested calls share. */
    if (refused(a) && refused(b))
        return a->outcome == b->outcome;
    bool sized = a->status == STATUS_EXCEPTION || a->size == b->size;
    return a->status == b->status && a->outcome == b->outcome && sized;
}

static bool compare(const endings *a, const endings *b, uint64_t seed, uint32_t batch)
{
    uint32_t count = a->room < b->room ? a->room : b->room;
    for (uint32_t i = 0; i < count; i++) {
        const ending *x = &a->each[i], *y = &b->each[i];
        if (alike(x, y))
            continue;
        fprintf(stderr,
                "seed %llu: Q12: planned call %u ends %s, %llu bytes, with one datagram at a time "
                "and %s, %llu bytes, with %u\n",
                (unsigned long long)seed, i + 1, status_name(x->status),
                (unsigned long long)x->size, status_name(y->status), (unsigned long long)y->size,
                batch);
        return false;
    }
    return true;
}

bool batches_run(const sim_options *given)
{
    static const uint32_t sizes[] = {1, 5, ENGINE_BATCH};
    endings first = {.each = NULL}, other = {.each = NULL};
    sim_options options = *given;
    bool good = true;
    for (size_t i = 0; good && i < sizeof sizes / sizeof *sizes; i++) {
        endings *now = i == 0 ? &first : &other;
        options.batch = sizes[i];
        options.endings = now;
        good = seed_run(&options, NULL) && (i == 0 || compare(&first, now, given->seed, sizes[i]));
        free(other.each);
        other = (endings){.each = NULL};
    }
    free(first.each);
    return good;
}
