/* udp_echo.c - how fast are calls with nothing but blocking UDP sockets and one datagram per call?
 *
 *     client   send x outstanding, then for each reply: receive, send the next
 *     server   receive, send back
 *
 * Loopback keeps datagrams of one socket in order, so the oldest send belongs to
 * the next reply and no number travels. Trap: nothing here is resent. A datagram
 * that the kernel drops would stop the client, so buffers are large and a
 * receive that waits a second ends the program with an error.
 *
 * --batch 64 moves up to 64 datagrams per system call (recvmmsg, sendmmsg) on both
 * sides: still one datagram per call, the limit of a core that works in turns.
 * --think 1000 pauses so many microseconds between a reply and the next call.
 * --neighbour 1 gives the client a thread that computes all the time. */
#define _GNU_SOURCE
#include "yardstick.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { PAYLOAD_MOST = 65000, OUTSTANDING_MOST = 4096, BATCH_MOST = 64 };

typedef struct {
    const char *placement;
    size_t payload;       /* bytes of each datagram, both ways */
    unsigned outstanding; /* calls in flight */
    unsigned batch;       /* datagrams per system call; 1 = plain send and recv */
    unsigned think;       /* microseconds of pause before each call */
    unsigned neighbours;  /* threads of the client that compute all the time */
    uint64_t count;       /* calls to make; 0 = until the seconds are over */
    double seconds;
} settings;

typedef struct {
    struct mmsghdr header[BATCH_MOST];
    struct iovec part[BATCH_MOST];
    uint8_t *bytes; /* BATCH_MOST payloads, one behind the other */
} batch;

static durations latency;
static uint64_t sent_at[OUTSTANDING_MOST];

static int udp_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check(fd >= 0, "socket");
    int size = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    check(bind(fd, (struct sockaddr *)&self, sizeof self) == 0, "bind");
    return fd;
}

static void udp_connect(int fd, int other)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    check(getsockname(other, (struct sockaddr *)&address, &size) == 0, "getsockname");
    check(connect(fd, (struct sockaddr *)&address, size) == 0, "connect");
}

static void batch_init(batch *b, size_t payload)
{
    memset(b, 0, sizeof *b);
    b->bytes = calloc(BATCH_MOST, payload + 1);
    check(b->bytes, "calloc");
    for (size_t i = 0; i < BATCH_MOST; i++) {
        b->part[i] = (struct iovec){b->bytes + i * payload, payload};
        b->header[i].msg_hdr.msg_iov = &b->part[i];
        b->header[i].msg_hdr.msg_iovlen = 1;
    }
}

/* Receives at least one datagram and at most `most`. */
static unsigned batch_receive(batch *b, int fd, unsigned most)
{
    if (most == 1) {
        check(recv(fd, b->bytes, b->part[0].iov_len, 0) == (ssize_t)b->part[0].iov_len,
              "recv (a datagram was lost?)");
        return 1;
    }
    int got = recvmmsg(fd, b->header, most, MSG_WAITFORONE, NULL);
    check(got > 0, "recvmmsg (a datagram was lost?)");
    return (unsigned)got;
}

static void batch_send(batch *b, int fd, unsigned count)
{
    if (count == 1) {
        check(send(fd, b->bytes, b->part[0].iov_len, 0) >= 0, "send");
        return;
    }
    for (unsigned done = 0; done < count;) {
        int sent = sendmmsg(fd, b->header + done, count - done, 0);
        check(sent > 0, "sendmmsg");
        done += (unsigned)sent;
    }
}

_Noreturn static void server_run(int fd, const settings *s)
{
    batch b;
    batch_init(&b, s->payload);
    for (;;)
        batch_send(&b, fd, batch_receive(&b, fd, s->batch));
}

static void pause_for(unsigned microseconds)
{
    struct timespec time = {.tv_nsec = (long)microseconds * 1000};
    if (microseconds > 0)
        check(nanosleep(&time, NULL) == 0, "nanosleep");
}

/* Never waits; the process ends it. */
static void *neighbour_run(void *unused)
{
    for (volatile uint64_t number = 0;; number = number * 1103515245 + 12345)
        ;
    return unused;
}

