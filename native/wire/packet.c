/* packet.c - the packet's header and prologue, to bytes and back. */
#include "wire/packet.h"

bool packet_header_read(const uint8_t *bytes, size_t size, packet_header *out)
{
    if (size < PACKET_HEADER + PACKET_PROLOGUE || (bytes[0] & 0xf3u) != PACKET_KIND ||
        bytes[1] != 0)
        return false;
    out->epoch = (bytes[0] >> 2) & 3u;
    out->session = load_u64(bytes + 2);
    out->number = load_u64(bytes + 10);
    return out->number != 0;
}

void packet_header_write(uint8_t out[PACKET_HEADER], const packet_header *header)
{
    out[0] = (uint8_t)(PACKET_KIND | (uint8_t)((header->epoch & 3u) << 2));
    out[1] = 0;
    store_u64(out + 2, header->session);
    store_u64(out + 10, header->number);
}

bool packet_prologue_read(reader *r, packet_prologue *out)
{
    out->sent_us = read_u32(r);
    out->ack_delay_us = read_u32(r);
    out->ack_largest = read_u64(r);
    out->ack_bits = read_u64(r);
    return r->ok;
}

void packet_prologue_write(uint8_t out[PACKET_PROLOGUE], const packet_prologue *prologue)
{
    store_u32(out, prologue->sent_us);
    store_u32(out + 4, prologue->ack_delay_us);
    store_u64(out + 8, prologue->ack_largest);
    store_u64(out + 16, prologue->ack_bits);
}

bool packet_acknowledges(const packet_prologue *ack, uint64_t number)
{
    if (ack->ack_largest == 0 || number > ack->ack_largest)
        return false;
    uint64_t below = ack->ack_largest - number;
    return below == 0 || (below <= 64 && ((ack->ack_bits >> (below - 1)) & 1u) != 0);
}
