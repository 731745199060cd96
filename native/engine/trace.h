/* trace.h - what did the engine decide lately? A bounded ring of small entries, always on.
 *
 * Writing one costs a few stores. Entries hold ids, numbers and decisions, never payload, keys or
 * entropy (K12). Readers (explain, timelines, pcapng) come later and read only this. */
#ifndef RUDP_ENGINE_TRACE_H
#define RUDP_ENGINE_TRACE_H

#include <stdint.h>

/* clang-format off */
#define TRACE_LIST(X)                                                                              \
    X(NONE) X(PACKET_SENT) X(PACKET_GOT) X(PACKET_LOST) X(PACKET_DROPPED)                          \
    X(PTO) X(CALL_OPEN) X(CALL_SENT) X(CALL_DONE) X(REQUEST_GOT) X(REPLY_GIVEN) X(REFUSED)         \
    X(CANCEL) X(SESSION_UP) X(SESSION_END) X(PEER_STATE) X(HELLO_SENT) X(HELLO_GOT)                \
    X(LANE_OPEN) X(LANE_UP) X(LANE_DOWN) X(TRANSFER_OFFER) X(TRANSFER_GRANT)                       \
    X(TRANSFER_RESUME) X(TRANSFER_END) X(STALL) X(PATH)
/* clang-format on */

#define TRACE_ENUM(name) TRACE_##name,
typedef enum { TRACE_LIST(TRACE_ENUM) TRACE_KINDS } trace_kind;
#undef TRACE_ENUM

typedef struct {
    uint64_t at;      /* ns */
    uint64_t id;      /* call handle, request, packet number, transfer: by kind */
    uint32_t session; /* index */
    uint32_t detail;  /* bytes, status, state: by kind */
    uint16_t kind;
    uint16_t slot;
    uint32_t sequence;
} trace_entry;

#define TRACE_ENTRIES 4096u /* a power of two; 128 KiB per node */

typedef struct {
    uint64_t count; /* ever written; entry i lies at i % TRACE_ENTRIES */
    trace_entry entries[TRACE_ENTRIES];
} trace;

static inline trace_entry *trace_add(trace *t, uint64_t now, trace_kind kind,
                                     uint32_t session_index)
{
    trace_entry *entry = &t->entries[t->count++ % TRACE_ENTRIES];
    *entry = (trace_entry){.at = now, .kind = (uint16_t)kind, .session = session_index};
    return entry;
}

const char *trace_kind_name(unsigned kind);

#endif
