/* counters.h - how often did what happen? One number each, never reset; every drop has its own. */
#ifndef RUDP_ENGINE_COUNTERS_H
#define RUDP_ENGINE_COUNTERS_H

#include <stdint.h>

#include "wire/status.h"

#define COUNTER_LIST(X)                                                                            \
    X(calls, "calls submitted")                                                                    \
    X(calls_done, "calls ended, however")                                                          \
    X(calls_ok, "calls that returned a result")                                                    \
    X(requests, "requests accepted, each once")                                                    \
    X(replies, "replies sent, each once")                                                          \
    X(packets_sent, "packets sent")                                                                \
    X(packets_received, "packets received and verified")                                           \
    X(bytes_sent, "bytes of packets sent")                                                         \
    X(bytes_received, "bytes of packets received and verified")                                    \
    X(messages_resent, "messages sent again")                                                      \
    X(packets_lost, "packets declared lost")                                                       \
    X(losses_spurious, "packets declared lost and acknowledged later")                             \
    X(drops_theirs, "datagrams that kernels of peers dropped, as they tell")                       \
    X(pto_fired, "resend timers that ran out")                                                     \
    X(acks_alone, "packets with nothing but acknowledgements")                                     \
    X(probes_sent, "probes sent")                                                                  \
    X(pongs_sent, "probes answered")                                                               \
    X(hellos_sent, "handshake messages sent")                                                      \
    X(hellos_received, "handshake messages received")                                              \
    X(sessions_made, "sessions confirmed")                                                         \
    X(sessions_ended, "sessions ended, however")                                                   \
    X(peers_lost, "peers declared lost for silence")                                               \
    X(own_stalls, "turns that began late: this node was stalled")                                  \
    X(paths_changed, "sessions that moved to another address or between UDP and lane 0")           \
    X(lanes_opened, "lanes established")                                                           \
    X(lanes_direct, "bulk lanes whose ends are in one kernel: not summed (K11)")                   \
    X(lanes_dropped, "lanes that broke or were dropped")                                           \
    X(transfers_sent, "messages sent by lane, completed")                                          \
    X(transfers_eager, "messages sent by lane without waiting for memory (A1)")                    \
    X(transfers_received, "messages received by lane, completed")                                  \
    X(bulk_bytes_sent, "bytes of message bodies written to lanes")                                 \
    X(bulk_bytes_again, "of these, bytes that had been written before")                            \
    X(bulk_bytes_received, "bytes of message bodies read and verified")                            \
    X(busy_retries, "calls tried again after a busy peer")                                         \
    X(requests_expired, "requests dropped unstarted because their deadline had passed")            \
    X(requests_orphaned, "requests dropped unstarted because their session ended")

typedef struct {
#define COUNTER_FIELD(name, text) uint64_t name;
    COUNTER_LIST(COUNTER_FIELD)
#undef COUNTER_FIELD
    uint64_t dropped[DROP_COUNT];
} counters;

#endif
