/* yardstick.h - what the plain C programs of the benchmarks share.
 *
 *     parent = client            child = server
 *     measures, prints JSON      dies with the parent, at the latest when the alarm rings
 *
 * A yardstick does the same work as rudp with nothing above the sockets: no
 * resend, no framing, no Python. It runs on loopback only, is bounded in time,
 * and prints one line of JSON. CPU time is read from both processes' clocks
 * around the measured stretch, so start-up does not count. */
#ifndef RUDP_BENCHMARKS_YARDSTICK_H
#define RUDP_BENCHMARKS_YARDSTICK_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Names a failed system call and ends the program; the child follows by its death signal. */
static inline void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void check(bool good, const char *what)
{
    if (!good)
        fail(what);
}

static inline uint64_t clock_read(clockid_t id)
{
    struct timespec t;
    check(clock_gettime(id, &t) == 0, "clock_gettime");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_now(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

/* --- options: "--name value" pairs, each with its default and range --- */

static inline const char *option_text(int argc, char **argv, const char *name, const char *standard)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    return standard;
}

static inline double option_number(int argc, char **argv, const char *name, double standard,
                                   double least, double most)
{
    const char *text = option_text(argc, argv, name, NULL);
    char *end = NULL;
    double value = text ? strtod(text, &end) : standard;
    if ((text && (end == text || *end)) || value < least || value > most) {
        fprintf(stderr, "%s must be a number from %g to %g\n", name, least, most);
        exit(2);
    }
    return value;
}

/* Refuses what no option is called, so that a typing error does not measure the default. */
static inline void options_check(int argc, char **argv, const char *const *names)
{
    for (int i = 1; i < argc; i += 2) {
        const char *const *name = names;
        while (*name && strcmp(*name, argv[i]) != 0)
            name++;
        if (!*name || i + 1 == argc) {
            fprintf(stderr,
                    "%s: unknown option or missing value. Options, each with a value:", argv[i]);
            for (name = names; *name; name++)
                fprintf(stderr, " %s", *name);
            fputc('\n', stderr);
            exit(2);
        }
    }
}

/* --- placement: "one" = both on the first CPU, "two" = one each, "free" = not pinned --- */

/* The first or second of the CPUs that this process may run on. */
static inline size_t cpu_allowed(int nth)
{
    cpu_set_t set;
    check(sched_getaffinity(0, sizeof set, &set) == 0, "sched_getaffinity");
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set) && nth-- == 0)
            return cpu;
    }
    fputs("this placement needs two CPUs\n", stderr);
    exit(2);
}

static inline void cpu_pin(size_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

static inline void placement_check(const char *placement)
{
    if (strcmp(placement, "one") && strcmp(placement, "two") && strcmp(placement, "free")) {
        fputs("--cpu must be one, two or free\n", stderr);
        exit(2);
    }
}

/* Starts the server. Returns its pid to the parent and 0 to the child, each where it belongs. */
static inline pid_t server_fork(const char *placement, double seconds)
{
    pid_t parent = getpid();
    bool pinned = strcmp(placement, "free") != 0;
    size_t client_cpu = cpu_allowed(0);
    size_t server_cpu = cpu_allowed(strcmp(placement, "two") == 0);
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
        if (getppid() != parent)
            _exit(1);
    }
    alarm((unsigned)seconds + 20);
    if (pinned)
        cpu_pin(child == 0 ? server_cpu : client_cpu);
    return child;
}

static inline void server_end(pid_t child)
{
    kill(child, SIGKILL);
    check(waitpid(child, NULL, 0) == child, "waitpid");
}

/* --- a stretch of work: wall clock and CPU of both processes --- */

typedef struct {
    clockid_t server_clock;
    uint64_t wall, client, server; /* ns; moments while it runs, durations once stopped */
} stretch;

static inline void stretch_start(stretch *s, pid_t child)
{
    check(clock_getcpuclockid(child, &s->server_clock) == 0, "clock_getcpuclockid");
    s->server = clock_read(s->server_clock);
    s->client = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    s->wall = clock_now();
}

static inline void stretch_stop(stretch *s)
{
    s->wall = clock_now() - s->wall;
    s->client = clock_read(CLOCK_PROCESS_CPUTIME_ID) - s->client;
    s->server = clock_read(s->server_clock) - s->server;
}

/* --- durations, counted in buckets of 100 ns up to 0.1 s; what is longer counts as that --- */

enum { BUCKET_NS = 100, BUCKETS = 1 << 20 };

typedef struct {
    uint64_t total;
    uint32_t count[BUCKETS];
} durations;

static inline void durations_add(durations *d, uint64_t ns)
{
    uint64_t bucket = ns / BUCKET_NS;
    d->count[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    d->total++;
}

/* The duration, in µs, that the given share of all stays below. */
static inline double durations_quantile(const durations *d, double share)
{
    double below = 0;
    for (int i = 0; i < BUCKETS; i++) {
        below += d->count[i];
        if (below >= share * (double)d->total)
            return (i + 0.5) * BUCKET_NS / 1000.0;
    }
    return 0;
}

#endif
