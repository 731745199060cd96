/* lane.c - one bulk lane: segments out of memory and into it. */
#define _GNU_SOURCE
#include "io/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/ensure.h"
#include "io/lane_parts.h"
#include "io/parcel.h"
#include "io/pool.h"
#include "io/scratch.h"
#include "io/sockets.h"

void lane_init(lane *l, uint32_t connection, int fd)
{
    *l = (lane){.connection = connection, .fd = fd};
    l->in.lowat = 1;
    list_init(&l->writes);
}

/* The lane is over, once; `how` is what the engine will be told. */
static void lane_end(lane *l, connection_news how)
{
    if (!l->ended) {
        l->ended = true;
        l->how = how;
    }
}

void lane_command_finish(lane_command *c, done_result result, lane_tools *tools)
{
    c->result = result;
    list_push_back(tools->done, &c->link);
}

static size_t ranges_size(const struct iovec *ranges, uint32_t count)
{
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += ranges[i].iov_len;
    return size;
}

/* ---- writing ---- */

static bool cipher_is_plain(const lane_cipher *c)
{
    return c->kind == CIPHER_PLAIN;
}

uint64_t lane_seal_range(lane *l, const lane_command *c, uint64_t from, uint64_t size, uint8_t *out)
{
    struct iovec ranges[LANE_RANGES];
    uint32_t count =
        memory_range(c->memory, c->segment.offset + from, size, ranges, LANE_RANGES, &size);
    for (uint32_t i = 0; i < count; i++) {
        segment_seal_update(l->send, ranges[i].iov_base, out, ranges[i].iov_len);
        if (out != NULL)
            out += ranges[i].iov_len;
    }
    return size;
}

static void lane_begin_write(lane *l, lane_tools *tools)
{
    list_link *first = list_first(&l->writes);
    if (first == NULL)
        return;
    list_remove(first);
    l->out = (lane_writing){.command = CONTAINER_OF(first, lane_command, link)};
    if (!cipher_is_plain(l->send)) {
        l->out.scratch = scratch_borrow(tools);
        if (l->out.scratch == NULL) {
            lane_end(l, CONNECTION_BROKE);
            return;
        }
    }
    l->out.sums_after =
        cipher_is_plain(l->send) && !l->send->direct && l->out.command->segment.length > LANE_SHORT;
    segment_protect_header(l->send, &l->out.command->segment, l->out.head);
}

/* How much moves by one system call. */
static uint64_t piece_of(bool sealed, uint64_t left, uint32_t step)
{
    uint64_t most = sealed && step > LANE_SEALED ? LANE_SEALED : step;
    return left < most ? left : most;
}

/* K1, T6: each piece is read once when it is sealed, twice in plaintext (writev and sum). */
static void lane_seal_piece(lane *l, const lane_tools *tools)
{
    lane_writing *w = &l->out;
    const segment *s = &w->command->segment;
    if (w->sealed == w->sent && w->sealed < s->length) {
        uint64_t piece = piece_of(w->scratch != NULL, s->length - w->sealed, tools->step);
        w->scratch_from = w->sealed;
        if (!w->sums_after)
            piece = lane_seal_range(l, w->command, w->sealed, piece, w->scratch);
        w->sealed += piece;
    }
    if (w->sealed == s->length && !w->complete && !w->sums_after) {
        if (s->length > 0)
            segment_seal_finish(l->send, w->trailer);
        w->complete = true;
    }
}

static struct iovec lane_owed(const lane *l)
{
    const uint8_t *rest = l->owed + SEGMENT_TRAILER - l->owed_left;
    return (struct iovec){(void *)(uintptr_t)rest, l->owed_left};
}

