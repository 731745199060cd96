/* bulk_tcp.c - how fast do big chunks move over one TCP connection, each acknowledged?
 *
 *     client   chunk 0..7 in flight  -- 16 byte header, 4 MiB body, tag -->  server reads all
 *              next chunk            <----------- 16 byte ack -------------  and says so
 *
 * The tag is there with --guard only (guard.h).
 *
 * Trap: a loop over one buffer stays in the cache and is a third faster than any
 * library that hands memory out. So both sides rotate as many buffers as asked
 * (Rule 28), on huge pages, as rudp does. SO_RCVLOWAT is never above what is
 * still to come (Rule 26), and goes with a read that does not block: a blocking
 * one that has copied a part sleeps until that many bytes have come *again*. */
#define _GNU_SOURCE
#include "guard.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { BUFFERS_MOST = 64, CALL_BYTES = 1 << 20, HUGE_PAGE = 2 << 20 };

typedef struct {
    const char *placement, *congestion, *guard;
    size_t chunk;       /* bytes of a chunk's body */
    unsigned in_flight; /* chunks sent and not acknowledged */
    unsigned buffers;   /* rotated on each side */
    uint64_t count;     /* chunks to send; 0 = until the seconds are over */
    double seconds;
} settings;

/* Goes before each chunk, and comes back as its acknowledgement. */
typedef struct {
    uint64_t number;
    uint64_t size;
} header;

static durations latency;

static uint8_t *buffer_new(size_t size)
{
    size_t room = size + HUGE_PAGE;
    void *at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(at != MAP_FAILED, "mmap");
    uint8_t *aligned = (uint8_t *)(((uintptr_t)at + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    madvise(aligned, size, MADV_HUGEPAGE);
    memset(aligned, 1, size);
    return aligned;
}

static void buffers_new(uint8_t **buffer, const settings *s)
{
    for (unsigned i = 0; i < s->buffers; i++)
        buffer[i] = buffer_new(s->chunk);
}

static bool stream_congestion(int fd, const char *name)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

/* As rudp chooses: many systems let only root have another one than their default and reno. */
static const char *congestion_default(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0, "socket");
    const char *name = stream_congestion(fd, "cubic") ? "cubic" : "reno";
    close(fd);
    return name;
}

static void stream_tune(int fd, const char *congestion)
{
    int on = 1;
    check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
    check(stream_congestion(fd, congestion), "TCP_CONGESTION");
}

/* Both ends of one loopback connection: pair[0] dialled, pair[1] was accepted. */
static void stream_pair(int pair[2], const char *congestion)
{
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof self;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0, "socket");
    check(bind(listener, (struct sockaddr *)&self, size) == 0, "bind");
    check(listen(listener, 1) == 0, "listen");
    check(getsockname(listener, (struct sockaddr *)&self, &size) == 0, "getsockname");
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(pair[0] >= 0, "socket");
    stream_tune(pair[0], congestion);
    check(connect(pair[0], (struct sockaddr *)&self, size) == 0, "connect");
    pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    check(pair[1] >= 0, "accept");
    stream_tune(pair[1], congestion);
    close(listener);
}

/* The part of header and body that starts at `offset`, at most CALL_BYTES; returns its size. */
static size_t chunk_part(struct iovec part[2], header *h, uint8_t *body, size_t chunk,
                         size_t offset)
{
    size_t left = sizeof *h + chunk - offset;
    size_t size = left < CALL_BYTES ? left : CALL_BYTES;
    size_t head = offset < sizeof *h ? sizeof *h - offset : 0;
    part[0] = (struct iovec){(uint8_t *)h + offset, head};
    part[1] = (struct iovec){body + (head ? 0 : offset - sizeof *h), size - head};
    return size;
}

/* Seals as much of the part of the body as fits, so that it is sent from there. */
static void part_seal(struct iovec part[2], guard *g)
{
    if (!g->context)
        return;
    if (part[1].iov_len > GUARD_PIECE)
        part[1].iov_len = GUARD_PIECE;
    guard_cipher(g, part[1].iov_base, g->sealed, part[1].iov_len);
    part[1].iov_base = g->sealed;
}

