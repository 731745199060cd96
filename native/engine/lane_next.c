/* lane_next.c - which connection has something to do, and what comes first on it? */
#include "engine/lane.h"
#include "engine/outbox.h"
#include "engine/state.h"

static void fill(action *out, action_kind kind, const connection *c)
{
    *out = (action){.kind = kind, .connection = c->id};
}

static bool shut(connection *c, action *out)
{
    if (!c->shut_due || c->second_due)
        return false; /* not before the last word */
    c->shut_due = false;
    fill(out, ACTION_SHUT, c);
    return true;
}

static bool open_it(connection *c, action *out)
{
    if (!c->open_due)
        return false;
    c->open_due = false;
    c->given = true;
    fill(out, ACTION_OPEN, c);
    out->remote = c->remote;
    out->segment_size = c->segment_size;
    out->lane_class = c->lane_class;
    return true;
}

/* Once the welcome is on its way, or has come, all that follows are segments. */
static bool bulk(connection *c, action *out)
{
    if (!c->bulk_due || c->welcome_due)
        return false;
    c->bulk_due = false;
    fill(out, ACTION_BULK, c);
    out->lane_class = c->lane_class;
    out->send = &c->send;
    out->receive = &c->receive;
    return true;
}

static bool put(connection *c, action *out, uint8_t *buffer, size_t size)
{
    if (size == 0)
        return false;
    store_u16(buffer, (uint16_t)size);
    c->unsent += size + RECORD_PREFIX;
    fill(out, ACTION_PUT, c);
    out->bytes = buffer;
    out->size = size + RECORD_PREFIX;
    return true;
}

static bool put_greeting(engine *e, uint64_t now, connection *c, action *out,
                         uint8_t buffer[ACTION_BUFFER])
{
    if (!c->hello_due && !c->welcome_due)
        return false;
    frame f = {.type = c->hello_due ? FRAME_LANE_HELLO : FRAME_LANE_WELCOME, .lane = c->lane};
    if (c->hello_due)
        connection_show_witness(c);
    memcpy(f.nonce, c->nonce_ours, sizeof f.nonce);
    size_t size = outbox_single(e, now, c->session, &f, buffer + RECORD_PREFIX);
    if (!put(c, out, buffer, size))
        return false; /* no room for the packet's record: later */
    c->bulk_due = c->welcome_due && c->lane_class != 0;
    c->hello_due = c->welcome_due = false;
    return true;
}

/* Message 1. A dial that was meanwhile won another way makes a lane of its connection. */
static bool put_first(engine *e, uint64_t now, connection *c, action *out,
                      uint8_t buffer[ACTION_BUFFER])
{
    if (!c->first_due)
        return false;
    if (c->dial->state != SESSION_DIALLING) {
        lane_adopt(e, now, c->id, c->dial);
        return false;
    }
    if (!put(c, out, buffer, dial_write(e, now, c->dial, buffer + RECORD_PREFIX)))
        return false;
    c->first_due = false;
    return true;
}

static bool put_second(engine *e, connection *c, action *out, uint8_t buffer[ACTION_BUFFER])
{
    if (!c->second_due)
        return false;
    memcpy(buffer + RECORD_PREFIX, c->answer, c->answer_size);
    cells_give(&e->cells, c->answer);
    c->answer = NULL;
    c->second_due = false;
    return put(c, out, buffer, c->answer_size);
}

static bool put_record(engine *e, uint64_t now, connection *c, action *out,
                       uint8_t buffer[ACTION_BUFFER])
{
    return put_second(e, c, out, buffer) || put_first(e, now, c, out, buffer) ||
           put_greeting(e, now, c, out, buffer);
}

static bool next_of(engine *e, uint64_t now, unsigned wanted, connection *c, action *out,
                    uint8_t buffer[ACTION_BUFFER])
{
    return ((wanted & ACTION_SHUT) != 0 && shut(c, out)) ||
           ((wanted & ACTION_OPEN) != 0 && open_it(c, out)) ||
           ((wanted & ACTION_BULK) != 0 && bulk(c, out)) ||
           ((wanted & ACTION_PUT) != 0 && put_record(e, now, c, out, buffer)) ||
           ((wanted & ACTION_READ) != 0 && connection_read(e, now, c, out)) ||
           ((wanted & ACTION_WRITE) != 0 && connection_write(e, now, c, out));
}

/* Something is due, though not now or not among the kinds wanted. */
static bool has_more(const connection *c)
{
    bool greeting = c->hello_due || c->welcome_due || c->first_due || c->second_due;
    return c->shut_due || c->open_due || c->bulk_due || greeting || c->read_due ||
           connection_can_write(c);
}

bool lane_next(engine *e, uint64_t now, unsigned wanted, action *out, uint8_t buffer[ACTION_BUFFER])
{
    list_link *at = list_first(&e->acting);
    while (at != NULL) {
        connection *c = CONTAINER_OF(at, connection, acting);
        bool made = next_of(e, now, wanted, c, out, buffer);
        at = list_next(&e->acting, at);
        if (made || !has_more(c))
            list_remove(&c->acting);
        if (made) { /* the others have their turn first */
            if (has_more(c))
                list_push_back(&e->acting, &c->acting);
            return true;
        }
    }
    return false;
}