static void neighbours_start(unsigned count)
{
    pthread_t thread;
    for (unsigned i = 0; i < count; i++)
        check(pthread_create(&thread, NULL, neighbour_run, NULL) == 0, "pthread_create");
}

/* Keeps the calls in flight until `until` or `count` calls; returns how many were answered. */
static uint64_t client_run(int fd, const settings *s, uint64_t until, uint64_t count)
{
    batch b;
    batch_init(&b, s->payload);
    uint64_t sent = 0, answered = 0, now = clock_now();
    for (; sent < s->outstanding; sent++) {
        sent_at[sent] = now;
        batch_send(&b, fd, 1);
    }
    while (answered < sent) {
        unsigned got = batch_receive(&b, fd, s->batch);
        now = clock_now();
        bool more = count ? sent < count : now < until;
        for (unsigned i = 0; i < got; i++)
            durations_add(&latency, now - sent_at[answered++ % s->outstanding]);
        if (more && s->think > 0) {
            pause_for(s->think);
            now = clock_now();
        }
        for (unsigned i = 0; more && i < got; i++)
            sent_at[sent++ % s->outstanding] = now;
        if (more)
            batch_send(&b, fd, got);
    }
    free(b.bytes);
    return answered;
}

static settings settings_read(int argc, char **argv)
{
    static const char *const names[] = {"--payload", "--outstanding", "--batch",
                                        "--think",   "--neighbour",   "--count",
                                        "--seconds", "--cpu",         NULL};
    options_check(argc, argv, names);
    settings s = {
        .placement = option_text(argc, argv, "--cpu", "free"),
        .payload = (size_t)option_number(argc, argv, "--payload", 64, 0, PAYLOAD_MOST),
        .outstanding = (unsigned)option_number(argc, argv, "--outstanding", 1, 1, OUTSTANDING_MOST),
        .batch = (unsigned)option_number(argc, argv, "--batch", 1, 1, BATCH_MOST),
        .think = (unsigned)option_number(argc, argv, "--think", 0, 0, 999999),
        .neighbours = (unsigned)option_number(argc, argv, "--neighbour", 0, 0, 64),
        .count = (uint64_t)option_number(argc, argv, "--count", 0, 0, 1e9),
        .seconds = option_number(argc, argv, "--seconds", 2, 0.01, 600),
    };
    placement_check(s.placement);
    return s;
}

static void print_result(const settings *s, const stretch *work, uint64_t calls)
{
    double wall = (double)work->wall / 1e9;
    double client = (double)work->client / 1e9, server = (double)work->server / 1e9;
    printf("{\"program\": \"udp_echo\", \"cpu\": \"%s\", \"payload\": %zu, \"outstanding\": %u, "
           "\"batch\": %u, \"calls\": %llu, \"seconds\": %.6f, \"calls_per_second\": %.1f, "
           "\"p50_us\": %.2f, \"p99_us\": %.2f, \"client_cpu_seconds\": %.4f, "
           "\"server_cpu_seconds\": %.4f, \"cpu_us_per_call\": %.3f}\n",
           s->placement, s->payload, s->outstanding, s->batch, (unsigned long long)calls, wall,
           (double)calls / wall, durations_quantile(&latency, 0.5),
           durations_quantile(&latency, 0.99), client, server,
           (client + server) * 1e6 / (double)calls);
}

int main(int argc, char **argv)
{
    settings s = settings_read(argc, argv);
    int client = udp_socket(), server = udp_socket();
    udp_connect(client, server);
    udp_connect(server, client);
    struct timeval patience = {.tv_sec = 1};
    check(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0,
          "SO_RCVTIMEO");
    pid_t child = server_fork(s.placement, s.seconds);
    if (child == 0)
        server_run(server, &s);

    neighbours_start(s.neighbours);
    client_run(client, &s, clock_now() + 100000000, 0); /* 0.1 s to warm up */
    memset(&latency, 0, sizeof latency);
    stretch work;
    stretch_start(&work, child);
    uint64_t until = work.wall + (uint64_t)(s.seconds * 1e9);
    uint64_t calls = client_run(client, &s, until, s.count);
    stretch_stop(&work);
    server_end(child);
    print_result(&s, &work, calls);
    return 0;
}
