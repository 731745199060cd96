#include "base/crc32c.h"

#include "base/bytes.h"

/* x^32 + x^28 + ... + 1 with its bits turned round, as everything about this CRC is. */
#define POLYNOMIAL UINT32_C(0x82f63b78)

/* Slicing by 8: tables[k][b] is the effect of byte b followed by k zero bytes, so eight bytes
 * are eight independent look-ups. Filled when the program is loaded, before any thread. */
static uint32_t tables[8][256];

typedef uint32_t crc_function(uint32_t crc, const uint8_t *at, size_t size);

static crc_function *chosen;
static const char *chosen_name = "tables";

static void fill_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        tables[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = tables[k - 1][byte];
            tables[k][byte] = before >> 8 ^ tables[0][before & 0xff];
        }
}

static uint32_t by_tables(uint32_t crc, const uint8_t *at, size_t size)
{
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t v = load_u64(at) ^ crc;
        crc = tables[7][v & 0xff] ^ tables[6][v >> 8 & 0xff] ^ tables[5][v >> 16 & 0xff] ^
              tables[4][v >> 24 & 0xff] ^ tables[3][v >> 32 & 0xff] ^ tables[2][v >> 40 & 0xff] ^
              tables[1][v >> 48 & 0xff] ^ tables[0][v >> 56];
    }
    for (; size > 0; at++, size--)
        crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xff];
    return crc;
}

#if defined(__x86_64__)

#include <immintrin.h>

#define WITH_SSE42 __attribute__((target("sse4.2,pclmul")))

/* Three neighbouring stripes at once, because the instruction takes three cycles but one can
 * begin in each. Then the first two results are moved past the stripes that follow them: to put
 * n zero bytes behind a message is to multiply by x^(8n) modulo the polynomial. `past_one` and
 * `past_two` are x^(8 * stripe - 33) and x^(16 * stripe - 33), turned round: the product of
 * turned polynomials comes out multiplied by x, and the reduction adds x^32. */
typedef struct {
    size_t stripe; /* bytes, a multiple of 8 */
    uint32_t past_one, past_two;
} stripes;

static const stripes long_stripes = {4096, 0x82f89c77, 0x54a86326};
static const stripes short_stripes = {128, 0x0d3b6092, 0xb9e02b86};

WITH_SSE42 static inline uint64_t move_past(uint64_t crc, uint32_t factor)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi32_si128((int)factor), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

WITH_SSE42 static inline uint64_t three_stripes(uint64_t crc, const uint8_t *at, stripes s)
{
    uint64_t first = crc, second = 0, third = 0;
    for (size_t i = 0; i < s.stripe; i += 8) {
        first = _mm_crc32_u64(first, load_u64(at + i));
        second = _mm_crc32_u64(second, load_u64(at + i + s.stripe));
        third = _mm_crc32_u64(third, load_u64(at + i + 2 * s.stripe));
    }
    return move_past(first, s.past_two) ^ move_past(second, s.past_one) ^ third;
}

WITH_SSE42 static uint32_t by_sse42(uint32_t crc, const uint8_t *at, size_t size)
{
    uint64_t wide = crc;
    for (; size >= 3 * long_stripes.stripe; size -= 3 * long_stripes.stripe) {
        wide = three_stripes(wide, at, long_stripes);
        at += 3 * long_stripes.stripe;
    }
    for (; size >= 3 * short_stripes.stripe; size -= 3 * short_stripes.stripe) {
        wide = three_stripes(wide, at, short_stripes);
        at += 3 * short_stripes.stripe;
    }
    for (; size >= 8; at += 8, size -= 8)
        wide = _mm_crc32_u64(wide, load_u64(at));
    crc = (uint32_t)wide;
    for (; size > 0; at++, size--)
        crc = _mm_crc32_u8(crc, *at);
    return crc;
}

static void choose(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) {
        chosen = by_sse42;
        chosen_name = "sse4.2";
    }
}

#elif defined(__aarch64__) && defined(__linux__)

#include <arm_acle.h>
/* tidy: allow sys/auxv.h: what this CPU can do is asked once, and changes no result */
#include <sys/auxv.h>

enum { CAPABILITY_CRC32 = 1 << 7 }; /* HWCAP_CRC32 of <asm/hwcap.h> */

__attribute__((target("+crc"))) static uint32_t by_arm64(uint32_t crc, const uint8_t *at,
                                                         size_t size)
{
    for (; size >= 8; at += 8, size -= 8)
        crc = __crc32cd(crc, load_u64(at));
    for (; size > 0; at++, size--)
        crc = __crc32cb(crc, *at);
    return crc;
}

static void choose(void)
{
    if ((getauxval(AT_HWCAP) & CAPABILITY_CRC32) != 0) {
        chosen = by_arm64;
        chosen_name = "arm64";
    }
}

#else

static void choose(void) {}

#endif

__attribute__((constructor)) static void prepare(void)
{
    fill_tables();
    chosen = by_tables;
    choose();
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return ~chosen(~crc, data, size);
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size)
{
    return ~by_tables(~crc, data, size);
}

const char *crc32c_name(void)
{
    return chosen_name;
}
