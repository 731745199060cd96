/* credit.c - whose message may take memory now?
 *
 *   pool   [ admitted ......... | room ]   line: first come, first served
 *
 * A2: a grant reserves the whole message or nothing, so nobody holds a part and waits for the rest;
 * one larger than the pool is admitted alone. A3: requests and replies have pools of their own. A4:
 * credit comes back when the handler ended, or when the reply was taken. */
#include "engine/state.h"
#include "engine/transfer.h"

static credit_pool *pool_of(engine *e, bool replies)
{
    return replies ? &e->replies : &e->requests;
}

static bool fits(const credit_pool *pool, uint64_t bytes)
{
    return pool->used == 0 || (pool->used <= pool->limit && bytes <= pool->limit - pool->used);
}

/* Only the first in line is looked at: whoever is larger must not be overtaken for ever. */
static void admit(engine *e, credit_pool *pool)
{
    list_link *at;
    while ((at = list_first(&pool->line)) != NULL) {
        transfer *t = CONTAINER_OF(at, transfer, waiting);
        if (!fits(pool, t->total))
            return;
        list_remove(at);
        pool->used += t->total;
        t->credit = t->total;
        t->alloc_due = true;
        list_push_back(&e->allocs, &t->waiting);
    }
}

void credit_ask(engine *e, transfer *t)
{
    credit_pool *pool = pool_of(e, t->reply_pool);
    list_push_back(&pool->line, &t->waiting);
    admit(e, pool);
}

void credit_withdraw(engine *e, transfer *t)
{
    t->alloc_due = false;
    if (!link_linked(&t->waiting))
        return;
    list_remove(&t->waiting);
    admit(e, pool_of(e, t->reply_pool)); /* it may have been what stood in front */
}

void transfer_credit_back(engine *e, uint64_t now, bool reply_pool, uint64_t bytes)
{
    (void)now;
    credit_pool *pool = pool_of(e, reply_pool);
    ENSURE(bytes <= pool->used);
    pool->used -= bytes;
    admit(e, pool);
}
