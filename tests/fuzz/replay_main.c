/* replay_main.c - runs a fuzz target without libFuzzer.
 *
 *   build/fuzz/packet FILE...                     each file once: the committed corpus
 *   build/fuzz/packet --seconds 60 FILE...        and then mutations of them, without coverage:
 *                                                 less than libFuzzer finds, but gcc alone will do
 *
 * The mutation that is running is in a file while it runs (--last FILE), so a crash leaves it. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/random.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define SIZE_MAX_INPUT 4096u
#define INPUTS_MAX     4096u

typedef struct {
    uint8_t *bytes;
    size_t size;
} input;

static input inputs[INPUTS_MAX];
static size_t input_count;

static bool input_read(const char *name)
{
    FILE *f = fopen(name, "rb");
    if (f == NULL || input_count == INPUTS_MAX) {
        perror(name);
        return false;
    }
    uint8_t bytes[SIZE_MAX_INPUT];
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    inputs[input_count].bytes = malloc(size ? size : 1);
    inputs[input_count].size = size;
    memcpy(inputs[input_count++].bytes, bytes, size);
    return true;
}

/* A copy of exactly its size, so that the sanitizer sees a read past the end. */
static void run(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static size_t mutate(random_source *chance, uint8_t *bytes, size_t size)
{
    uint64_t changes = 1 + random_below(chance, 8);
    for (uint64_t i = 0; i < changes; i++) {
        size_t at = size ? (size_t)random_below(chance, size) : 0;
        switch (random_below(chance, 6)) {
        case 0: /* shorter */ size = at; break;
        case 1: /* longer */
            for (uint64_t more = random_below(chance, 64); more > 0 && size < SIZE_MAX_INPUT;
                 more--)
                bytes[size++] = (uint8_t)random_u64(chance);
            break;
        case 2: /* a piece of another */
            if (input_count > 0) {
                const input *other = &inputs[random_below(chance, input_count)];
                size_t from = other->size ? (size_t)random_below(chance, other->size) : 0;
                size_t most = other->size - from;
                most = most < SIZE_MAX_INPUT - at ? most : SIZE_MAX_INPUT - at;
                memcpy(bytes + at, other->bytes + from, most);
                size = at + most > size ? at + most : size;
            }
            break;
        case 3: /* an edge */
            if (size > 0)
                bytes[at] = (uint8_t[]){0, 1, 0x7f, 0x80, 0xff}[random_below(chance, 5)];
            break;
        case 4: /* one bit */
            if (size > 0)
                bytes[at] ^= (uint8_t)(1u << random_below(chance, 8));
            break;
        default:
            if (size > 0)
                bytes[at] = (uint8_t)random_u64(chance);
        }
    }
    return size;
}

static void write_last(const char *name, const uint8_t *bytes, size_t size)
{
    FILE *f = name == NULL ? NULL : fopen(name, "wb");
    if (f == NULL)
        return;
    fwrite(bytes, 1, size, f);
    fclose(f);
}

static void fuzz(uint64_t seconds, const char *last)
{
    random_source chance;
    uint8_t seed[RANDOM_SEED_SIZE] = "fuzz", bytes[SIZE_MAX_INPUT];
    time_t began = time(NULL);
    memcpy(seed + 8, &began, sizeof began);
    random_init(&chance, seed);
    uint64_t runs = 0;
    for (; (uint64_t)(time(NULL) - began) < seconds; runs++) {
        size_t size = 0;
        if (input_count > 0) {
            const input *from = &inputs[random_below(&chance, input_count)];
            size = from->size;
            memcpy(bytes, from->bytes, size);
        }
        size = mutate(&chance, bytes, size);
        write_last(last, bytes, size);
        run(bytes, size);
    }
    printf("%llu mutations\n", (unsigned long long)runs);
}

int main(int count, char **words)
{
    uint64_t seconds = 0;
    const char *last = NULL;
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--seconds") == 0 && i + 1 < count)
            seconds = strtoull(words[++i], NULL, 10);
        else if (strcmp(words[i], "--last") == 0 && i + 1 < count)
            last = words[++i];
        else if (!input_read(words[i]))
            return 1;
    }
    for (size_t i = 0; i < input_count; i++)
        run(inputs[i].bytes, inputs[i].size);
    printf("%s: %zu inputs\n", words[0], input_count);
    if (seconds > 0)
        fuzz(seconds, last);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].bytes);
    return 0;
}
