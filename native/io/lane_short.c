/* lane_short.c - short segments: several leave by one system call, and several come by one.
 *
 *   staged   [tag owed][head body tag][head body tag] ...    copied, sealed, then sent at once
 *   ahead    head <- asked for | body tag head body tag head ...    came along, taken bit by bit
 *
 * A system call costs what copying 30 KB does. So short segments are copied once more, at both
 * ends, to save nearly all of theirs; long ones never are. What is staged counts as written: the
 * lane has it, as the kernel has what it took. */
#define _GNU_SOURCE
#include <string.h>

#include "io/lane_parts.h"
#include "io/scratch.h"

enum {
    TOGETHER = 32 << 10, /* bytes: segments up to here are short */
    STAGED = 128 << 10,  /* bytes staged at a time */
    AHEAD = 128 << 10,   /* bytes that may come along */
};

_Static_assert((int)STAGED <= (int)LANE_SEALED && (int)AHEAD <= (int)LANE_SEALED,
               "they go into scratch buffers");

/* ---- staged ---- */

static lane_command *short_command(list_link *at)
{
    lane_command *c = at == NULL ? NULL : CONTAINER_OF(at, lane_command, link);
    return c != NULL && c->segment.length <= TOGETHER ? c : NULL;
}

static uint8_t *stage_owed(lane *l, uint8_t *out)
{
    memcpy(out, l->owed + SEGMENT_TRAILER - l->owed_left, l->owed_left);
    out += l->owed_left;
    l->owed_left = 0;
    return out;
}

static uint8_t *stage_one(lane *l, const lane_command *c, uint8_t *out)
{
    segment_protect_header(l->send, &c->segment, out);
    out += SEGMENT_HEADER;
    for (uint64_t from = 0; from < c->segment.length;) {
        uint64_t size = lane_seal_range(l, c, from, c->segment.length - from, out);
        from += size;
        out += size;
    }
    if (c->segment.length == 0)
        return out;
    segment_seal_finish(l->send, out);
    return out + SEGMENT_TRAILER;
}

bool lane_stage(lane *l, lane_tools *tools)
{
    list_link *first = list_first(&l->writes);
    if (short_command(first) == NULL || short_command(list_next(&l->writes, first)) == NULL)
        return false;
    uint8_t *begin = scratch_borrow(tools);
    if (begin == NULL)
        return false;
    uint8_t *out = stage_owed(l, begin);
    lane_command *c;
    while ((c = short_command(list_first(&l->writes))) != NULL) {
        size_t size = SEGMENT_HEADER + c->segment.length + SEGMENT_TRAILER;
        if ((size_t)(out - begin) + size > STAGED)
            break;
        list_remove(&c->link);
        out = stage_one(l, c, out);
        lane_command_finish(c, DONE_OK, tools);
    }
    l->staged = (lane_buffer){.bytes = begin, .size = (size_t)(out - begin)};
    return true;
}

static void buffer_end(lane_buffer *b, lane_tools *tools)
{
    scratch_return(tools, b->bytes);
    *b = (lane_buffer){0};
}

size_t lane_write_staged(lane *l, lane_tools *tools)
{
    struct iovec range = {l->staged.bytes + l->staged.gone, l->staged.size - l->staged.gone};
    size_t sent = (size_t)lane_send(l, &range, 1);
    l->staged.gone += sent;
    if (l->staged.gone == l->staged.size)
        buffer_end(&l->staged, tools);
    tools->wrote += sent;
    return sent;
}

/* ---- ahead ---- */

bool lane_ahead(const lane *l)
{
    return l->ahead.size > 0;
}

bool lane_want_ahead(lane *l, lane_tools *tools, struct iovec *room)
{
    if (!tools->ahead || l->in.segment.length > TOGETHER)
        return false;
    l->ahead.bytes = scratch_borrow(tools);
    *room = (struct iovec){l->ahead.bytes, AHEAD};
    return l->ahead.bytes != NULL;
}

void lane_got_ahead(lane *l, lane_tools *tools, size_t size)
{
    l->ahead.size = size;
    if (size == 0)
        buffer_end(&l->ahead, tools);
}

size_t lane_take_ahead(lane *l, lane_tools *tools, const struct iovec *ranges, int count)
{
    lane_buffer *a = &l->ahead;
    size_t before = a->gone;
    for (int i = 0; i < count && a->gone < a->size; i++) {
        size_t left = a->size - a->gone;
        size_t size = ranges[i].iov_len < left ? ranges[i].iov_len : left;
        memcpy(ranges[i].iov_base, a->bytes + a->gone, size);
        a->gone += size;
    }
    size_t taken = a->gone - before;
    if (a->gone == a->size)
        buffer_end(a, tools);
    return taken;
}

void lane_short_end(lane *l, lane_tools *tools)
{
    buffer_end(&l->staged, tools);
    buffer_end(&l->ahead, tools);
}