/* What may leave and has not: the tag before, the head, the piece, the tag. */
static uint32_t lane_gather(const lane *l, struct iovec *out)
{
    const lane_writing *w = &l->out;
    const segment *s = &w->command->segment;
    uint32_t count = 0;
    uint64_t covered = w->sealed - w->sent;
    if (l->owed_left > 0)
        out[count++] = lane_owed(l);
    if (w->head_sent < SEGMENT_HEADER)
        out[count++] = (struct iovec){(void *)(uintptr_t)(w->head + w->head_sent),
                                      SEGMENT_HEADER - w->head_sent};
    if (w->scratch != NULL && covered > 0)
        out[count++] = (struct iovec){w->scratch + (w->sent - w->scratch_from), (size_t)covered};
    else if (covered > 0)
        count += memory_range(w->command->memory, s->offset + w->sent, covered, out + count,
                              LANE_RANGES, &covered);
    if (w->complete && s->length > 0 && w->sent + covered == s->length)
        out[count++] = (struct iovec){(void *)(uintptr_t)(w->trailer + w->trailer_sent),
                                      SEGMENT_TRAILER - w->trailer_sent};
    return count;
}

/* The next `most` bytes of what was to leave, or as many as did; `size` is what did, less these. */
static size_t take_from(size_t *size, size_t most)
{
    size_t part = most < *size ? most : *size;
    *size -= part;
    return part;
}

static void lane_count_sent(lane *l, size_t size)
{
    lane_writing *w = &l->out;
    l->owed_left -= (uint32_t)take_from(&size, l->owed_left);
    w->head_sent += (uint32_t)take_from(&size, SEGMENT_HEADER - w->head_sent);
    w->sent += take_from(&size, w->sealed - w->sent);
    w->trailer_sent += (uint32_t)size;
}

/* What has just left is summed, while the kernel's copy of it has it in the cache. */
static void lane_sum_sent(lane *l, uint64_t from)
{
    while (from < l->out.sent)
        from += lane_seal_range(l, l->out.command, from, l->out.sent - from, NULL);
    if (from < l->out.command->segment.length)
        return;
    segment_seal_finish(l->send, l->owed);
    l->owed_left = SEGMENT_TRAILER;
}

static bool lane_has_sent(const lane_writing *w)
{
    uint32_t length = w->command->segment.length;
    return w->head_sent == SEGMENT_HEADER && w->sent == length &&
           (length == 0 || w->sums_after || w->trailer_sent == SEGMENT_TRAILER);
}

ssize_t lane_send(lane *l, struct iovec *ranges, uint32_t count)
{
    struct msghdr header = {.msg_iov = ranges, .msg_iovlen = count};
    ssize_t sent = sendmsg(l->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        if (errno == EAGAIN)
            l->writable = false;
        else if (errno != EINTR)
            lane_end(l, CONNECTION_BROKE);
        return 0;
    }
    if ((size_t)sent < ranges_size(ranges, count))
        l->writable = false;
    return sent;
}

static void lane_write_prefix(lane *l)
{
    struct iovec range = {l->prefix + l->prefix_sent, l->prefix_size - l->prefix_sent};
    l->prefix_sent += (size_t)lane_send(l, &range, 1);
    if (l->prefix_sent == l->prefix_size) {
        free(l->prefix);
        l->prefix = NULL;
    }
}

static void lane_write_owed(lane *l)
{
    if (l->owed_left == 0 || !l->writable)
        return;
    struct iovec range = lane_owed(l);
    l->owed_left -= (uint32_t)lane_send(l, &range, 1);
}

static size_t lane_write_piece(lane *l, lane_tools *tools)
{
    struct iovec ranges[LANE_RANGES + 3];
    uint64_t before = l->out.sent;
    lane_seal_piece(l, tools);
    size_t sent = (size_t)lane_send(l, ranges, lane_gather(l, ranges));
    lane_count_sent(l, sent);
    if (l->out.sums_after)
        lane_sum_sent(l, before);
    if (lane_has_sent(&l->out)) {
        lane_command_finish(l->out.command, DONE_OK, tools);
        l->out.command = NULL;
        scratch_return(tools, l->out.scratch);
        l->out.scratch = NULL;
    }
    return sent;
}

