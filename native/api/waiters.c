/* waiters.c - "who of many blocking callers runs turns, and how do the others sleep?" Rule 16.
 *
 *   leader      turn, look, spin a little, sleep on the descriptors; alone
 *   follower    sleeps on its own word (a futex) until told: your news, or lead
 *
 * On leaving, the leader tells one follower to lead. A follower that joins tries to lead after it
 * has joined, the leader looks for followers after it has stopped leading: one of them sees the
 * other.
 *
 * Any signal ends the wait: Python must look at it (Rule 17). Hence raw futexes. */
#define _GNU_SOURCE
#include "api/node.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/clock.h"

#define ASIDE         (500 * NS_PER_US) /* after a call's end the next is expected this soon */
#define ASIDE_UNASKED (100 * NS_PER_MS) /* without a request, the dispatcher has time for that */

#define SPIN_MOST (100 * NS_PER_US) /* a peer in Python takes half of it to answer */

enum { WAIT_AGAIN = 1 };

typedef struct {
    list_link link; /* among the followers */
    _Atomic uint32_t *word;
    waiter_ready ready;
    void *context;
    uint64_t deadline;
} waiter;

static struct timespec time_left(uint64_t deadline, uint64_t now)
{
    uint64_t left = deadline > now ? deadline - now : 0;
    if (left > 3600 * NS_PER_S)
        left = 3600 * NS_PER_S; /* the wait is begun again */
    return (struct timespec){.tv_sec = (time_t)(left / NS_PER_S),
                             .tv_nsec = (long)(left % NS_PER_S)};
}

void waiter_tell(node *n, _Atomic uint32_t *word, uint32_t bits)
{
    uint32_t before = atomic_fetch_or(word, bits);
    if (before & WAIT_SLEEPING)
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    if (before & WAIT_POLLING)
        doorbell_ring(&n->kick);
}

void waiters_wake_all(node *n)
{
    pthread_mutex_lock(&n->followers_lock);
    for (list_link *at = list_first(&n->followers); at != NULL; at = list_next(&n->followers, at))
        waiter_tell(n, CONTAINER_OF(at, waiter, link)->word, WAIT_LEAD);
    pthread_mutex_unlock(&n->followers_lock);
    doorbell_ring(&n->kick);
    doorbell_ring(&n->bell);
}

/* ---- leading ---- */

/* Not on the loop's set: its bell may ring for a reader who is busy, and would keep us awake. */
static int leader_sleep(node *n, const waiter *w)
{
    struct pollfd fds[] = {{.fd = n->loop.udp.fd, .events = POLLIN},
                           {.fd = n->loop.timer_fd, .events = POLLIN},
                           {.fd = n->loop.connections.epfd, .events = POLLIN},
                           {.fd = n->kick.fd, .events = POLLIN}};
    int result = 0;
    way_free(n);
    if ((atomic_fetch_or(w->word, WAIT_POLLING) & (WAIT_NEWS | WAIT_LEAD)) == 0) {
        struct timespec left = time_left(w->deadline, clock_now());
        if (ppoll(fds, sizeof fds / sizeof fds[0], &left, NULL) < 0)
            result = RUDP_SIGNAL;
    }
    atomic_fetch_and(w->word, ~(uint32_t)(WAIT_POLLING | WAIT_LEAD));
    if (doorbell_rings(&n->kick))
        doorbell_answer(&n->kick);
    return result;
}

static int leader_round(node *n, waiter *w)
{
    /* Cleared before looking, so that what is told from here on is not overlooked. */
    atomic_fetch_and(w->word, ~(uint32_t)(WAIT_NEWS | WAIT_LEAD));
    atomic_fetch_add_explicit(&n->moves, 1, memory_order_relaxed);
    way_note(n);
    bool flush = atomic_exchange(&n->submitted, false);
    node_turn(n, flush ? TURN_FLUSH : TURN_ALL, w->word == &n->reader_word);
    if (w->ready(n, w->context))
        return 0;
    int stopped = atomic_load(&n->status);
    if (stopped != NODE_OPEN)
        return stopped;
    uint64_t now = clock_now();
    if (now >= w->deadline)
        return RUDP_TIMEOUT;
    if (spin_until(n, &n->leading, SPIN_MOST, w->word == &n->reader_word, w->ready, w->context))
        return 0;
    return leader_sleep(n, w) == 0 ? WAIT_AGAIN : RUDP_SIGNAL;
}

