#include "seal/segment.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/ensure.h"
#ifdef RUDP_SIMULATION
#include "seal/seal.h"
#endif

/* -- the key of one direction ------------------------------------------------------------------ */

void lane_cipher_start(lane_cipher *c, cipher kind, const uint8_t lane_secret[AEAD_KEY],
                       uint32_t lane, const uint8_t nonce_dialler[SEGMENT_NONCE],
                       const uint8_t nonce_acceptor[SEGMENT_NONCE], bool from_dialler)
{
    static const char what[] = "rudp lane key";
    uint8_t which[5];
    memset(c, 0, sizeof *c);
    store_u32(which, lane);
    which[4] = from_dialler;
    aead_piece pieces[] = {
        {what, sizeof what - 1},
        {which, sizeof which},
        {nonce_dialler, SEGMENT_NONCE},
        {nonce_acceptor, SEGMENT_NONCE},
    };
    aead_hmac(lane_secret, pieces, 4, c->key);
    c->kind = (uint8_t)kind;
    c->ratchet_bytes = SEGMENT_RATCHET_BYTES;
}

void lane_cipher_wipe(lane_cipher *c)
{
    aead_drop(&c->context);
    aead_wipe(c, sizeof *c);
}

/* K7: the body before was the last under the old key, which cannot be found again. */
static void ratchet_if_marked(lane_cipher *c)
{
    static const char what[] = "rudp next lane key";
    uint8_t next[AEAD_KEY];
    if (!c->ratchet)
        return;
    aead_hmac(c->key, &(aead_piece){what, sizeof what - 1}, 1, next);
    memcpy(c->key, next, AEAD_KEY);
    aead_wipe(next, sizeof next);
    c->bytes = 0;
    c->ratchet = false;
}

static bool is_last_under_key(const lane_cipher *c, uint32_t length)
{
    return c->bytes + length >= c->ratchet_bytes;
}

/* -- one sealed part: a head, or a body -------------------------------------------------------- */

/* In plaintext the nonce is summed too, so that a part left out or repeated is noticed (T10). */
static void part_begin(lane_cipher *c, bool sealing, uint64_t nonce)
{
#ifdef RUDP_SIMULATION
    if (sealing && seal_nonce_probe != NULL)
        seal_nonce_probe(c->key, nonce);
#endif
    if (c->kind == CIPHER_PLAIN) {
        uint8_t count[8];
        store_u64(count, nonce);
        c->crc = crc32c(crc32c(0, c->key, AEAD_KEY), count, sizeof count);
        return;
    }
    aead_key(&c->context, c->kind, sealing, c->key);
    aead_begin(&c->context, nonce, NULL, 0);
}

static void plain_tag(const lane_cipher *c, uint8_t tag[AEAD_TAG])
{
    memset(tag, 0, AEAD_TAG);
    store_u32(tag, c->crc);
}

static void sum_part(lane_cipher *c, const uint8_t *in, size_t size)
{
    if (!c->direct || !c->body_open)
        c->crc = crc32c(c->crc, in, size);
}

static void seal_part(lane_cipher *c, const uint8_t *in, uint8_t *out, size_t size)
{
    if (c->kind != CIPHER_PLAIN) {
        aead_update(&c->context, in, out, size);
        return;
    }
    sum_part(c, in, size);
    if (out != NULL && out != in && size > 0)
        memcpy(out, in, size);
}

static void open_part(lane_cipher *c, const uint8_t *in, uint8_t *out, size_t size)
{
    if (c->kind != CIPHER_PLAIN)
        aead_update(&c->context, in, out, size);
    else
        sum_part(c, in, size);
}

static void seal_tag(lane_cipher *c, uint8_t tag[AEAD_TAG])
{
    if (c->kind == CIPHER_PLAIN)
        plain_tag(c, tag);
    else
        aead_seal_finish(&c->context, tag);
}

