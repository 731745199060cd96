/* main.c - the simulator's command line.
 *
 *   sim --seeds 200                 seeds 1 to 200, every tenth twice (Q12)
 *   sim --seed 17 --verbose         one seed, one line per thing that happens
 *   sim --seeds 200 --narrow        one fault alone: the path swallows large packets (P10)
 *   sim --seeds 50 --crowded        no fault: does a long message move among short ones? (Q18)
 *   sim --seeds 200 --batches       no fault: do calls end alike however datagrams are batched?
 *   sim --cluster 10000             what 10,000 idle peers cost one node
 *   sim --join 10000                10,000 nodes join at once: do the members notice? (K6)
 *   sim --regressions FILE          the named seeds: number, options, sentence
 *
 * A failure prints the oracle's number, the seed and the line that runs it again; exit status 1. */
#include "world.h"

#include <getopt.h>

static sim_options options = {.seed = 1, .sealed = SIM_BY_SEED};
static bool batches; /* each seed with three sizes of batch, instead of as it is drawn */

static void print_again(FILE *out)
{
    fprintf(out, "again: sim --seed %llu%s%s%s%s", (unsigned long long)options.seed,
            options.udp_only ? " --udp-only" : "", options.lane0_only ? " --lane0-only" : "",
            batches           ? " --batches"
            : options.narrow  ? " --narrow"
            : options.crowded ? " --crowded"
            : options.quiet   ? " --quiet"
                              : "",
            options.sealed == SIM_BY_SEED ? ""
            : options.sealed == SIM_YES   ? " --sealed"
                                          : " --plain");
    if (options.calls != 0)
        fprintf(out, " --calls %u", options.calls);
    fprintf(out, " --verbose\n");
}

/* Called by the address sanitizer before it ends the process. */
void __asan_on_error(void);
void __asan_on_error(void)
{
    print_again(stderr);
}

static bool run_one(bool twice)
{
    if (batches) {
        bool same = batches_run(&options);
        if (!same)
            print_again(stderr);
        return same;
    }
    step_record steps = {.hash = NULL};
    bool good = seed_run(&options, twice ? &steps : NULL);
    if (good && twice) {
        steps.comparing = true;
        good = seed_run(&options, &steps);
    }
    free(steps.hash);
    if (!good)
        print_again(stderr);
    return good;
}

static int usage(void)
{
    fputs("sim [--seed N | --seeds N [--from N]] [--calls N] [--plain | --sealed]\n"
          "    [--udp-only | --lane0-only] [--quiet | --narrow | --crowded | --batches]\n"
          "    [--verbose] [--keep-going]\n"
          "sim --cluster PEERS\n"
          "sim --join NODES\n"
          "sim --regressions FILE\n",
          stderr);
    return 2;
}

typedef struct {
    uint64_t seeds, from;
    const char *regressions;
    uint32_t cluster, join;
    bool keep_going, good;
} plan;

static plan read_options(int count, char **words)
{
    static const struct option known[] = {
        {"seed", 1, NULL, 's'},        {"seeds", 1, NULL, 'n'},    {"from", 1, NULL, 'f'},
        {"calls", 1, NULL, 'c'},       {"cluster", 1, NULL, 'C'},  {"plain", 0, NULL, 'p'},
        {"sealed", 0, NULL, 'e'},      {"udp-only", 0, NULL, 'u'}, {"lane0-only", 0, NULL, 'l'},
        {"quiet", 0, NULL, 'q'},       {"verbose", 0, NULL, 'v'},  {"keep-going", 0, NULL, 'k'},
        {"regressions", 1, NULL, 'r'}, {"narrow", 0, NULL, 'w'},   {"join", 1, NULL, 'j'},
        {"batches", 0, NULL, 'b'},     {"crowded", 0, NULL, 'o'},  {NULL, 0, NULL, 0},
    };
    plan p = {.from = 1, .good = true};
    for (int letter; (letter = getopt_long(count, words, "", known, NULL)) != -1;) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (letter) {
        case 's': options.seed = number; break;
        case 'n': p.seeds = number; break;
        case 'f': p.from = number; break;
        case 'c': options.calls = (uint32_t)number; break;
        case 'C': p.cluster = (uint32_t)number; break;
        case 'j': p.join = (uint32_t)number; break;
        case 'p': options.sealed = SIM_NO; break;
        case 'e': options.sealed = SIM_YES; break;
        case 'u': options.udp_only = true; break;
        case 'l': options.lane0_only = true; break;
        case 'q': options.quiet = true; break;
        case 'b': options.quiet = batches = true; break;
        case 'w': options.quiet = options.narrow = true; break;
        case 'o': options.quiet = options.crowded = true; break;
        case 'v': options.verbose = true; break;
        case 'k': p.keep_going = true; break;
        case 'r': p.regressions = optarg; break;
        default: p.good = false;
        }
    }
    return p;
}

/* Each line of the file: seed, one option or "-", and a sentence for people. */
static int run_regressions(const char *name)
{
    FILE *f = fopen(name, "r");
    if (f == NULL) {
        perror(name);
        return 2;
    }
    char line[300], option[32];
    unsigned long long seed;
    unsigned count = 0, failed = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%llu %31s", &seed, option) != 2)
            continue;
        options = (sim_options){.seed = seed, .sealed = SIM_BY_SEED};
        options.narrow = strcmp(option, "--narrow") == 0;
        options.quiet = options.narrow || strcmp(option, "--quiet") == 0;
        options.lane0_only = strcmp(option, "--lane0-only") == 0;
        options.udp_only = strcmp(option, "--udp-only") == 0;
        if (strcmp(option, "--sealed") == 0 || strcmp(option, "--plain") == 0)
            options.sealed = strcmp(option, "--sealed") == 0 ? SIM_YES : SIM_NO;
        count++;
        failed += !run_one(false);
    }
    fclose(f);
    printf("%u named seeds, %u failed\n", count, failed);
    if (failed > 0) {
        fflush(stdout);
        _Exit(1);
    }
    return 0;
}

int main(int count, char **words)
{
    plan p = read_options(count, words);
    if (!p.good)
        return usage();
    if (p.cluster != 0)
        return cluster_run(p.cluster, &options);
    if (p.join != 0)
        return join_run(p.join, &options);
    if (p.regressions != NULL)
        return run_regressions(p.regressions);
    if (p.seeds == 0) {
        if (!run_one(false))
            _Exit(1); /* what a broken world left is no leak */
        return 0;
    }
    uint64_t failed = 0;
    for (uint64_t i = 0; i < p.seeds; i++) {
        options.seed = p.from + i;
        failed += !run_one(options.seed % 10 == 0);
        if (failed > 0 && !p.keep_going)
            _Exit(1);
    }
    printf("%llu seeds from %llu on, %llu failed\n", (unsigned long long)p.seeds,
           (unsigned long long)p.from, (unsigned long long)failed);
    if (failed > 0) {
        fflush(stdout);
        _Exit(1);
    }
    return 0;
}
