/* frame.c - all frames are described by one table, which the reader, the writer and the size read.
 *
 * Each letter is a field of struct frame, in wire order. A frame that is described once cannot be
 * written one way and read another. */
#include "wire/frame.h"

#include <string.h>

typedef enum {
    END = 0,
    SLOT,      /* u16 */
    SEQUENCE,  /* u32 */
    TSLOT,     /* u16 */
    TSEQUENCE, /* u32 */
    REMAINING, /* u32 */
    STATUS_8,  /* u8 */
    FLAGS,     /* u8 */
    WHAT,      /* u8 */
    STATE,     /* u8 */
    CLASS,     /* u8 */
    LANE,      /* u32 */
    CALLS,     /* u16 */
    TRANSFERS, /* u16 */
    EAGER,     /* u32 */
    TOTAL,     /* u64 */
    POSITION,  /* u64 */
    NUMBER,    /* u64 */
    SENT,      /* u32 */
    HELD,      /* u32 */
    BEAT,      /* 4 times u32 */
    NONCE,     /* 16 bytes */
    METHOD,    /* u8 size, bytes */
    EXTENSION, /* u16 size, bytes */
    BODY,      /* the rest of the frame */
} field;

#define FIELDS_MAX 12
#define TYPES      32

typedef struct {
    const char *name;
    uint8_t fields[FIELDS_MAX];
} layout;

static const layout layouts[TYPES] = {
    [FRAME_PROBE] = {"PROBE", {BEAT}},
    [FRAME_PONG] = {"PONG", {BEAT, NUMBER, SENT, HELD}},
    [FRAME_REQUEST] = {"REQUEST", {SLOT, SEQUENCE, REMAINING, FLAGS, METHOD, EXTENSION, BODY}},
    [FRAME_REPLY] = {"REPLY", {SLOT, SEQUENCE, STATUS_8, FLAGS, BODY}},
    [FRAME_REFUSED] = {"REFUSED", {SLOT, SEQUENCE, STATUS_8}},
    [FRAME_CANCEL] = {"CANCEL", {SLOT, SEQUENCE}},
    [FRAME_GRANTS] = {"GRANTS", {CALLS, TRANSFERS, EAGER}},
    [FRAME_OFFER] = {"OFFER",
                     {TSLOT, TSEQUENCE, WHAT, FLAGS, STATUS_8, SLOT, SEQUENCE, TOTAL, REMAINING,
                      METHOD, EXTENSION}},
    [FRAME_TRANSFER] = {"TRANSFER", {TSLOT, TSEQUENCE, STATE, STATUS_8, LANE, POSITION}},
    [FRAME_QUERY] = {"QUERY", {TSLOT, TSEQUENCE, LANE}},
    [FRAME_ABANDON] = {"ABANDON", {TSLOT, TSEQUENCE}},
    [FRAME_LANE_HELLO] = {"LANE_HELLO", {LANE, NONCE}},
    [FRAME_LANE_WELCOME] = {"LANE_WELCOME", {LANE, NONCE}},
    [FRAME_LANE_ASK] = {"LANE_ASK", {CLASS}},
    [FRAME_LANE_GONE] = {"LANE_GONE", {LANE}},
    [FRAME_LANE_PARK] = {"LANE_PARK", {END}},
    [FRAME_DRAIN] = {"DRAIN", {END}},
    [FRAME_CLOSE] = {"CLOSE", {STATUS_8}},
    [FRAME_CHALLENGE] = {"CHALLENGE", {NUMBER}},
    [FRAME_RESPONSE] = {"RESPONSE", {NUMBER}},
};

static const layout padding = {"PADDING", {END}};

static const layout *layout_of(uint8_t type)
{
    if (type == FRAME_PADDING)
        return &padding;
    return type < TYPES && layouts[type].name != NULL ? &layouts[type] : NULL;
}

const char *frame_name(uint8_t type)
{
    const layout *l = layout_of(type);
    return l == NULL ? "?" : l->name;
}

bool frame_elicits(uint8_t type)
{
    return type != FRAME_PADDING && type != FRAME_CLOSE;
}

