/* config.c - the defaults of a real node, the tiny ones of tests, and the ranges. */
#include "engine/config.h"

#include <stddef.h>

#include "base/time.h"
#include "engine/slot_table.h"
#include "seal/aead.h"

#define MIB (UINT64_C(1) << 20)

static void set_times(config *c)
{
    c->max_ack_delay = 25 * NS_PER_MS;
    c->pto_initial = 200 * NS_PER_MS;
    c->pto_max = NS_PER_S;
    c->probe_after = NS_PER_S;
    c->probe_repeat = 150 * NS_PER_MS;
    c->suspect_after = 2 * NS_PER_S;
    c->lost_after = 4 * NS_PER_S;
    c->parked_probe_after = 5 * NS_PER_S;
    c->parked_suspect_after = 7 * NS_PER_S;
    c->parked_lost_after = 9 * NS_PER_S;
    c->hello_retry = 250 * NS_PER_MS;
    c->hello_retry_max = NS_PER_S;
    c->tcp_dial_after = 250 * NS_PER_MS;
    c->half_open = 5 * NS_PER_S;
    c->unconfirmed = 6 * NS_PER_S;
    c->tombstone = 30 * NS_PER_S;
    c->drain_max = 30 * NS_PER_S;
    c->lane_welcome = NS_PER_S;
    c->lane_progress = 2 * NS_PER_S;
    c->lane_retry = 5 * NS_PER_S;
    c->lane0_park = 60 * NS_PER_S;
    c->stranger_life = 5 * NS_PER_S;
    c->own_stall = 200 * NS_PER_MS;
    c->watch_lane0 = 50 * NS_PER_MS;
    c->rekey_after = 3600 * NS_PER_S;
}

config config_default(void)
{
    config c = {
        .sessions = 16384,
        .peers = 16384,
        .calls = 65536,
        .serves = 32768,
        .transfers = 4096,
        .connections = 4096,
        .records = 65536,
        .gone = 16384,
        .arena = 256 * MIB,
        .request_credit = 1024 * MIB,
        .reply_credit = 1024 * MIB,
        .eager_credit = 256 * MIB,
        .eager_share = 256 * 1024,
        .max_message = 4096 * MIB,
        .call_slots = 64,
        .call_slots_max = 4096,
        .transfer_slots = 8,
        .transfer_slots_max = 256,
        .window_initial = 16,
        .window_max = 512,
        .segment_min = 16 * 1024,
        .segment_max = 1024 * 1024,
        .probes_per_second = 20000,
        .strangers = 256,
        .hellos_per_turn = 8,
        .hellos_waiting = 1024,
        .rekey_packets = UINT64_C(1) << 24,
        .tcp = true,
        .udp = true,
        .ciphers = 1u << CIPHER_AES_256_GCM | 1u << CIPHER_CHACHA20_POLY1305,
    };
    set_times(&c);
    return c;
}

config config_tiny(void)
{
    config c = config_default();
    c.sessions = 12;
    c.peers = 6;
    c.calls = 16;
    c.serves = 16;
    c.transfers = 8;
    c.connections = 16;
    c.records = 96;
    c.gone = 8;
    c.arena = 8 * 65536;
    c.request_credit = 96 * 1024;
    c.reply_credit = 96 * 1024;
    c.eager_credit = 40 * 1024;
    c.eager_share = 16 * 1024;
    c.max_message = 256 * 1024;
    c.call_slots = 4;
    c.call_slots_max = 8;
    c.transfer_slots = 2;
    c.transfer_slots_max = 4;
    c.window_max = 16;
    c.segment_min = 2 * 1024;
    c.segment_max = 16 * 1024;
    c.strangers = 4;
    c.hellos_waiting = 4;
    return c;
}

/* A range that a field must lie in. */
typedef struct {
    const char *name;
    uint64_t value, least, most;
} range;

const char *config_fault(const config *c)
{
    uint64_t slots_most = SLOT_FIRST_MAX + SLOT_PAGES * SLOT_PAGE_ENTRIES;
    const range ranges[] = {
        {"sessions", c->sessions, 2, 65535},
        {"peers", c->peers, 1, 1u << 20},
        {"calls", c->calls, 1, 1u << 20},
        {"serves", c->serves, 2, 1u << 20},
        {"transfers", c->transfers, 4, 1u << 16},
        {"connections", c->connections, 2, 1u << 16},
        {"records", c->records, 16, 1u << 20},
        {"gone", c->gone, 1, 1u << 20},
        {"arena", c->arena, 4 * 65536, UINT64_C(1) << 36},
        {"request_credit", c->request_credit, 1, UINT64_C(1) << 46},
        {"reply_credit", c->reply_credit, 1, UINT64_C(1) << 46},
        {"eager_credit", c->eager_credit, 0, UINT64_C(1) << 46},
        {"eager_share", c->eager_share, 1, 1u << 24},
        {"max_message", c->max_message, 1, UINT64_C(1) << 46},
        {"call_slots", c->call_slots, 1, SLOT_FIRST_MAX},
        {"call_slots_max", c->call_slots_max, c->call_slots, slots_most},
        {"transfer_slots", c->transfer_slots, 1, SLOT_FIRST_MAX},
        {"transfer_slots_max", c->transfer_slots_max, c->transfer_slots, slots_most},
        {"max_ack_delay", c->max_ack_delay, 1, c->pto_initial},
        {"suspect_after", c->suspect_after, c->probe_after, c->lost_after},
        {"parked_suspect_after", c->parked_suspect_after, c->parked_probe_after,
         c->parked_lost_after},
        {"unconfirmed", c->unconfirmed, c->half_open + 1, UINT64_MAX - 1},
        {"lane_progress", c->lane_progress, 1, c->lost_after},
        {"window_initial", c->window_initial, 4, c->window_max},
        {"segment_min", c->segment_min, 1024, c->segment_max},
        {"segment_max", c->segment_max, 1024, 1u << 24},
        {"udp", (uint64_t)(c->udp || c->tcp), 1, 1},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most)
            return ranges[i].name;
    return NULL;
}
