/* fuzz_segment.c - a lane's bytes: segments sealed and opened in any pieces, altered anywhere.
 *
 *   input:  cipher 1 | ratchet 2 | per segment: length 2, altered 1, offset 2, change 1, pieces ...
 *
 * What was not altered comes out as it went in; what was altered never verifies (T10), and neither
 * does anything behind it. */
#include "fuzz.h"

#include "seal/segment.h"

#define BODY_MAX 3000u

typedef struct {
    lane_cipher send, receive;
    uint8_t wire[SEGMENT_HEADER + BODY_MAX + SEGMENT_TRAILER];
} lane;

static void start(lane_cipher *c, cipher kind, uint64_t ratchet)
{
    static const uint8_t secret[AEAD_KEY] = {9}, mine[SEGMENT_NONCE] = {1},
                         yours[SEGMENT_NONCE] = {2};
    lane_cipher_start(c, kind, secret, 3, mine, yours, true);
    c->ratchet_bytes = ratchet;
}

static size_t piece(reader *input, size_t left)
{
    size_t size = 1 + (size_t)input_byte(input) * 8;
    return size < left ? size : left;
}

static size_t seal_one(lane *l, reader *input, const segment *s, uint8_t fill)
{
    uint8_t *body = malloc(s->length ? s->length : 1);
    memset(body, fill, s->length);
    segment_protect_header(&l->send, s, l->wire);
    size_t at = SEGMENT_HEADER;
    for (size_t done = 0; done < s->length;) {
        size_t size = piece(input, s->length - done);
        segment_seal_update(&l->send, body + done, l->wire + at, size);
        done += size;
        at += size;
    }
    if (s->length > 0) {
        segment_seal_finish(&l->send, l->wire + at);
        at += SEGMENT_TRAILER;
    }
    free(body);
    MUST(at == segment_wire_size(s->length));
    return at;
}

/* True if header and body verify. */
static bool open_one(lane *l, reader *input, const segment *made, uint8_t fill)
{
    segment s;
    if (!segment_open_header(&l->receive, l->wire, &s))
        return false;
    MUST(s.kind == made->kind && s.slot == made->slot && s.sequence == made->sequence &&
         s.offset == made->offset && s.length == made->length);
    size_t at = SEGMENT_HEADER;
    for (size_t done = 0; done < s.length;) {
        size_t size = piece(input, s.length - done);
        segment_open_update(&l->receive, l->wire + at, size);
        done += size;
        at += size;
    }
    if (s.length == 0)
        return true;
    if (!segment_open_finish(&l->receive, l->wire + at))
        return false;
    for (size_t i = 0; i < s.length; i++)
        MUST(l->wire[SEGMENT_HEADER + i] == fill);
    return true;
}

static void run(lane *l, reader *input)
{
    for (unsigned i = 0; i < 200 && reader_left(input) > 0; i++) {
        segment s = {.kind = SEGMENT_DATA,
                     .slot = input_word(input),
                     .sequence = i,
                     .offset = (uint64_t)input_word(input) << 20,
                     .length = input_word(input) % (BODY_MAX + 1)};
        uint8_t change = input_byte(input) % 8 == 0 ? input_byte(input) : 0;
        uint16_t where = input_word(input);
        size_t size = seal_one(l, input, &s, (uint8_t)i);
        l->wire[where % size] ^= change;
        bool good = open_one(l, input, &s, (uint8_t)i);
        MUST(good == (change == 0));
        if (!good)
            return; /* the lane is lost */
    }
}

/* Bytes that nobody sealed: a header of them never verifies. */
static void run_raw(lane *l, reader *input)
{
    segment s;
    input_take(input, l->wire, SEGMENT_HEADER);
    if (l->receive.kind != CIPHER_PLAIN)
        MUST(!segment_open_header(&l->receive, l->wire, &s));
    else if (segment_open_header(&l->receive, l->wire, &s))
        MUST(s.kind != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    reader input = reader_of(bytes, size);
    uint8_t first = input_byte(&input);
    cipher kind = (cipher)(first % CIPHER_COUNT);
    uint64_t ratchet = 1 + input_word(&input);
    lane *l = calloc(1, sizeof *l);
    start(&l->send, kind, ratchet);
    start(&l->receive, kind, ratchet);
    if (first & 0x80)
        run_raw(l, &input);
    else
        run(l, &input);
    lane_cipher_wipe(&l->send);
    lane_cipher_wipe(&l->receive);
    free(l);
    return 0;
}
