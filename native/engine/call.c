/* call.c - the two state tables, and what the application asks of a call. */
#include "engine/call.h"

#include "engine/call_parts.h"
#include "engine/state.h"

#include <string.h>

#define HANDLE_INDEX 0xffffffu

#define CALL_CELL (REQUEST_ROOM > REPLY_ROOM ? REQUEST_ROOM : REPLY_ROOM)

/* An OFFER's frame without method and extension. */
#define OFFER_OVERHEAD (FRAME_HEAD + 30u)

/* clang-format off */
const uint8_t call_app_table[APP_GONE + 1][CALL_APP_EVENTS] = {
    /*             SUBMITTED  ANSWERED   GIVEN_UP   TELLING   TAKING    FORGOTTEN */
    [APP_FREE] =  {APP_OPEN,  STAY,      NEVER,     NEVER,    NEVER,    NEVER},
    [APP_OPEN] =  {NEVER,     APP_READY, APP_READY, NEVER,    NEVER,    NEVER},
    [APP_READY] = {NEVER,     STAY,      NEVER,     APP_TOLD, NEVER,    NEVER},
    [APP_TOLD] =  {NEVER,     STAY,      NEVER,     NEVER,    APP_GONE, NEVER},
    [APP_GONE] =  {NEVER,     STAY,      NEVER,     NEVER,    NEVER,    APP_FREE},
};
/* clang-format on */

#define WAITING   WIRE_WAITING
#define SENT      WIRE_SENT
#define ACKED     WIRE_ACKED
#define CANCELLED WIRE_CANCELLING
#define NONE      WIRE_NONE

/* clang-format off */
const uint8_t call_wire_table[WIRE_CANCELLING + 1][WIRE_EVENTS] = {
    /*                  QUEUED   DISPATCH GOT_ACK GOT_BUSY GOT_END CANCEL     REQUEUED LEFT */
    [WIRE_NONE] =       {WAITING, NEVER,  STAY,   STAY,    STAY,   NEVER,     NEVER,   NEVER},
    [WIRE_WAITING] =    {NEVER,   SENT,   STAY,   STAY,    STAY,   NEVER,     NEVER,   NONE},
    [WIRE_SENT] =       {NEVER,   NEVER,  ACKED,  WAITING, NONE,   CANCELLED, WAITING, NONE},
    [WIRE_ACKED] =      {NEVER,   NEVER,  STAY,   WAITING, NONE,   CANCELLED, NEVER,   NONE},
    [WIRE_CANCELLING] = {NEVER,   NEVER,  STAY,   NONE,    NONE,   NEVER,     NEVER,   NONE},
};
/* clang-format on */

#undef WAITING
#undef SENT
#undef ACKED
#undef CANCELLED
#undef NONE

void call_app_step(call *c, call_app_event what)
{
    c->app = machine_next(c->app, call_app_table[c->app][what]);
}

void call_wire_step(engine *e, call *c, call_wire_event what)
{
    bool held = c->wire != WIRE_NONE;
    c->wire = machine_next(c->wire, call_wire_table[c->wire][what]);
    e->calls_held += (uint32_t)(c->wire != WIRE_NONE) - (uint32_t)held;
}

void call_free_body(engine *e, call *c)
{
    if (c->body != NULL)
        cells_give(&e->cells, c->body);
    c->body = NULL;
}

static call *call_by_handle(engine *e, uint64_t handle)
{
    uint32_t place = (uint32_t)handle & HANDLE_INDEX;
    if (place >= e->config.calls || e->handles[place] == 0)
        return NULL;
    call *c = &e->calls[e->handles[place] - 1];
    return c->handle == handle ? c : NULL;
}

/* ---- submit ---- */

static call *call_new(engine *e, const call_command *command)
{
    uint32_t index;
    bool room = slots_take(&e->call_slots, &index);
    ENSURE(room); /* calls_held is limited so that each handle finds an entry */
    call *c = &e->calls[index];
    *c = (call){
        .index = index,
        .handle = command->handle,
        .owner = command->owner,
        .due = command->deadline,
        .peer = peer_by_id(e, command->peer),
        .method_size = command->method_size,
        .extension_size = command->extension_size,
        .big = command->memory != 0,
        .memory = command->memory,
        .request.kind = MESSAGE_REQUEST,
        .cancel.kind = MESSAGE_CANCEL,
        .deadline.kind = TIMER_CALL,
    };
    if (c->big)
        c->memory_size = command->size;
    else
        c->body_size = (uint32_t)command->size;
    if (c->peer != NULL)
        c->peer->calls++;
    call_app_step(c, CALL_SUBMITTED);
    e->handles[command->handle & HANDLE_INDEX] = index + 1;
    e->counters.calls++;
    return c;
}

