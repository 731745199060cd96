/* lane_pair.c - do segments arrive whole, through short reads and writes, under any cipher?
 *
 *   writer thread: messages of odd parts, random segments  --TCP-->  reader thread: blocks of the
 *   pool, or the sink for every seventh segment
 *
 * Two lanes (io/lane.c) on one loopback connection, one thread each, no engine: this program plays
 * its part. Checked: every byte of every segment; that SO_RCVLOWAT never exceeds what will still
 * come (Rule 26, at every wait); that a flipped byte ends the lane and never arrives (T10); that
 * short segments share their packets.
 *
 *   lane_pair [SEED CIPHER MEGABYTES [flip|short]]    exit status 0, and the rates on stdout */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/random.h"
#include "io/clock.h"
#include "io/lane.h"
#include "io/parcel.h"
#include "io/pool.h"
#include "io/tcp.h"

enum { PARTS = 37, SEGMENT_MOST = LANE_STEP, SHORT_MOST = 4000, COMMANDS = 24 };

typedef struct {
    int fd;
    cipher kind;
    bool direct;
    uint64_t bytes, seed;
    bool flip, shorts;
    parcel *source;
    uint64_t segments, packets, corrupt, mismatches, lowat_faults;
} side;

static void check(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(2);
    }
}

static void cipher_begin(lane_cipher *c, cipher kind, bool from_dialler)
{
    uint8_t secret[AEAD_KEY] = {7}, nonce[SEGMENT_NONCE] = {9};
    memset(c, 0, sizeof *c);
    lane_cipher_start(c, kind, secret, 3, nonce, nonce, from_dialler);
}

static uint8_t expected(uint64_t offset)
{
    return (uint8_t)((offset * 2654435761u) >> 13);
}

/* A message whose parts have all sizes, from 1 byte to a few hundred KiB. */
static parcel *message_make(uint64_t *size)
{
    void *parts[PARTS];
    size_t sizes[PARTS];
    uint64_t offset = 0;
    for (uint32_t i = 0; i < PARTS; i++) {
        sizes[i] = (size_t)1 << (i % 19);
        uint8_t *part = malloc(sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++)
            part[j] = expected(offset + j);
        parts[i] = part;
        offset += sizes[i];
    }
    *size = offset;
    return parcel_new(1, PARTS, parts, sizes);
}

static void message_drop(parcel *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        free(m->parts[i].bytes);
    parcel_free(m);
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    check(poll(&p, 1, 10000) > 0, "a lane hung");
}

static uint64_t packets_sent(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    check(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0, "TCP_INFO");
    return info.tcpi_segs_out;
}

static void *write_all(void *argument)
{
    side *s = argument;
    lane l;
    lane_cipher c, unused;
    list_link done;
    random_source chance;
    uint8_t seed[RANDOM_SEED_SIZE] = {(uint8_t)s->seed};
    random_init(&chance, seed);
    list_init(&done);
    lane_tools tools = {.step = s->seed % 2 != 0 ? LANE_STEP : LANE_PIECE,
                        .sink = malloc(LANE_STEP),
                        .done = &done};
    lane_command commands[COMMANDS];
    uint64_t given = 0, moved = 0;
    lane_init(&l, 1, s->fd);
    cipher_begin(&c, s->kind, true);
    c.direct = s->direct;
    cipher_begin(&unused, s->kind, false);
    l.send = &c;
    l.receive = &unused;
    l.writable = true;
    for (size_t i = 0; i < COMMANDS; i++) {
        commands[i] = (lane_command){.kind = COMMAND_WRITE};
        list_push_back(&done, &commands[i].link);
    }
    while (!l.ended && (moved < s->bytes || lane_has_writing(&l))) {
        for (list_link *at; moved < s->bytes && (at = list_first(&done)) != NULL;) {
            list_remove(at);
            lane_command *w = CONTAINER_OF(at, lane_command, link);
            uint64_t offset = random_below(&chance, s->source->size);
            uint64_t left = s->source->size - offset;
            uint64_t fits = s->shorts && given % 97 != 96 ? SHORT_MOST : SEGMENT_MOST;
            uint64_t most = left < fits ? left : fits;
            w->memory = memory_handle(s->source);
            w->segment = (segment){.kind = SEGMENT_DATA, .sequence = (uint32_t)given++};
            w->segment.offset = offset;
            w->segment.length = (uint32_t)(given % 11 == 0 ? 0 : random_below(&chance, most) + 1);
            moved += w->segment.length;
            lane_give_write(&l, w);
        }
        if (!lane_step(&l, &tools) && !l.writable) {
            wait_for(s->fd, POLLOUT);
            l.writable = true;
        }
    }
    s->segments = given;
    s->packets = packets_sent(s->fd);
    lane_fail_all(&l, &tools);
    shutdown(s->fd, SHUT_WR);
    lane_cipher_wipe(&c);
    lane_cipher_wipe(&unused);
    lane_tools_free(&tools);
    return NULL;
}