static bool open_tag(lane_cipher *c, const uint8_t tag[AEAD_TAG])
{
    uint8_t wanted[AEAD_TAG];
    if (c->kind != CIPHER_PLAIN)
        return aead_open_finish(&c->context, tag);
    plain_tag(c, wanted);
    return aead_equal(wanted, tag, AEAD_TAG);
}

/* -- heads ------------------------------------------------------------------------------------- */

/* Both sides count the same, so both change keys behind the same segment. */
static void body_begin(lane_cipher *c, bool sealing, uint32_t length)
{
    c->ratchet = is_last_under_key(c, length);
    c->bytes += length;
    c->body_left = length;
    c->body_open = length > 0;
    if (c->body_open)
        part_begin(c, sealing, 2 * c->counter + 1);
    c->counter++;
}

void segment_protect_header(lane_cipher *c, const segment *s, uint8_t out[SEGMENT_HEADER])
{
    uint8_t fields[SEGMENT_FIELDS] = {0};
    writer w = writer_of(fields, sizeof fields);
    ENSURE(!c->body_open && (s->flags & SEGMENT_RATCHET) == 0);
    ratchet_if_marked(c);
    write_u8(&w, s->kind);
    write_u8(&w, s->flags | (is_last_under_key(c, s->length) ? SEGMENT_RATCHET : 0));
    write_u16(&w, s->slot);
    write_u32(&w, s->sequence);
    write_u64(&w, s->offset);
    write_u32(&w, s->length);
    part_begin(c, true, 2 * c->counter);
    seal_part(c, fields, out, SEGMENT_FIELDS);
    seal_tag(c, out + SEGMENT_FIELDS);
    body_begin(c, true, s->length);
}

bool segment_open_header(lane_cipher *c, const uint8_t in[SEGMENT_HEADER], segment *out)
{
    uint8_t fields[SEGMENT_FIELDS];
    ENSURE(!c->body_open);
    ratchet_if_marked(c);
    memcpy(fields, in, SEGMENT_FIELDS);
    part_begin(c, false, 2 * c->counter);
    open_part(c, fields, fields, SEGMENT_FIELDS);
    if (!open_tag(c, in + SEGMENT_FIELDS))
        return false;
    reader r = reader_of(fields, sizeof fields);
    out->kind = read_u8(&r);
    out->flags = read_u8(&r);
    out->slot = read_u16(&r);
    out->sequence = read_u32(&r);
    out->offset = read_u64(&r);
    out->length = read_u32(&r);
    uint32_t zero = read_u32(&r);
    uint64_t zeros = read_u64(&r);
    bool marked = (out->flags & SEGMENT_RATCHET) != 0;
    if (zero != 0 || zeros != 0 || marked != is_last_under_key(c, out->length))
        return false;
    out->flags &= (uint8_t)~SEGMENT_RATCHET;
    body_begin(c, false, out->length);
    return true;
}

/* -- bodies ------------------------------------------------------------------------------------ */

static void count_down(lane_cipher *c, size_t size)
{
    ENSURE(c->body_open && size <= c->body_left);
    c->body_left -= size;
}

static void body_end(lane_cipher *c)
{
    ENSURE(c->body_open && c->body_left == 0);
    c->body_open = false;
}

void segment_seal_update(lane_cipher *c, const uint8_t *in, uint8_t *out, size_t size)
{
    count_down(c, size);
    seal_part(c, in, out, size);
}

void segment_seal_finish(lane_cipher *c, uint8_t trailer[SEGMENT_TRAILER])
{
    body_end(c);
    seal_tag(c, trailer);
}

void segment_open_update(lane_cipher *c, uint8_t *inout, size_t size)
{
    count_down(c, size);
    open_part(c, inout, inout, size);
}

bool segment_open_finish(lane_cipher *c, const uint8_t trailer[SEGMENT_TRAILER])
{
    body_end(c);
    return open_tag(c, trailer);
}