static void lane_write(lane *l, lane_tools *tools)
{
    size_t moved = 0;
    while (l->writable && !l->ended && moved < tools->step) {
        if (l->prefix != NULL) {
            lane_write_prefix(l);
            continue;
        }
        if (l->staged.bytes != NULL || (l->out.command == NULL && lane_stage(l, tools))) {
            moved += lane_write_staged(l, tools);
            continue;
        }
        if (l->out.command == NULL)
            lane_begin_write(l, tools);
        if (l->ended)
            return;
        if (l->out.command == NULL) {
            if (moved == 0) /* else the engine has not been asked for the segment to go with it */
                lane_write_owed(l);
            return;
        }
        size_t sent = lane_write_piece(l, tools);
        moved += sent;
        tools->wrote += sent;
    }
}

/* ---- reading ---- */

int lane_lowat(const lane_reading *r)
{
    if (r->phase != LANE_BODY || r->command == NULL)
        return 1;
    uint64_t rest = r->command->segment.length - r->have + SEGMENT_TRAILER - r->trailer_have;
    return rest < LANE_STEP ? (int)rest : LANE_STEP;
}

/* Nothing more for now: the kernel tells us when enough has come (Rule 26). */
static void lane_wait_readable(lane *l)
{
    l->readable = false;
    int lowat = lane_lowat(&l->in);
    if (lowat != l->in.lowat && socket_set(l->fd, SOL_SOCKET, SO_RCVLOWAT, lowat))
        l->in.lowat = lowat;
}

/* What came along before, or one system call. `ranges` has room for one more. */
static size_t lane_receive(lane *l, lane_tools *tools, struct iovec *ranges, int count)
{
    l->drained = false;
    if (lane_ahead(l))
        return lane_take_ahead(l, tools, ranges, count);
    size_t wanted = ranges_size(ranges, (uint32_t)count);
    bool along = lane_want_ahead(l, tools, &ranges[count]);
    size_t most = wanted + (along ? ranges[count].iov_len : 0);
    ssize_t got = readv(l->fd, ranges, count + along);
    l->drained = got > 0 && (size_t)got < most;
    if (along)
        lane_got_ahead(l, tools, got > 0 && (size_t)got > wanted ? (size_t)got - wanted : 0);
    if (got > 0)
        return (size_t)got < wanted ? (size_t)got : wanted;
    if (got == 0)
        lane_end(l, CONNECTION_ENDED);
    else if (errno == EAGAIN)
        lane_wait_readable(l);
    else if (errno != EINTR)
        lane_end(l, CONNECTION_BROKE);
    return 0;
}

/* T10: no length is believed before its tag. */
static void lane_head_came(lane *l)
{
    if (l->in.head_have < SEGMENT_HEADER)
        return;
    l->in.head_have = 0;
    if (!segment_open_header(l->receive, l->in.head, &l->in.segment)) {
        lane_end(l, CONNECTION_BROKE);
        return;
    }
    l->in.phase = LANE_WAIT;
    l->segment_came = true;
}

static void lane_read_head(lane *l, lane_tools *tools)
{
    struct iovec ranges[2] = {{l->in.head + l->in.head_have, SEGMENT_HEADER - l->in.head_have}};
    l->in.head_have += (uint32_t)lane_receive(l, tools, ranges, 1);
    lane_head_came(l);
    if (l->drained)
        lane_wait_readable(l);
}

static void lane_body_came(lane *l, lane_tools *tools)
{
    lane_command *c = l->in.command;
    bool whole = c->segment.length == 0 || segment_open_finish(l->receive, l->in.trailer);
    l->in.command = NULL;
    l->in.phase = LANE_HEAD;
    lane_command_finish(c, whole ? DONE_OK : DONE_CORRUPT, tools);
    if (!whole)
        lane_end(l, CONNECTION_BROKE);
}

/* Memory for the next bytes of the body: final, or the sink. */
static struct iovec lane_body_range(const lane *l, const lane_tools *tools)
{
    const lane_command *c = l->in.command;
    uint64_t left = c->segment.length - l->in.have;
    bool sealed = !cipher_is_plain(l->receive);
    struct iovec range = {tools->sink, (size_t)piece_of(sealed, left, tools->take)};
    uint64_t covered;
    if (c->memory != 0 && left > 0)
        memory_range(c->memory, c->segment.offset + l->in.have, range.iov_len, &range, 1, &covered);
    return range;
}

