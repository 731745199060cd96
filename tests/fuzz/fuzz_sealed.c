/* fuzz_sealed.c - sealed packets: sent, altered, repeated, overtaken, acknowledged, in any order.
 *
 *   input:  cipher 1 | operations: what 1, argument 2
 *
 * Only a packet that was sent opens, unaltered, once, with the bytes it was made of (K7, K8). */
#include "fuzz.h"

#include "seal/seal.h"
#include "wire/packet.h"

#define KEPT 16u

typedef struct {
    uint8_t bytes[PACKET_BUDGET];
    size_t size, plain;
    uint64_t number;
    uint8_t epoch;
    bool opened;
} sent;

typedef struct {
    seal sender, receiver;
    aead_cache cache;
    sent kept[KEPT];
    uint32_t count;
    uint64_t now;
} pair;

static void begin(pair *p, cipher kind, const seal_limits *limits)
{
    session_secrets a = {.send = {1}, .receive = {2}};
    session_secrets b = {.send = {2}, .receive = {1}};
    seal_start(&p->sender, kind, &a, true, p->now, limits);
    seal_start(&p->receiver, kind, &b, false, p->now, limits);
}

static void send(pair *p, uint16_t argument)
{
    sent *s = &p->kept[p->count++ % KEPT];
    s->plain = PACKET_PROLOGUE + argument % (PACKET_ROOM + 1);
    s->number = seal_next_number(&p->sender);
    s->epoch = seal_epoch(&p->sender);
    s->opened = false;
    packet_header header = {s->epoch, 5, s->number};
    packet_header_write(s->bytes, &header);
    memset(s->bytes + PACKET_HEADER, (int)(s->number & 0xff), s->plain);
    s->size = seal_protect(&p->sender, &p->cache, s->bytes, PACKET_HEADER, s->plain, s->number);
    MUST(s->size == PACKET_HEADER + s->plain + seal_tag_size((cipher)p->sender.kind));
}

static seal_verdict open_copy(pair *p, const uint8_t *bytes, size_t size, uint8_t *out,
                              size_t *plain)
{
    packet_header header;
    memcpy(out, bytes, size);
    if (!packet_header_read(out, size, &header))
        return SEAL_SHORT;
    return seal_open(&p->receiver, &p->cache, out, PACKET_HEADER, size, header.number, header.epoch,
                     p->now, plain);
}

static void receive(pair *p, uint16_t argument)
{
    sent *s = &p->kept[argument % KEPT];
    uint8_t out[PACKET_BUDGET];
    size_t plain;
    if (s->size == 0)
        return;
    seal_verdict v = open_copy(p, s->bytes, s->size, out, &plain);
    if (v != SEAL_OK) {
        MUST(s->opened || v == SEAL_LATE || v == SEAL_EPOCH || v == SEAL_TAG);
        return;
    }
    MUST(!s->opened && plain == s->plain);
    for (size_t i = 0; i < plain; i++)
        MUST(out[PACKET_HEADER + i] == (s->number & 0xff));
    s->opened = true;
    if (argument & 0x100)
        seal_acknowledged(&p->sender, s->number, p->now);
}

static void alter(pair *p, uint16_t argument, uint8_t change)
{
    const sent *s = &p->kept[argument % KEPT];
    uint8_t altered[PACKET_BUDGET], out[PACKET_BUDGET];
    size_t plain;
    if (s->size == 0 || change == 0)
        return;
    memcpy(altered, s->bytes, s->size);
    altered[(argument / KEPT) % s->size] ^= change;
    packet_header before, after;
    bool readable = packet_header_read(altered, s->size, &after) &&
                    packet_header_read(s->bytes, s->size, &before);
    if (!readable)
        return;
    MUST(open_copy(p, altered, s->size, out, &plain) != SEAL_OK);
    if (argument & 0x8000)
        MUST(open_copy(p, altered, s->size - 1, out, &plain) != SEAL_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const seal_limits limits = {.packets = 8, .age = 1000, .keep = 100};
    reader input = reader_of(bytes, size);
    pair *p = calloc(1, sizeof *p);
    p->now = 1;
    begin(p, (cipher)(input_byte(&input) % CIPHER_COUNT), &limits);
    for (unsigned i = 0; i < 500 && reader_left(&input) > 0; i++) {
        uint8_t what = input_byte(&input);
        uint16_t argument = input_word(&input);
        switch (what % 5) {
        case 0: send(p, argument); break;
        case 1: receive(p, argument); break;
        case 2: alter(p, argument, what >> 3); break;
        case 3: p->now += argument % 200; break;
        default: seal_tick(&p->sender, p->now, 100); seal_tick(&p->receiver, p->now, 100);
        }
    }
    aead_cache_drop(&p->cache);
    free(p);
    return 0;
}