static void stream_write(int fd, const void *at, size_t size)
{
    for (const uint8_t *from = at; size > 0;) {
        ssize_t sent = write(fd, from, size);
        check(sent > 0, "write");
        from += sent;
        size -= (size_t)sent;
    }
}

/* A blocking writev takes all, unless a signal comes; the rest goes by itself. */
static size_t part_send(int fd, const struct iovec part[2])
{
    bool skip = part[0].iov_len == 0;
    ssize_t sent = writev(fd, part + skip, 2 - skip);
    check(sent >= (ssize_t)part[0].iov_len, "writev");
    size_t in_body = (size_t)sent - part[0].iov_len;
    stream_write(fd, (uint8_t *)part[1].iov_base + in_body, part[1].iov_len - in_body);
    return part[0].iov_len + part[1].iov_len;
}

static void chunk_send(int fd, header *h, uint8_t *body, size_t chunk, guard *g)
{
    uint8_t tag[GUARD_TAG];
    guard_begin(g, h->number);
    for (size_t offset = 0; offset < sizeof *h + chunk;) {
        struct iovec part[2];
        chunk_part(part, h, body, chunk, offset);
        part_seal(part, g);
        offset += part_send(fd, part);
        guard_sum(g, part[1].iov_base, part[1].iov_len);
    }
    if (!guard_has_tag(g))
        return;
    guard_make_tag(g, tag);
    stream_write(fd, tag, sizeof tag);
}

/* Sleeps until `size` bytes can be read at once: a quarter of the wake-ups. */
static void receive_wait(int fd, size_t size, size_t *low)
{
    int at_least = (int)size;
    if (*low != size)
        check(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &at_least, sizeof at_least) == 0,
              "SO_RCVLOWAT");
    *low = size;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    check(poll(&wait, 1, -1) == 1, "poll");
}

/* The part of the body that came, between these offsets, is summed or opened where it lies. */
static void part_open(guard *g, uint8_t *body, size_t before, size_t after)
{
    size_t from = before < sizeof(header) ? 0 : before - sizeof(header);
    size_t to = after < sizeof(header) ? 0 : after - sizeof(header);
    guard_sum(g, body + from, to - from);
    guard_cipher(g, body + from, body + from, to - from);
}

/* False at the end of the stream. */
static bool chunk_receive(int fd, header *h, uint8_t *body, size_t chunk, size_t *low, guard *g)
{
    for (size_t offset = 0; offset < sizeof *h + chunk;) {
        struct iovec part[2];
        size_t size = chunk_part(part, h, body, chunk, offset);
        bool skip = part[0].iov_len == 0;
        ssize_t got = readv(fd, part + skip, 2 - skip);
        if (got == 0)
            return false;
        if (got > 0) {
            part_open(g, body, offset, offset + (size_t)got);
            offset += (size_t)got;
            continue;
        }
        check(errno == EAGAIN, "readv");
        receive_wait(fd, size, low);
    }
    return true;
}

static void tag_receive(int fd, size_t *low, guard *g)
{
    uint8_t tag[GUARD_TAG];
    for (size_t have = 0; have < sizeof tag;) {
        ssize_t got = read(fd, tag + have, sizeof tag - have);
        check(got > 0 || (got < 0 && errno == EAGAIN), "read");
        if (got > 0)
            have += (size_t)got;
        else
            receive_wait(fd, sizeof tag - have, low);
    }
    guard_check_tag(g, tag);
}

