/* parameters.c - the handshake's payload, to bytes and back. */
#include "wire/parameters.h"

void parameters_write(writer *w, const parameters *p)
{
    write_u16(w, PARAMETERS_SIZE - 2u);
    write_u64(w, p->incarnation);
    write_u64(w, p->counter);
    write_u64(w, p->doubted);
    write_u64(w, p->max_message);
    write_u32(w, p->max_ack_delay_us);
    write_u32(w, p->lost_ms);
    write_u16(w, p->port);
    write_u16(w, p->budget);
    write_u16(w, p->calls);
    write_u16(w, p->transfers);
    write_u8(w, p->ciphers);
    write_u8(w, p->verdict);
}

bool parameters_read(reader *r, parameters *out)
{
    uint16_t size = read_u16(r);
    const uint8_t *bytes = read_bytes(r, size);
    if (!r->ok)
        return false;
    reader inner = reader_of(bytes, size);
    out->incarnation = read_u64(&inner);
    out->counter = read_u64(&inner);
    out->doubted = read_u64(&inner);
    out->max_message = read_u64(&inner);
    out->max_ack_delay_us = read_u32(&inner);
    out->lost_ms = read_u32(&inner);
    out->port = read_u16(&inner);
    out->budget = read_u16(&inner);
    out->calls = read_u16(&inner);
    out->transfers = read_u16(&inner);
    out->ciphers = read_u8(&inner);
    out->verdict = read_u8(&inner);
    return inner.ok;
}
