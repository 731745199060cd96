#include "base/crc32c.h"

#include <stdbool.h>

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

/* With carry-less multiplication on 256 bits too: beside the three stripes, whose instruction goes
 * to one port of the processor, four registers are folded, which go to another.
 *
 *   block   [ folded: 64 x 128 bytes | stripe: 64 x 40 | stripe | stripe ]
 *
 * To fold is to multiply what came before by x^(8 * distance) and to add what stands there. The
 * factors are x^(8 * distance + 31) for the low half of 128 bits, x^(8 * distance - 33) for the
 * high half, turned round. The block after this one is fetched meanwhile: its 3.9 cache lines a
 * round lie in four places, too many for the processor to foresee (from memory 15 GB/s
 * without, about 20 with; the three stripes alone 15). */
enum {
    ROUNDS = 64,
    ROUND_FOLDED = 128,
    ROUND_STRIPE = 40,
    FOLDED = ROUNDS * ROUND_FOLDED,
    STRIPE = ROUNDS * ROUND_STRIPE,
    BLOCK = FOLDED + 3 * STRIPE,
};

#define WITH_VPCLMUL       __attribute__((target("avx2,sse4.2,pclmul,vpclmulqdq")))
#define PAST_ONE_STRIPE    UINT32_C(0x22c3799f)
#define PAST_TWO_STRIPES   UINT32_C(0xca110698)
#define PAST_THREE_STRIPES UINT32_C(0xf7ac8f1f)
#define FACTORS(low, high) _mm256_set_epi64x(high, low, high, low)
#define FOLD_BY_ROUND      FACTORS(0x6992cea2, 0x0d3b6092)
#define FOLD_BY_32         FACTORS(0x3da6d0cb, 0xba4fc28e)
#define FOLD_BY_16         _mm_set_epi64x(0x493c7d27, 0xf20c0dfe)

WITH_VPCLMUL static inline __m256i load_32(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

WITH_VPCLMUL static inline __m256i fold(__m256i before, __m256i factors, __m256i here)
{
    __m256i low = _mm256_clmulepi64_epi128(before, factors, 0x00);
    __m256i high = _mm256_clmulepi64_epi128(before, factors, 0x11);
    return _mm256_xor_si256(_mm256_xor_si256(low, high), here);
}

/* What 128 folded bytes come to. */
WITH_VPCLMUL static inline uint64_t fold_up(__m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i all = fold(fold(fold(a, FOLD_BY_32, b), FOLD_BY_32, c), FOLD_BY_32, d);
    __m128i first = _mm256_castsi256_si128(all), last = _mm256_extracti128_si256(all, 1);
    last = _mm_xor_si128(last, _mm_clmulepi64_si128(first, FOLD_BY_16, 0x00));
    last = _mm_xor_si128(last, _mm_clmulepi64_si128(first, FOLD_BY_16, 0x11));
    uint64_t crc = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(last));
    return _mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(last, 1));
}

WITH_VPCLMUL static inline void fetch(const uint8_t *folded, const uint8_t *striped)
{
    _mm_prefetch(folded + BLOCK, _MM_HINT_T0);
    _mm_prefetch(folded + BLOCK + 64, _MM_HINT_T0);
    for (int i = 0; i < 3; i++)
        _mm_prefetch(striped + BLOCK + i * STRIPE, _MM_HINT_T0);
}

WITH_VPCLMUL static uint64_t folded_block(uint64_t crc, const uint8_t *at)
{
    const uint8_t *striped = at + FOLDED;
    uint64_t first = 0, second = 0, third = 0;
    __m256i a = _mm256_set_epi64x(0, 0, 0, (long long)crc);
    __m256i b = load_32(at + 32), c = load_32(at + 64), d = load_32(at + 96);
    a = _mm256_xor_si256(a, load_32(at));
    for (int left = ROUNDS; left > 0; left--) {
        for (int i = 0; i < ROUND_STRIPE; i += 8, striped += 8) {
            first = _mm_crc32_u64(first, load_u64(striped));
            second = _mm_crc32_u64(second, load_u64(striped + STRIPE));
            third = _mm_crc32_u64(third, load_u64(striped + 2 * STRIPE));
        }
        fetch(at, striped);
        if (left == 1)
            break;
        at += ROUND_FOLDED;
        a = fold(a, FOLD_BY_ROUND, load_32(at));
        b = fold(b, FOLD_BY_ROUND, load_32(at + 32));
        c = fold(c, FOLD_BY_ROUND, load_32(at + 64));
        d = fold(d, FOLD_BY_ROUND, load_32(at + 96));
    }
    return move_past(fold_up(a, b, c, d), PAST_THREE_STRIPES) ^ move_past(first, PAST_TWO_STRIPES) ^
           move_past(second, PAST_ONE_STRIPE) ^ third;
}

WITH_VPCLMUL static uint32_t by_vpclmul(uint32_t crc, const uint8_t *at, size_t size)
{
    uint64_t wide = crc;
    for (; size >= BLOCK; at += BLOCK, size -= BLOCK)
        wide = folded_block(wide, at);
    return by_sse42((uint32_t)wide, at, size);
}

static void choose(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul"))
        return;
    bool wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
    chosen = wide ? by_vpclmul : by_sse42;
    chosen_name = wide ? "vpclmul" : "sse4.2";
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