static void server_run(int fd, const settings *s)
{
    uint8_t *buffer[BUFFERS_MOST];
    buffers_new(buffer, s);
    check(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
    header h;
    size_t low = 1;
    guard g = guard_new(s->guard, false);
    for (uint64_t n = 0;; n++) {
        guard_begin(&g, n);
        if (!chunk_receive(fd, &h, buffer[n % s->buffers], s->chunk, &low, &g))
            return;
        if (guard_has_tag(&g))
            tag_receive(fd, &low, &g);
        check(h.number == n && h.size == s->chunk, "the header does not fit");
        check(write(fd, &h, sizeof h) == (ssize_t)sizeof h, "write"); /* 16 bytes always fit */
    }
}

/* Sends chunks until the time or the count is over, then waits for the last acknowledgement. */
static uint64_t client_run(int fd, uint8_t **buffer, const settings *s, guard *g, uint64_t first,
                           uint64_t until, uint64_t count)
{
    uint64_t sent_at[BUFFERS_MOST], sent = 0, acked = 0;
    for (bool more = true; more || acked < sent;) {
        if (more && sent - acked < s->in_flight) {
            header h = {first + sent, s->chunk};
            sent_at[sent % BUFFERS_MOST] = clock_now();
            chunk_send(fd, &h, buffer[sent++ % s->buffers], s->chunk, g);
            more = count ? sent < count : clock_now() < until;
            continue;
        }
        header ack;
        check(recv(fd, &ack, sizeof ack, MSG_WAITALL) == (ssize_t)sizeof ack, "recv");
        check(ack.number == first + acked, "the acknowledgement does not fit");
        durations_add(&latency, clock_now() - sent_at[acked++ % BUFFERS_MOST]);
    }
    return acked;
}

static settings settings_read(int argc, char **argv)
{
    static const char *const names[] = {"--chunk", "--in-flight",  "--buffers",
                                        "--count", "--seconds",    "--cpu",
                                        "--guard", "--congestion", NULL};
    options_check(argc, argv, names);
    settings s = {
        .placement = option_text(argc, argv, "--cpu", "free"),
        .congestion = option_text(argc, argv, "--congestion", congestion_default()),
        .guard = option_text(argc, argv, "--guard", "none"),
        .chunk = (size_t)option_number(argc, argv, "--chunk", 4 << 20, 1, 64 << 20),
        .in_flight = (unsigned)option_number(argc, argv, "--in-flight", 8, 1, BUFFERS_MOST),
        .buffers = (unsigned)option_number(argc, argv, "--buffers", 8, 1, BUFFERS_MOST),
        .count = (uint64_t)option_number(argc, argv, "--count", 0, 0, 1e9),
        .seconds = option_number(argc, argv, "--seconds", 2, 0.01, 600),
    };
    placement_check(s.placement);
    return s;
}

static void print_result(const settings *s, const stretch *work, uint64_t chunks)
{
    double wall = (double)work->wall / 1e9, gigabytes = (double)(chunks * s->chunk) / 1e9;
    double client = (double)work->client / 1e9, server = (double)work->server / 1e9;
    printf("{\"program\": \"bulk_tcp\", \"cpu\": \"%s\", \"congestion\": \"%s\", "
           "\"guard\": \"%s\", "
           "\"chunk\": %zu, "
           "\"in_flight\": %u, \"buffers\": %u, \"chunks\": %llu, \"seconds\": "
           "%.6f, "
           "\"gigabytes_per_second\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"client_cpu_seconds\": %.4f, \"server_cpu_seconds\": %.4f, "
           "\"cpu_seconds_per_gigabyte\": %.4f}\n",
           s->placement, s->congestion, s->guard, s->chunk, s->in_flight, s->buffers,
           (unsigned long long)chunks, wall, gigabytes / wall, durations_quantile(&latency, 0.5),
           durations_quantile(&latency, 0.99), client, server, (client + server) / gigabytes);
}

int main(int argc, char **argv)
{
    settings s = settings_read(argc, argv);
    int pair[2];
    guard g = guard_new(s.guard, true);
    stream_pair(pair, s.congestion);
    pid_t child = server_fork(s.placement, s.seconds);
    if (child == 0) {
        close(pair[0]);
        server_run(pair[1], &s);
        return 0;
    }
    close(pair[1]);
    uint8_t *buffer[BUFFERS_MOST];
    buffers_new(buffer, &s);
    uint64_t warm = client_run(pair[0], buffer, &s, &g, 0, clock_now() + 200000000, 0);
    memset(&latency, 0, sizeof latency);
    stretch work;
    stretch_start(&work, child);
    uint64_t until = work.wall + (uint64_t)(s.seconds * 1e9);
    uint64_t chunks = client_run(pair[0], buffer, &s, &g, warm, until, s.count);
    stretch_stop(&work);
    server_end(child);
    print_result(&s, &work, chunks);
    return 0;
}
