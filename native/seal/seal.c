#include "seal/seal.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/ensure.h"
#include "base/time.h"

enum { CRC_SIZE = 4 };

const seal_limits seal_limits_default = {
    .packets = UINT64_C(1) << 24,
    .age = 3600 * NS_PER_S,
    .keep = 3 * NS_PER_S,
};

#ifdef RUDP_SIMULATION
void (*seal_nonce_probe)(const uint8_t key[AEAD_KEY], uint64_t nonce);
#endif

/* -- the window (K8) --------------------------------------------------------------------------- */

/* 2,048 numbers in a row have a bit each, so the ring needs no spare word. */
static uint64_t *window_word(seal *s, uint64_t number)
{
    return &s->window[number / 64 % (SEAL_WINDOW / 64)];
}

static uint64_t window_bit(uint64_t number)
{
    return UINT64_C(1) << number % 64;
}

/* Late and seen numbers are dropped before any cryptography; number 0 is never drawn. */
static seal_verdict window_judge(seal *s, uint64_t number)
{
    if (number > s->highest)
        return SEAL_OK;
    if (number == 0 || s->highest - number >= SEAL_WINDOW)
        return SEAL_LATE;
    return *window_word(s, number) & window_bit(number) ? SEAL_REPLAY : SEAL_OK;
}

/* A new highest number takes over the bits of the oldest ones. */
static void window_note(seal *s, uint64_t number)
{
    if (number > s->highest && number - s->highest >= SEAL_WINDOW)
        memset(s->window, 0, sizeof s->window);
    else
        for (uint64_t between = s->highest + 1; between < number; between++)
            *window_word(s, between) &= ~window_bit(between);
    if (number > s->highest)
        s->highest = number;
    *window_word(s, number) |= window_bit(number);
}

/* -- one packet under one key ------------------------------------------------------------------ */

size_t seal_tag_size(cipher kind)
{
    return kind == CIPHER_PLAIN ? CRC_SIZE : AEAD_TAG;
}

/* K11: the key of a plaintext session is the session id of the receiver, and the whole number is
 * summed as a nonce would be: a header may carry only its low bits. */
static uint32_t plain_sum(const uint8_t key[AEAD_KEY], uint64_t number, const uint8_t *packet,
                          size_t size)
{
    uint8_t before[AEAD_KEY + 8];
    memcpy(before, key, AEAD_KEY);
    store_u64(before + AEAD_KEY, number);
    return crc32c(crc32c(0, before, sizeof before), packet, size);
}

/* A packet to be opened; `end` is where its tag stands. */
typedef struct {
    uint8_t *packet;
    size_t header, end;
    uint64_t number;
} opening;

static bool open_with(const seal *s, aead_cache *cache, const uint8_t key[AEAD_KEY],
                      const opening *o)
{
    if (s->kind == CIPHER_PLAIN)
        return load_u32(o->packet + o->end) == plain_sum(key, o->number, o->packet, o->end);
    aead_context *c = aead_cache_get(cache, s->kind, false, key);
    uint8_t *body = o->packet + o->header;
    aead_begin(c, o->number, o->packet, o->header);
    aead_update(c, body, body, o->end - o->header);
    return aead_open_finish(c, o->packet + o->end);
}

/* -- epochs (K7) ------------------------------------------------------------------------------- */

/* In plaintext too, so that both modes run through the same states. */
static void key_after(const uint8_t key[AEAD_KEY], uint8_t next[AEAD_KEY])
{
    static const char what[] = "rudp next packet key";
    aead_hmac(key, &(aead_piece){what, sizeof what - 1}, 1, next);
}

/* The key itself changes with the first packet of the epoch, where the cache is at hand: no context
 * may outlive its key. */
static void send_rekey(seal *s, aead_cache *cache)
{
    uint8_t next[AEAD_KEY];
    aead_cache_forget(cache, s->send);
    key_after(s->send, next);
    memcpy(s->send, next, AEAD_KEY);
    aead_wipe(next, sizeof next);
    s->stale = false;
}

static void send_advance(seal *s, uint64_t now)
{
    s->stale = true;
    s->send_epoch++;
    s->send_since = now;
    s->epoch_first = s->next;
    s->acknowledged = false;
}

static bool send_due(const seal *s, uint64_t now)
{
    return s->acknowledged && !s->stale &&
           (s->next - s->epoch_first >= s->limits->packets ||
            now >= time_after(s->send_since, s->limits->age));
}

static void receive_advance(seal *s, aead_cache *cache, const uint8_t next[AEAD_KEY], uint64_t now)
{
    aead_cache_forget(cache, s->receive);
    memcpy(s->previous, s->receive, AEAD_KEY);
    memcpy(s->receive, next, AEAD_KEY);
    s->held = true;
    s->receive_epoch++;
    s->receive_since = now;
    s->retire = time_after(now, s->limits->keep);
}

