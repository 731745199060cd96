/* lane_records.c - bytes of a connection in packet mode become packets and handshake messages. */
#include "engine/incoming.h"
#include "engine/lane.h"
#include "engine/outbox.h"
#include "engine/state.h"
#include "wire/packet.h"

#define ROOM_ESTABLISHED 16384u /* bytes per read of lane 0 */
#define STRANGER_RECORDS 8u     /* as many full ones a stranger may send in all (M4) */

/* True while bytes of it are records. */
static bool speaks_records(const connection *c)
{
    switch ((connection_state)c->state) {
    case CONNECTION_GREETING:
    case CONNECTION_STRANGER:
    case CONNECTION_HANDSHAKING:
    case CONNECTION_PACKETS: return true;
    case CONNECTION_FREE:
    case CONNECTION_OPENING:
    case CONNECTION_BULK:
    case CONNECTION_CLOSING:
    case CONNECTION_STATES: return false;
    }
    return false;
}

static size_t record_left(const connection *c)
{
    return c->record_got < RECORD_PREFIX ? RECORD_PREFIX - c->record_got
                                         : RECORD_PREFIX + c->record_size - c->record_got;
}

size_t lane_room(const engine *e, uint32_t id)
{
    uint32_t index = id & 0xffff;
    if (!slots_match(&e->connection_slots, index, (uint16_t)(id >> 16)))
        return 0;
    const connection *c = &e->connections[index];
    if (!speaks_records(c))
        return 0;
    return c->state == CONNECTION_PACKETS ? ROOM_ESTABLISHED : record_left(c);
}

static void broken(engine *e, uint64_t now, connection *c, drop why)
{
    engine_drop(e, now, why, c->session == NULL ? 0 : c->session->index);
    lane_drop(e, now, c);
}

/* A whole record. Whatever it does, the caller looks at the state again. */
static void got_record(engine *e, uint64_t now, connection *c, uint8_t *bytes, size_t size)
{
    path from = {c->local, c->remote};
    bool stranger = c->state == CONNECTION_STRANGER || c->state == CONNECTION_HANDSHAKING;
    if (c->state == CONNECTION_PACKETS) {
        c->progressed = true;
        c->bad = c->stuck = false; /* late, but alive */
    }
    if (bytes[0] == HELLO_FIRST && !c->ours && stranger) {
        bool verified = dial_got_first(e, now, &from, c->id, bytes, size);
        if (!verified && c->state == CONNECTION_STRANGER)
            lane_drop(e, now, c); /* M4: without a byte, like any other */
    } else if (bytes[0] == HELLO_SECOND && c->ours) {
        dial_got_second(e, now, &from, c->id, bytes, size);
    } else if ((bytes[0] & 0xf0) == PACKET_KIND) {
        bool authentic = incoming_packet(e, now, &from, c->id, bytes, size);
        /* M4: silence to whoever does not verify. */
        if (!authentic && c->state == CONNECTION_STRANGER)
            lane_drop(e, now, c);
    } else {
        broken(e, now, c, DROP_RECORD);
    }
}

/* The record's length has come: is it one we take? */
static bool sized(engine *e, uint64_t now, connection *c)
{
    c->record_size = load_u16(c->prefix);
    if (c->record_size != 0 && c->record_size <= PACKET_BUDGET)
        return true;
    broken(e, now, c, DROP_RECORD);
    return false;
}

static size_t take_prefix(engine *e, uint64_t now, connection *c, const uint8_t *bytes, size_t size)
{
    size_t take = RECORD_PREFIX - c->record_got;
    if (take > size)
        take = size;
    memcpy(c->prefix + c->record_got, bytes, take);
    c->record_got += (uint32_t)take;
    if (c->record_got == RECORD_PREFIX)
        (void)sized(e, now, c);
    return take;
}

/* Most records come whole and are opened where they lie; only a part is kept in a cell. */
static size_t take_body(engine *e, uint64_t now, connection *c, uint8_t *bytes, size_t size)
{
    size_t left = record_left(c);
    size_t take = size < left ? size : left;
    if (c->record == NULL && take == left) {
        c->record_got = 0;
        got_record(e, now, c, bytes, c->record_size);
        return take;
    }
    if (c->record == NULL && (c->record = cells_take(&e->cells, PACKET_BUDGET)) == NULL) {
        broken(e, now, c, DROP_NO_ROOM);
        return take;
    }
    memcpy(c->record + c->record_got - RECORD_PREFIX, bytes, take);
    c->record_got += (uint32_t)take;
    if (take < left)
        return take;
    uint8_t *cell = c->record;
    c->record = NULL; /* it is ours alone now: the record may end the connection */
    c->record_got = 0;
    got_record(e, now, c, cell, c->record_size);
    cells_give(&e->cells, cell);
    return take;
}

void lane_bytes(engine *e, uint64_t now, uint32_t id, uint8_t *bytes, size_t size)
{
    connection *c = lane_by_id(e, id);
    if (c == NULL)
        return;
    if (c->state == CONNECTION_STRANGER || c->state == CONNECTION_HANDSHAKING) {
        c->got_bytes += size;
        if (c->got_bytes > STRANGER_RECORDS * ACTION_BUFFER && !c->ours) {
            broken(e, now, c, DROP_RECORD);
            return;
        }
    }
    while (size > 0 && speaks_records(c)) {
        size_t took = c->record_got < RECORD_PREFIX ? take_prefix(e, now, c, bytes, size)
                                                    : take_body(e, now, c, bytes, size);
        bytes += took;
        size -= took;
    }
}

/* ---- the other way ---- */

void lane_put(connection *c, size_t size)
{
    c->unsent += size;
    c->used = true;
}

void lane_unsent(engine *e, uint32_t id, size_t bytes)
{
    connection *c = lane_by_id(e, id);
    if (c == NULL)
        return;
    bool was_full = c->unsent >= LANE_UNSENT_MAX;
    c->unsent = bytes;
    if (was_full && bytes < LANE_UNSENT_MAX && c->state == CONNECTION_PACKETS)
        outbox_wake(e, c->session);
}

bool lane_can_put(const engine *e, const session *s)
{
    connection *c = lane_zero(e, s);
    return c != NULL && !c->welcome_due && c->unsent < LANE_UNSENT_MAX;
}