static void read_field(reader *r, uint8_t which, frame *f)
{
    switch (which) {
    case SLOT: f->slot = read_u16(r); break;
    case SEQUENCE: f->sequence = read_u32(r); break;
    case TSLOT: f->transfer_slot = read_u16(r); break;
    case TSEQUENCE: f->transfer_sequence = read_u32(r); break;
    case REMAINING: f->remaining_ms = read_u32(r); break;
    case STATUS_8: f->status = read_u8(r); break;
    case FLAGS: f->flags = read_u8(r); break;
    case WHAT: f->what = read_u8(r); break;
    case STATE: f->state = read_u8(r); break;
    case CLASS: f->lane_class = read_u8(r); break;
    case LANE: f->lane = read_u32(r); break;
    case CALLS: f->calls = read_u16(r); break;
    case TRANSFERS: f->transfers = read_u16(r); break;
    case EAGER: f->eager = read_u32(r); break;
    case TOTAL: f->total = read_u64(r); break;
    case POSITION: f->position = read_u64(r); break;
    case NUMBER: f->number = read_u64(r); break;
    case SENT: f->sent_us = read_u32(r); break;
    case HELD: f->held_us = read_u32(r); break;
    case BEAT:
        f->beat.idle_ms = read_u32(r);
        f->beat.oldest_ms = read_u32(r);
        f->beat.queued = read_u32(r);
        f->beat.drops = read_u32(r);
        break;
    case NONCE: {
        const uint8_t *nonce = read_bytes(r, sizeof f->nonce);
        if (nonce != NULL)
            memcpy(f->nonce, nonce, sizeof f->nonce);
        break;
    }
    case METHOD:
        f->method_size = read_u8(r);
        f->method = read_bytes(r, f->method_size);
        break;
    case EXTENSION:
        f->extension_size = read_u16(r);
        f->extension = read_bytes(r, f->extension_size);
        break;
    default:
        f->body_size = (uint32_t)reader_left(r);
        f->body = read_bytes(r, f->body_size);
        break;
    }
}

frame_result frame_read(reader *r, frame *out)
{
    while (reader_left(r) > 0) {
        uint8_t type = read_u8(r);
        uint16_t length = read_u16(r);
        const uint8_t *body = read_bytes(r, length);
        if (!r->ok)
            return FRAME_BAD;
        const layout *l = layout_of(type);
        if (l == NULL && (type & FRAME_SKIPPABLE) == 0)
            return FRAME_BAD;
        if (l == NULL || type == FRAME_PADDING)
            continue;
        reader inner = reader_of(body, length);
        out->type = type;
        for (size_t i = 0; i < FIELDS_MAX && l->fields[i] != END; i++)
            read_field(&inner, l->fields[i], out);
        return inner.ok ? FRAME_READ : FRAME_BAD;
    }
    return FRAME_END;
}

static void write_field(writer *w, uint8_t which, const frame *f)
{
    switch (which) {
    case SLOT: write_u16(w, f->slot); break;
    case SEQUENCE: write_u32(w, f->sequence); break;
    case TSLOT: write_u16(w, f->transfer_slot); break;
    case TSEQUENCE: write_u32(w, f->transfer_sequence); break;
    case REMAINING: write_u32(w, f->remaining_ms); break;
    case STATUS_8: write_u8(w, f->status); break;
    case FLAGS: write_u8(w, f->flags); break;
    case WHAT: write_u8(w, f->what); break;
    case STATE: write_u8(w, f->state); break;
    case CLASS: write_u8(w, f->lane_class); break;
    case LANE: write_u32(w, f->lane); break;
    case CALLS: write_u16(w, f->calls); break;
    case TRANSFERS: write_u16(w, f->transfers); break;
    case EAGER: write_u32(w, f->eager); break;
    case TOTAL: write_u64(w, f->total); break;
    case POSITION: write_u64(w, f->position); break;
    case NUMBER: write_u64(w, f->number); break;
    case SENT: write_u32(w, f->sent_us); break;
    case HELD: write_u32(w, f->held_us); break;
    case BEAT:
        write_u32(w, f->beat.idle_ms);
        write_u32(w, f->beat.oldest_ms);
        write_u32(w, f->beat.queued);
        write_u32(w, f->beat.drops);
        break;
    case NONCE: write_bytes(w, f->nonce, sizeof f->nonce); break;
    case METHOD:
        write_u8(w, f->method_size);
        write_bytes(w, f->method, f->method_size);
        break;
    case EXTENSION:
        write_u16(w, f->extension_size);
        write_bytes(w, f->extension, f->extension_size);
        break;
    default: write_bytes(w, f->body, f->body_size); break;
    }
}

static size_t field_size(uint8_t which, const frame *f)
{
    switch (which) {
    case SLOT:
    case TSLOT:
    case CALLS:
    case TRANSFERS: return 2;
    case STATUS_8:
    case FLAGS:
    case WHAT:
    case STATE:
    case CLASS: return 1;
    case TOTAL:
    case POSITION:
    case NUMBER: return 8;
    case BEAT:
    case NONCE: return 16;
    case METHOD: return 1u + f->method_size;
    case EXTENSION: return 2u + f->extension_size;
    case BODY: return f->body_size;
    default: return 4;
    }
}

size_t frame_size(const frame *f)
{
    const layout *l = layout_of(f->type);
    size_t size = FRAME_HEAD;
    for (size_t i = 0; i < FIELDS_MAX && l->fields[i] != END; i++)
        size += field_size(l->fields[i], f);
    return size;
}

bool frame_write(writer *w, const frame *f)
{
    size_t size = frame_size(f);
    if (!w->ok || size > writer_left(w) || size - FRAME_HEAD > UINT16_MAX)
        return false;
    write_u8(w, f->type);
    write_u16(w, (uint16_t)(size - FRAME_HEAD));
    const layout *l = layout_of(f->type);
    for (size_t i = 0; i < FIELDS_MAX && l->fields[i] != END; i++)
        write_field(w, l->fields[i], f);
    return w->ok;
}