static void verify(side *s, const block *b, const segment *g)
{
    for (uint64_t i = 0; i < g->length; i += 1 + g->length / 511)
        s->mismatches += b->data[g->offset + i] != expected(g->offset + i);
    s->mismatches +=
        g->length > 0 && b->data[g->offset + g->length - 1] != expected(g->offset + g->length - 1);
}

/* Rule 26: what the kernel was told must never exceed what will certainly still come. */
static void check_lowat(side *s, const lane *l)
{
    int lowat = 0;
    socklen_t size = sizeof lowat;
    getsockopt(l->fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, &size);
    if (lowat > lane_lowat(&l->in))
        s->lowat_faults++;
}

static void *read_all(void *argument)
{
    side *s = argument;
    lane l;
    lane_cipher c, unused;
    list_link done;
    list_init(&done);
    lane_tools tools = {
        .take = s->seed % 2 != 0 ? LANE_STEP : LANE_TAKE, .sink = malloc(LANE_STEP), .done = &done};
    tools.ahead = s->seed % 3 != 0;
    block *target = pool_take((size_t)s->source->size);
    lane_command command = {.kind = COMMAND_READ};
    lane_init(&l, 1, s->fd);
    cipher_begin(&c, s->kind, true);
    c.direct = s->direct;
    cipher_begin(&unused, s->kind, false);
    l.receive = &c;
    l.send = &unused;
    l.readable = true;
    while (!l.ended) {
        bool more = lane_step(&l, &tools);
        if (list_first(&done) != NULL) {
            list_remove(&command.link);
            s->corrupt += command.result == DONE_CORRUPT;
            if (command.result == DONE_OK && command.memory != 0)
                verify(s, target, &command.segment);
        }
        if (l.segment_came) {
            l.segment_came = false;
            command.segment = l.in.segment;
            command.memory = s->segments++ % 7 == 6 ? 0 : memory_handle(target);
            memset(target->data, 0, (size_t)s->source->size < 4096 ? 1 : 4096);
            lane_give_read(&l, &command, &tools);
            if (list_first(&done) != NULL)
                list_remove(&command.link); /* an empty one is done at once */
        } else if (!more && !l.readable && !l.ended) {
            check_lowat(s, &l);
            wait_for(s->fd, POLLIN);
            l.readable = true;
        }
    }
    lane_fail_all(&l, &tools);
    lane_cipher_wipe(&c);
    lane_cipher_wipe(&unused);
    lane_tools_free(&tools);
    pool_give(target);
    return NULL;
}

/* Copies bytes from one connection to the other, with one bit flipped on the way. */
static void *relay_flipping(void *argument)
{
    const int *fds = argument;
    uint8_t *bytes = malloc(1 << 16);
    uint64_t passed = 0;
    for (ssize_t got; (got = recv(fds[0], bytes, 1 << 16, 0)) > 0; passed += (uint64_t)got) {
        if (passed <= 3000000 && passed + (uint64_t)got > 3000000)
            bytes[3000000 - passed] ^= 4;
        for (ssize_t at = 0, sent; at < got; at += sent)
            if ((sent = send(fds[1], bytes + at, (size_t)(got - at), MSG_NOSIGNAL)) <= 0)
                goto out;
    }
out:
    close(fds[0]); /* with bytes unread: a reset */
    close(fds[1]);
    free(bytes);
    return NULL;
}