uint8_t seal_epoch(const seal *s)
{
    return s->send_epoch & 3;
}

void seal_acknowledged(seal *s, uint64_t number, uint64_t now)
{
    if (number >= s->epoch_first && number < s->next)
        s->acknowledged = true;
    if (send_due(s, now))
        send_advance(s, now);
}

void seal_tick(seal *s, uint64_t now, uint64_t keep_previous)
{
    if (send_due(s, now))
        send_advance(s, now);
    if (!s->held || now < s->retire)
        return;
    uint64_t keep = keep_previous > s->limits->keep ? keep_previous : s->limits->keep;
    s->retire = time_after(s->receive_since, keep);
    if (now < s->retire)
        return;
    aead_wipe(s->previous, AEAD_KEY);
    s->held = false;
    s->retire = TIME_NEVER;
}

uint64_t seal_deadline(const seal *s)
{
    uint64_t due = s->acknowledged ? time_after(s->send_since, s->limits->age) : TIME_NEVER;
    return due < s->retire ? due : s->retire;
}

/* -- a session --------------------------------------------------------------------------------- */

void seal_start(seal *s, cipher kind, const session_secrets *secrets, bool dialler, uint64_t now,
                const seal_limits *limits)
{
    (void)dialler;
    memset(s, 0, sizeof *s);
    memcpy(s->send, secrets->send, AEAD_KEY);
    memcpy(s->receive, secrets->receive, AEAD_KEY);
    s->next = s->epoch_first = 1;
    s->limits = limits;
    s->send_since = s->receive_since = now;
    s->retire = TIME_NEVER;
    s->kind = (uint8_t)kind;
}

uint64_t seal_next_number(seal *s)
{
    return s->next++;
}

size_t seal_protect(seal *s, aead_cache *cache, uint8_t *packet, size_t header, size_t size,
                    uint64_t number)
{
    size_t end = header + size;
    ENSURE(number > 0 && number < s->next); /* K1: only numbers that were drawn */
    if (s->stale)
        send_rekey(s, cache);
#ifdef RUDP_SIMULATION
    if (seal_nonce_probe != NULL)
        seal_nonce_probe(s->send, number);
#endif
    if (s->kind == CIPHER_PLAIN) {
        store_u32(packet + end, plain_sum(s->send, number, packet, end));
        return end + CRC_SIZE;
    }
    aead_context *c = aead_cache_get(cache, s->kind, true, s->send);
    aead_begin(c, number, packet, header);
    aead_update(c, packet + header, packet + header, size);
    aead_seal_finish(c, packet + end);
    return end + AEAD_TAG;
}

/* At most one key is tried: two bits say which. */
static seal_verdict open_epoch(seal *s, aead_cache *cache, const opening *o, uint8_t epoch,
                               uint64_t now)
{
    uint8_t next[AEAD_KEY];
    bool genuine;
    switch ((epoch - s->receive_epoch) & 3) {
    case 0: return open_with(s, cache, s->receive, o) ? SEAL_OK : SEAL_TAG;
    case 1:
        key_after(s->receive, next);
        genuine = open_with(s, cache, next, o);
        if (genuine)
            receive_advance(s, cache, next, now);
        else
            aead_cache_forget(cache, next);
        aead_wipe(next, sizeof next);
        return genuine ? SEAL_OK : SEAL_TAG;
    case 3:
        if (!s->held)
            return SEAL_EPOCH;
        genuine = open_with(s, cache, s->previous, o);
        aead_cache_forget(cache, s->previous); /* seal_tick has no cache to wipe it from */
        return genuine ? SEAL_OK : SEAL_TAG;
    default: return SEAL_EPOCH;
    }
}

seal_verdict seal_open(seal *s, aead_cache *cache, uint8_t *packet, size_t header, size_t size,
                       uint64_t number, uint8_t epoch, uint64_t now, size_t *plain)
{
    size_t tag = seal_tag_size(s->kind);
    if (size < header + tag)
        return SEAL_SHORT;
    opening o = {packet, header, size - tag, number};
    seal_verdict verdict = window_judge(s, number);
    if (verdict == SEAL_OK)
        verdict = open_epoch(s, cache, &o, epoch, now);
    if (verdict != SEAL_OK)
        return verdict;
    window_note(s, number);
    *plain = size - tag - header;
    return SEAL_OK;
}

void seal_forget(const seal *s, aead_cache *cache)
{
    aead_cache_forget(cache, s->send);
    aead_cache_forget(cache, s->receive);
    aead_cache_forget(cache, s->previous);
}

void seal_wipe(seal *s)
{
    aead_wipe(s, sizeof *s);
}
