/* ring_stress.c - many writers, one reader, and the thread sanitizer looking on.
 *
 *   cc -std=gnu11 -O1 -g -fsanitize=thread -I native tests/stress/ring_stress.c \
 *       native/base/ensure.c -pthread -o ring_stress && ./ring_stress
 *
 * Every writer sends rising numbers. The reader checks that each writer's come complete and in
 * order, and that all words of an entry are from the same write. Prints one line and exits 0. */
#include "base/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>

enum { WRITERS = 4, EACH = 50000, COUNT = 16, WORDS = 5 };

typedef struct {
    uint64_t words[WORDS]; /* the writer, the number, and both mixed, three times */
} message;

typedef struct {
    ring *ring;
    uint64_t number;
} writer_job;

static _Alignas(16) uint8_t memory[COUNT * (RING_TURN_SIZE + ((sizeof(message) + 15) & ~15UL))];

static void *write_all(void *argument)
{
    const writer_job *job = argument;
    for (uint64_t i = 0; i < EACH;) {
        uint64_t ticket;
        message *m = ring_reserve(job->ring, &ticket);
        if (m == NULL) {
            sched_yield();
            continue;
        }
        m->words[0] = job->number;
        m->words[1] = i;
        for (int k = 2; k < WORDS; k++)
            m->words[k] = job->number << 32 ^ i;
        ring_publish(job->ring, ticket);
        i++;
    }
    return NULL;
}

static void check(const message *m, uint64_t next[WRITERS])
{
    uint64_t from = m->words[0], number = m->words[1];
    ENSURE(from < WRITERS && number == next[from]);
    for (int k = 2; k < WORDS; k++)
        ENSURE(m->words[k] == (from << 32 ^ number));
    next[from]++;
}

static void read_all(ring *r)
{
    uint64_t next[WRITERS] = {0};
    for (uint64_t left = WRITERS * EACH; left > 0;) {
        const message *m = ring_front(r);
        if (m == NULL) {
            sched_yield();
            continue;
        }
        check(m, next);
        ring_pop(r);
        left--;
    }
}

int main(void)
{
    static ring r;
    ENSURE(ring_size(COUNT, sizeof(message)) == sizeof memory);
    ring_init(&r, memory, COUNT, sizeof(message));
    pthread_t threads[WRITERS];
    writer_job jobs[WRITERS];
    for (uint64_t i = 0; i < WRITERS; i++) {
        jobs[i] = (writer_job){&r, i};
        ENSURE(pthread_create(&threads[i], NULL, write_all, &jobs[i]) == 0);
    }
    read_all(&r);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    ENSURE(ring_empty(&r));
    printf("%d writers, %d messages each: complete and in order\n", WRITERS, EACH);
    return 0;
}