static void connect_pair(int *a, int *b)
{
    const char *what;
    address at = {.family = 4, .ip = {127, 0, 0, 1}}, local, remote;
    int listener = tcp_listen(&at, &what);
    check(listener >= 0, what);
    socket_address name;
    socklen_t size = sizeof name;
    getsockname(listener, &name.any, &size);
    tcp_dial dial = {.remote = address_of_socket(&name), .family = 4, .patience = 4 * NS_PER_S};
    *a = tcp_connect(&dial);
    check(*a >= 0, "connect");
    wait_for(listener, POLLIN);
    *b = tcp_accept(listener, 4 * NS_PER_S, &local, &remote);
    check(*b >= 0, "accept");
    close(listener);
}

static void set_blocking(int fd)
{
    int zero = 0;
    check(ioctl(fd, FIONBIO, &zero) == 0, "ioctl");
}

static bool run(uint64_t seed, cipher kind, uint64_t megabytes, const char *how)
{
    uint64_t size;
    int near[2], far[2];
    bool flip = strcmp(how, "flip") == 0, shorts = strcmp(how, "short") == 0;
    side out = {
        .seed = seed, .kind = kind, .bytes = megabytes << 20, .flip = flip, .shorts = shorts};
    out.direct = strcmp(how, "direct") == 0;
    out.source = message_make(&size); /* the steps of lane.h take turns, by seed */
    pthread_t threads[3];
    connect_pair(&near[0], &near[1]);
    side in = out;
    out.fd = near[0];
    in.fd = near[1];
    int fds[2] = {near[1], -1};
    if (flip) {
        connect_pair(&far[0], &far[1]);
        in.fd = far[1];
        fds[1] = far[0];
        set_blocking(near[1]);
        set_blocking(far[0]);
        check(pthread_create(&threads[2], NULL, relay_flipping, fds) == 0, "thread");
    }
    uint64_t began = clock_now();
    check(pthread_create(&threads[0], NULL, write_all, &out) == 0, "thread");
    check(pthread_create(&threads[1], NULL, read_all, &in) == 0, "thread");
    pthread_join(threads[1], NULL);
    close(in.fd); /* unread bytes make it a reset, which the writer notices */
    pthread_join(threads[0], NULL);
    if (flip)
        pthread_join(threads[2], NULL);
    double seconds = (double)(clock_now() - began) / 1e9;
    printf("cipher %d %s: %llu of %llu segments in %llu packets, %llu corrupt, %llu wrong, "
           "%llu lowat, %.2f GB/s\n",
           (int)kind, how, (unsigned long long)in.segments, (unsigned long long)out.segments,
           (unsigned long long)out.packets, (unsigned long long)in.corrupt,
           (unsigned long long)in.mismatches, (unsigned long long)in.lowat_faults,
           (double)out.bytes / seconds / 1e9);
    close(out.fd);
    message_drop(out.source);
    bool right = flip ? in.segments < out.segments : in.segments == out.segments && in.corrupt == 0;
    right &= !shorts || out.packets * 3 < out.segments;
    return right && in.mismatches == 0 && in.lowat_faults == 0;
}

int main(int argc, char **argv)
{
    if (argc > 3)
        return !run(strtoull(argv[1], NULL, 10), (cipher)atoi(argv[2]), strtoull(argv[3], NULL, 10),
                    argc > 4 ? argv[4] : "whole");
    bool right = true;
    for (int kind = 0; kind < CIPHER_COUNT; kind++)
        right &= run((uint64_t)kind, (cipher)kind, 64, "whole") & run(9, (cipher)kind, 32, "flip") &
                 run(8, (cipher)kind, 32, "flip") &
                 run((uint64_t)kind + 4, (cipher)kind, 16, "short");
    for (uint64_t seed = 2; seed < 4; seed++)
        right &= run(seed, CIPHER_PLAIN, 64, "direct");
    return !right;
}
