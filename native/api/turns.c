/* turns.c - "who runs the turn?" Rules 1, 2, 7, 8, 16 of the boundary; E6, E10.
 *
 *   pending = kind            whoever wants a turn
 *   trylock ---- fails ---->  the holder does it: before it lets go, and once more after
 *      |
 *   while pending: pending = 0, turn
 *   unlock, pending again? once more from trylock */
#define _GNU_SOURCE
#include "api/node.h"

#include <string.h>
#include <sys/epoll.h>

#include "io/clock.h"

#define LOCK_PATIENCE NS_PER_MS

/* Nothing is sent any more, nobody waits any longer; the trace stays readable. What is left unread
 * in the sockets must not keep a loop awake that no turn would ever satisfy, nor the C thread: it
 * is woken and ends. Once: the thread may stumble over its own part after somebody else did. */
void node_break(node *n)
{
    if (atomic_load(&n->status) == RUDP_BROKEN)
        return;
    epoll_ctl(n->core_fd, EPOLL_CTL_DEL, n->loop.udp.fd, NULL);
    epoll_ctl(n->core_fd, EPOLL_CTL_DEL, n->loop.timer_fd, NULL);
    epoll_ctl(n->core_fd, EPOLL_CTL_DEL, n->loop.connections.epfd, NULL);
    memcpy(n->broken, ensure_message, sizeof n->broken);
    atomic_store(&n->status, RUDP_BROKEN);
    events_stopped(n);
    lanes_wake(&n->lanes);
}

bool node_guard(node *n, void (*work)(node *, void *), void *argument)
{
    if (atomic_load(&n->status) == RUDP_BROKEN)
        return false;
    jmp_buf trap;
    if (setjmp(trap) != 0) {
        node_break(n);
        return false;
    }
    ensure_trap = &trap;
    work(n, argument);
    ensure_trap = NULL;
    return true;
}

static void note_answers(node *n)
{
    uint64_t small = engine_small_at(n->engine);
    if (small != n->small_at)
        atomic_store_explicit(&n->asked, false, memory_order_relaxed);
    n->small_at = small;
}

static void turn_work(node *n, void *argument)
{
    const turn_kind *kind = argument;
    uint64_t now = loop_now(&n->loop);
    events_settle(n, now);
    submissions_take(n, now);
    events_report_released(n, now);
    loop_turn(&n->loop, now, *kind);
    if (engine_coming(n->engine))
        atomic_store_explicit(&n->coming, true, memory_order_relaxed);
    engine_waited(n->engine);
    note_answers(n);
    events_report_released(n, now);
}

/* The lock is held. More than a few in a row would hold it too long; the rest is asked for anew. */
static void turns_run(node *n, bool reading)
{
    uint32_t wanted;
    for (int i = 0; i < 3 && (wanted = atomic_exchange(&n->pending, 0)) != 0; i++) {
        turn_kind kind = (turn_kind)(wanted - 1);
        n->reading = reading;
        node_guard(n, turn_work, &kind);
        n->reading = false;
    }
}

/* The bell rings when the lock is free: who hears it may get our CPU at once and wants the lock. */
static void turns_until_free(node *n, bool reading)
{
    do {
        turns_run(n, reading);
        bool announce = n->ring_later;
        n->ring_later = false;
        pthread_mutex_unlock(&n->lock);
        if (announce)
            doorbell_ring(&n->bell);
        /* E6: somebody may have asked between the last look and letting go. */
    } while (atomic_load(&n->pending) != 0 && atomic_load(&n->status) != RUDP_BROKEN &&
             pthread_mutex_trylock(&n->lock) == 0);
}

void node_unlock(node *n)
{
    turns_until_free(n, false);
}

/* Whoever holds the lock may have lost its CPU to us, and what woke us stays there until it has
 * gone on: who returned at once would come back at once, until its time slice is over. */
static bool lock_soon(node *n)
{
#if defined(__SANITIZE_THREAD__) /* it knows no other */
    struct timespec until = clock_deadline(CLOCK_REALTIME, LOCK_PATIENCE);
    return pthread_mutex_timedlock(&n->lock, &until) == 0;
#else
    struct timespec until = clock_deadline(CLOCK_MONOTONIC, LOCK_PATIENCE);
    return pthread_mutex_clocklock(&n->lock, CLOCK_MONOTONIC, &until) == 0;
#endif
}

void node_turn(node *n, turn_kind kind, bool reading)
{
    /* TURN_ALL asks for more than TURN_FLUSH and must not be overwritten by it. */
    uint32_t none = 0, wanted = (uint32_t)kind + 1;
    if (!atomic_compare_exchange_strong(&n->pending, &none, wanted) && kind == TURN_ALL)
        atomic_store(&n->pending, wanted);
    /* Whoever was woken, not who has submitted: the holder does that for them. */
    bool waits = kind == TURN_ALL || (kind == TURN_FLUSH && reading);
    if (pthread_mutex_trylock(&n->lock) == 0 || (waits && lock_soon(n)))
        turns_until_free(n, reading);
}

static void reader_took(node *n, uint32_t taken, uint32_t queued)
{
    atomic_store_explicit(&n->reader_thread, (uintptr_t)pthread_self(), memory_order_relaxed);
    atomic_store(&n->queued, queued);
    way_note(n);
    atomic_fetch_add(&n->ring.taken, taken);
    atomic_store(&n->progressed, true);
    atomic_fetch_add_explicit(&n->moves, 1, memory_order_relaxed);
}

int rudp_turn(rudp_node *n, uint32_t taken, uint32_t queued)
{
    int gate = node_forked(n);
    if (gate != 0)
        return gate;
    if (taken > events_ready(n))
        return RUDP_INVALID;
    reader_took(n, taken, queued);
    if (doorbell_rings(&n->bell))
        doorbell_answer(&n->bell);
    if (atomic_load(&n->status) != RUDP_BROKEN)
        node_turn(n, atomic_exchange(&n->submitted, false) ? TURN_FLUSH : TURN_ALL, true);
    return events_show(n);
}

static bool reader_has_news(node *n, void *context)
{
    (void)context;
    return events_ready(n) > 0;
}

int rudp_linger(rudp_node *n, uint32_t most_us)
{
    int gate = node_forked(n);
    if (gate != 0)
        return gate;
    if (atomic_load(&n->status) != RUDP_BROKEN)
        spin_until(n, &n->lingering, most_us * NS_PER_US, true, reader_has_news, NULL);
    return events_show(n);
}

int rudp_events_wait(rudp_node *n, uint32_t taken, uint32_t queued, uint64_t timeout_us)
{
    int gate = node_forked(n);
    if (gate != 0)
        return gate;
    if (taken > events_ready(n))
        return RUDP_INVALID;
    atomic_fetch_add(&n->users, 1);
    reader_took(n, taken, queued);
    uint64_t deadline = time_after(clock_now(), timeout_us * NS_PER_US);
    int result = waiter_wait(n, &n->reader_word, reader_has_news, NULL, deadline);
    if (result == 0 || events_ready(n) > 0)
        result = events_show(n);
    atomic_fetch_sub(&n->users, 1);
    return result;
}
