/* fuzz.h - what all targets share: bytes taken from the input, and a condition that must hold. */
#ifndef RUDP_FUZZ_FUZZ_H
#define RUDP_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition);             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The next n bytes of the input, or zeros behind its end. */
static inline void input_take(reader *input, void *out, size_t n)
{
    size_t there = reader_left(input) < n ? reader_left(input) : n;
    memset(out, 0, n);
    if (there > 0)
        memcpy(out, read_bytes(input, there), there);
}

static inline uint8_t input_byte(reader *input)
{
    uint8_t byte;
    input_take(input, &byte, 1);
    return byte;
}

static inline uint16_t input_word(reader *input)
{
    uint8_t bytes[2];
    input_take(input, bytes, 2);
    return load_u16(bytes);
}

#endif
