/* fuzz_packet.c - any bytes as a packet's header, prologue, frames and parameters: what decodes is
 * encoded again, decodes to the same, and has the size that frame_size says. */
#include "fuzz.h"

#include "wire/frame.h"
#include "wire/packet.h"
#include "wire/parameters.h"

static void check_header(const uint8_t *bytes, size_t size)
{
    packet_header header, again;
    if (!packet_header_read(bytes, size, &header))
        return;
    MUST(size >= PACKET_HEADER && header.epoch < 4);
    uint8_t *out = malloc(size);
    memcpy(out, bytes, size);
    packet_header_write(out, &header);
    MUST(packet_header_read(out, size, &again));
    free(out);
    MUST(header.epoch == again.epoch && header.session == again.session &&
         header.number == again.number);
}

static void check_prologue(reader *input)
{
    packet_prologue prologue;
    uint8_t out[PACKET_PROLOGUE];
    const uint8_t *began = input->at;
    if (!packet_prologue_read(input, &prologue))
        return;
    packet_prologue_write(out, &prologue);
    MUST(memcmp(out, began, sizeof out) == 0);
    if (prologue.ack_largest != 0)
        MUST(packet_acknowledges(&prologue, prologue.ack_largest));
    else
        MUST(!packet_acknowledges(&prologue, 0) && !packet_acknowledges(&prologue, 1));
}

static size_t encode(const frame *f, uint8_t *out, size_t room)
{
    writer w = writer_of(out, room);
    bool fits = frame_write(&w, f);
    MUST(fits == (frame_size(f) <= room));
    MUST(!fits || (size_t)(w.at - out) == frame_size(f));
    return fits ? frame_size(f) : 0;
}

static void check_frame(const frame *f)
{
    uint8_t first[4096], second[4096];
    size_t size = encode(f, first, sizeof first);
    MUST(size > 0);
    reader r = reader_of(first, size);
    frame again;
    MUST(frame_read(&r, &again) == FRAME_READ && reader_left(&r) == 0);
    MUST(again.type == f->type);
    MUST(encode(&again, second, sizeof second) == size && memcmp(first, second, size) == 0);
    uint8_t *tight = malloc(size); /* one byte short: nothing is written */
    MUST(encode(f, tight, size - 1) == 0);
    free(tight);
    (void)frame_elicits(f->type);
    (void)frame_name(f->type);
}

static void check_parameters(const uint8_t *bytes, size_t size)
{
    parameters p, again;
    reader r = reader_of(bytes, size);
    if (!parameters_read(&r, &p))
        return;
    uint8_t out[2 * PARAMETERS_SIZE];
    writer w = writer_of(out, sizeof out);
    parameters_write(&w, &p);
    MUST(w.ok && w.at - out == PARAMETERS_SIZE);
    r = reader_of(out, PARAMETERS_SIZE);
    MUST(parameters_read(&r, &again));
    uint8_t second[2 * PARAMETERS_SIZE];
    w = writer_of(second, sizeof second);
    parameters_write(&w, &again);
    MUST(memcmp(out, second, PARAMETERS_SIZE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > 4000)
        return 0;
    check_header(bytes, size);
    check_parameters(bytes, size);
    reader input = reader_of(bytes, size);
    check_prologue(&input);
    input = reader_of(bytes, size);
    for (frame f; frame_read(&input, &f) == FRAME_READ;)
        check_frame(&f);
    return 0;
}