static bool fits(const call_command *command, uint64_t max_message)
{
    uint64_t names = (uint64_t)command->method_size + command->extension_size;
    if (command->memory != 0)
        return command->size <= max_message && names <= PACKET_ROOM - OFFER_OVERHEAD;
    return command->size <= REQUEST_ROOM && names + command->size <= REQUEST_ROOM;
}

/* Method, extension and body are serialised once and kept here: resends send the same (C9). The
 * cell also fits any reply, which takes its place: no reply ever lacks room (Rule 10). */
static bool keep_bytes(engine *e, call *c, const call_command *command)
{
    c->body = cells_take(&e->cells, CALL_CELL);
    if (c->body == NULL)
        return false;
    writer w = writer_of(c->body, CALL_CELL);
    write_bytes(&w, command->method, command->method_size);
    write_bytes(&w, command->extension, command->extension_size);
    write_bytes(&w, command->body, c->body_size);
    return true;
}

/* OK, or why the call cannot even wait. */
static status admit(engine *e, uint64_t now, call *c, const call_command *command)
{
    if (e->closed || e->draining)
        return STATUS_NODE_CLOSED;
    if (c->peer == NULL)
        return STATUS_UNREACHABLE;
    if (!fits(command, e->config.max_message))
        return STATUS_TOO_LARGE;
    if (c->due <= now)
        return STATUS_DEADLINE;
    if (e->calls_held >= e->calls_room - e->config.calls)
        return STATUS_BUSY;
    return keep_bytes(e, c, command) ? STATUS_OK : STATUS_NO_MEMORY;
}

bool call_submit(engine *e, uint64_t now, const call_command *command)
{
    uint32_t place = (uint32_t)command->handle & HANDLE_INDEX;
    if (place >= e->config.calls)
        return false;
    if (e->handles[place] != 0) {
        /* Another generation of a handle whose result was told: it was read, so it was taken. */
        const call *before = &e->calls[e->handles[place] - 1];
        if (before->app == APP_TOLD && before->handle != command->handle)
            call_taken(e, now, before->handle);
    }
    if (e->handles[place] != 0)
        return false;
    call *c = call_new(e, command);
    trace_add(&e->trace, now, TRACE_CALL_OPEN, UINT32_MAX)->id = c->handle;
    status why = admit(e, now, c, command);
    if (why != STATUS_OK) {
        if (c->memory != 0)
            transfer_release_memory(e, c->memory);
        c->memory = 0;
        call_end(e, now, c, CALL_GIVEN_UP, why, RAN_NO);
        return true;
    }
    call_wire_step(e, c, WIRE_QUEUED);
    timer_arm(&e->timers, &c->deadline, c->due);
    call_wait_for_slot(e, now, c);
    return true;
}

/* ---- afterwards ---- */

void call_cancel(engine *e, uint64_t now, uint64_t handle)
{
    call *c = call_by_handle(e, handle);
    if (c != NULL && c->app == APP_OPEN)
        call_give_up(e, now, c, STATUS_CANCELLED);
}

void call_tell(engine *e, uint64_t now, call *c, event *out)
{
    (void)e;
    (void)now;
    *out = (event){
        .kind = EVENT_DONE,
        .status = c->status,
        .outcome = c->outcome,
        .owner = c->owner,
        .peer = c->peer == NULL ? 0 : peer_id(c->peer),
        .id = c->handle,
        .body = c->reply,
        .size = c->reply_size,
        .memory = c->reply_memory,
    };
    call_app_step(c, CALL_TELLING);
}

void call_taken(engine *e, uint64_t now, uint64_t handle)
{
    call *c = call_by_handle(e, handle);
    if (c == NULL || c->app != APP_TOLD)
        return;
    call_app_step(c, CALL_TAKING);
    e->handles[(uint32_t)handle & HANDLE_INDEX] = 0;
    if (c->reply != NULL)
        cells_give(&e->cells, c->reply);
    c->reply = NULL;
    uint64_t credit = c->reply_credit;
    uint8_t pool = c->reply_pool;
    c->reply_credit = 0;
    call_maybe_free(e, c);
    if (credit != 0)
        transfer_credit_back(e, now, pool, credit);
}
