/* credit.c - whose message may take memory now?
 *
 *   pool   [ admitted ......... | room ]   line: first come, first served
 *
 * A2: a grant reserves the whole message or nothing, so nobody holds a part and waits for the rest;
 * one larger than the pool is admitted alone. A3: requests and replies have pools of their own. A4:
 * credit comes back when the handler ended, or when the reply was taken.
 *
 * A1: small messages that were sent without waiting count against a third pool, which nobody waits
 * for: what finds no room there stands in line like any other. Of that pool each session is
 * promised a share while it is watched and has a lane. */
#include "engine/outbox.h"
#include "engine/state.h"
#include "engine/transfer.h"

static bool fits(const credit_pool *pool, uint64_t bytes)
{
    return pool->used == 0 || (pool->used <= pool->limit && bytes <= pool->limit - pool->used);
}

static void reserve(engine *e, credit_pool *pool, transfer *t)
{
    pool->used += t->total;
    t->credit = t->total;
    t->alloc_due = true;
    list_push_back(&e->allocs, &t->waiting);
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
        reserve(e, pool, t);
    }
}

static bool takes_eagerly(const engine *e, const transfer *t)
{
    const credit_pool *pool = &e->pools[CREDIT_EAGER];
    return t->eager && t->session->eager_told > 0 && t->total <= e->config.eager_share &&
           t->total <= pool->limit - pool->used;
}

void credit_ask(engine *e, transfer *t)
{
    if (takes_eagerly(e, t)) {
        t->pool = CREDIT_EAGER;
        reserve(e, &e->pools[CREDIT_EAGER], t);
        return;
    }
    list_push_back(&e->pools[t->pool].line, &t->waiting);
    admit(e, &e->pools[t->pool]);
}

void credit_withdraw(engine *e, transfer *t)
{
    t->alloc_due = false;
    if (!link_linked(&t->waiting))
        return;
    list_remove(&t->waiting);
    admit(e, &e->pools[t->pool]); /* it may have been what stood in front */
}

void transfer_credit_back(engine *e, uint64_t now, uint8_t kind, uint64_t bytes)
{
    (void)now;
    credit_pool *pool = &e->pools[kind];
    ENSURE(bytes <= pool->used);
    pool->used -= bytes;
    admit(e, pool);
}

/* ---- promises (A1) ---- */

void credit_promise_end(engine *e, session *s)
{
    e->eager_promised -= s->eager_told;
    s->eager_told = 0;
}

/* A share whole or not at all. A lane that breaks does not end it: another will be there soon. */
void credit_promise(engine *e, session *s)
{
    uint32_t before = s->eager_told, share = e->config.eager_share;
    bool up = s->state == SESSION_UP || s->state == SESSION_DRAINING;
    bool wanted = up && s->pulse.watched && (before > 0 || lane_usable(e, s, 1) != NULL);
    if (before > 0 && !wanted)
        credit_promise_end(e, s);
    if (before == 0 && wanted && share <= e->config.eager_credit - e->eager_promised) {
        s->eager_told = share;
        e->eager_promised += share;
    }
    if (s->eager_told != before)
        outbox_control(e, s, CONTROL_GRANTS);
}