/* One system call for the rest of the body, the tag and, if it has come, the next head. */
static size_t lane_read_body(lane *l, lane_tools *tools)
{
    lane_reading *r = &l->in;
    struct iovec ranges[4] = {lane_body_range(l, tools)};
    size_t body = ranges[0].iov_len, trailer = 0;
    int count = 1;
    if (r->have + body == r->command->segment.length) {
        trailer = SEGMENT_TRAILER - r->trailer_have;
        ranges[1] = (struct iovec){r->trailer + r->trailer_have, trailer};
        ranges[2] = (struct iovec){r->head, SEGMENT_HEADER};
        count = 3;
    }
    size_t got = lane_receive(l, tools, ranges, count);
    if (got == 0)
        return 0;
    size_t in_body = got < body ? got : body;
    if (in_body > 0)
        segment_open_update(l->receive, ranges[0].iov_base, in_body);
    r->have += in_body;
    size_t in_trailer = got - in_body < trailer ? got - in_body : trailer;
    r->trailer_have += (uint32_t)in_trailer;
    size_t in_head = got - in_body - in_trailer;
    if (count == 3 && r->trailer_have == SEGMENT_TRAILER) {
        lane_body_came(l, tools);
        r->head_have = (uint32_t)in_head;
        if (!l->ended)
            lane_head_came(l);
    }
    if (l->drained)
        lane_wait_readable(l);
    return got;
}

static bool lane_can_read(const lane *l)
{
    return (l->readable || lane_ahead(l)) && l->in.phase != LANE_WAIT;
}

static void lane_read(lane *l, lane_tools *tools)
{
    size_t moved = 0;
    while (lane_can_read(l) && !l->ended && moved < tools->take) {
        if (l->in.phase == LANE_HEAD)
            lane_read_head(l, tools);
        else
            moved += lane_read_body(l, tools);
    }
    tools->read += moved;
}

/* ---- from outside ---- */

void lane_give_read(lane *l, lane_command *read, lane_tools *tools)
{
    ENSURE(l->in.command == NULL && l->in.phase == LANE_WAIT);
    ENSURE(read->segment.length == l->in.segment.length);
    if (read->memory != 0 && memory_kind(read->memory) == MEMORY_BLOCK)
        pool_begin((block *)(uintptr_t)read->memory);
    l->in.command = read;
    l->in.have = 0;
    l->in.trailer_have = 0;
    l->in.phase = LANE_BODY;
    if (read->segment.length == 0)
        lane_body_came(l, tools);
}

void lane_give_write(lane *l, lane_command *write)
{
    list_push_back(&l->writes, &write->link);
}

bool lane_has_writing(const lane *l)
{
    return l->prefix != NULL || l->staged.bytes != NULL || l->owed_left > 0 ||
           l->out.command != NULL || !list_empty(&l->writes);
}

bool lane_is_quiet(const lane *l)
{
    return l->in.phase == LANE_HEAD && l->in.head_have == 0 && !lane_ahead(l) && !l->segment_came &&
           !lane_has_writing(l) && !l->ended && !l->shut;
}

bool lane_step(lane *l, lane_tools *tools)
{
    lane_read(l, tools);
    lane_write(l, tools);
    return !l->ended && (lane_can_read(l) || (l->writable && lane_has_writing(l)));
}

void lane_fail_all(lane *l, lane_tools *tools)
{
    if (!l->ended && l->prefix == NULL)
        lane_write_owed(l); /* its segment was reported as done */
    lane_short_end(l, tools);
    scratch_return(tools, l->out.scratch);
    l->out.scratch = NULL;
    if (l->out.command != NULL)
        lane_command_finish(l->out.command, DONE_FAILED, tools);
    if (l->in.command != NULL)
        lane_command_finish(l->in.command, DONE_FAILED, tools);
    l->out.command = NULL;
    l->in.command = NULL;
    for (list_link *w; (w = list_first(&l->writes)) != NULL;) {
        list_remove(w);
        lane_command_finish(CONTAINER_OF(w, lane_command, link), DONE_FAILED, tools);
    }
    free(l->prefix);
    l->prefix = NULL;
}