/* Nobody leads now: one of those who sleep takes over. */
static void leader_hand_over(node *n)
{
    pthread_mutex_lock(&n->followers_lock);
    list_link *first = list_first(&n->followers);
    if (first != NULL && atomic_load(&n->leader) == 0)
        waiter_tell(n, CONTAINER_OF(first, waiter, link)->word, WAIT_LEAD);
    pthread_mutex_unlock(&n->followers_lock);
}

/* ---- following ---- */

static int follower_sleep(waiter *w)
{
    uint32_t before = atomic_fetch_or(w->word, WAIT_SLEEPING);
    int result = 0;
    if ((before & (WAIT_NEWS | WAIT_LEAD)) == 0) {
        struct timespec left = time_left(w->deadline, clock_now());
        long slept =
            syscall(SYS_futex, w->word, FUTEX_WAIT_PRIVATE, before | WAIT_SLEEPING, &left, NULL, 0);
        if (slept != 0 && errno == EINTR)
            result = RUDP_SIGNAL;
    }
    atomic_fetch_and(w->word, ~(uint32_t)(WAIT_SLEEPING | WAIT_LEAD));
    return result;
}

static int follower_round(node *n, waiter *w)
{
    atomic_fetch_and(w->word, ~(uint32_t)WAIT_NEWS);
    if (w->ready(n, w->context))
        return 0;
    int stopped = atomic_load(&n->status);
    if (stopped != NODE_OPEN)
        return stopped;
    if (clock_now() >= w->deadline)
        return RUDP_TIMEOUT;
    return follower_sleep(w) == 0 ? WAIT_AGAIN : RUDP_SIGNAL;
}

static void followers_change(node *n, waiter *w, bool join)
{
    pthread_mutex_lock(&n->followers_lock);
    if (join)
        list_push_back(&n->followers, &w->link);
    else
        list_remove(&w->link);
    pthread_mutex_unlock(&n->followers_lock);
}

/* A dispatcher that leads costs every blocking call a hop between threads. So where calls follow
 * each other and no requests come, it stays out of the way: their callers lead, one by one. Until
 * when; 0: it may lead. */
static uint64_t aside_until(const node *n, const waiter *w)
{
    if (w->word != &n->reader_word)
        return 0;
    uint64_t now = clock_now();
    uint64_t until = atomic_load_explicit(&n->called, memory_order_relaxed) + ASIDE;
    uint64_t asked = atomic_load_explicit(&n->requested, memory_order_relaxed);
    return until > now && now > asked + ASIDE_UNASKED ? until : 0;
}

/* Not among the followers: nobody shall wake it only because there is no leader. */
static int stand_aside(node *n, waiter *w, uint64_t until)
{
    uint64_t deadline = w->deadline;
    if (atomic_exchange(&n->submitted, false))
        node_turn(n, TURN_FLUSH, true); /* its replies do not wait for a leader */
    w->deadline = until < deadline ? until : deadline;
    int result = follower_round(n, w);
    w->deadline = deadline;
    return result == RUDP_TIMEOUT && until < deadline ? WAIT_AGAIN : result;
}

int waiter_wait(node *n, _Atomic uint32_t *word, waiter_ready ready, void *context,
                uint64_t deadline)
{
    waiter w = {.word = word, .ready = ready, .context = context, .deadline = deadline};
    bool led = false, following = false;
    int result = WAIT_AGAIN;
    while (result == WAIT_AGAIN) {
        uint64_t aside = aside_until(n, &w);
        if (aside != 0) {
            if (following)
                followers_change(n, &w, false);
            following = false;
            result = stand_aside(n, &w, aside);
        } else if (atomic_exchange(&n->leader, 1) == 0) {
            led = true;
            if (following)
                followers_change(n, &w, false);
            following = false;
            while (result == WAIT_AGAIN && aside_until(n, &w) == 0)
                result = leader_round(n, &w);
            atomic_store(&n->leader, 0);
            if (result == WAIT_AGAIN)
                leader_hand_over(n);
        } else if (!following) {
            node_turn(n, TURN_FLUSH, false); /* what we submitted leaves before we sleep */
            followers_change(n, &w, true);
            following = true; /* and the leader's place is tried once more */
        } else {
            result = follower_round(n, &w);
        }
    }
    if (following)
        followers_change(n, &w, false);
    if (led || following)
        leader_hand_over(n);
    return result;
}
