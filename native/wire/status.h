/* status.h - by which names do calls end, peers go and packets get dropped?
 *
 * Every such word is written once, here, as a list that other files expand: into enums, into the
 * text table of status.c, into Python's exceptions (through rudp_status_text). The numbers go over
 * the wire (REFUSED and CLOSE carry them), so entries are only ever added at the end. */
#ifndef RUDP_WIRE_STATUS_H
#define RUDP_WIRE_STATUS_H

/* How a call ended. The third column is what a REFUSED with that word promises (rule C4, O1). */
#define STATUS_LIST(X)                                                                             \
    X(OK, "ok")                                                                                    \
    X(EXCEPTION, "the handler raised an exception")                                                \
    X(DEADLINE, "the deadline passed")                                                             \
    X(CANCELLED, "the call was cancelled")                                                         \
    X(BUSY, "the peer had no room for the call")                                                   \
    X(NO_METHOD, "the peer has no such method")                                                    \
    X(BAD_REQUEST, "the peer could not decode the request")                                        \
    X(TOO_LARGE, "the message is larger than the peer accepts")                                    \
    X(REPLY_TOO_LARGE, "the reply is larger than this node accepts")                               \
    X(UNREACHABLE, "no answer from the address")                                                   \
    X(REFUSED_BY_HOST, "nothing listens at the address")                                           \
    X(UNVERIFIED, "something is there, but does not verify: wrong key, or another service")        \
    X(LOST, "the peer fell silent")                                                                \
    X(RESTARTED, "the peer restarted")                                                             \
    X(CLOSED, "the peer closed")                                                                   \
    X(DISMISSED, "the peer had given this session up")                                             \
    X(FAILED, "the session failed")                                                                \
    X(LANE_UNAVAILABLE, "no TCP connection to the peer can be made")                               \
    X(BUFFER_CHANGED, "the memory of the message changed while it was sent")                       \
    X(NO_MEMORY, "no memory for the message")                                                      \
    X(NODE_CLOSED, "this node is closed")                                                          \
    X(BROKEN, "this node stopped after an internal error")                                         \
    X(NO_REPLY_SENT, "the handler finished without a reply")

/* Why a session or peer ended (rule L7): a subset of the above, in events and CLOSE frames. */

/* What became of a datagram, connection or frame that was not used: each has a counter. */
#define DROP_LIST(X)                                                                               \
    X(SHORT, "too short for its kind")                                                             \
    X(KIND, "unknown kind or version")                                                             \
    X(SESSION, "no such session")                                                                  \
    X(TAG, "not authentic")                                                                        \
    X(REPLAY, "seen before")                                                                       \
    X(LATE, "older than the replay window")                                                        \
    X(FRAME, "authentic but malformed")                                                            \
    X(HELLO_UNVERIFIED, "handshake that does not verify")                                          \
    X(HELLO_REPLAY, "handshake seen before")                                                       \
    X(HELLO_LIMIT, "too many handshakes waiting")                                                  \
    X(HELLO_STRAY, "answer to no handshake of ours")                                               \
    X(TABLE, "no free entry in a table")                                                           \
    X(STATE, "not expected in this state")                                                         \
    X(RECORD, "connection broke the record format")                                                \
    X(STRANGER_LIMIT, "too many unauthenticated connections")                                      \
    X(STRANGER_SLOW, "connection that said nothing valid in time")                                 \
    X(SEGMENT, "lane segment that does not verify")                                                \
    X(LANE, "lane that made no progress")                                                          \
    X(KERNEL, "dropped by the own kernel: socket buffer full")                                     \
    X(OLD_CALL, "request older than its slot")                                                     \
    X(COPY, "copy of a message already here")                                                      \
    X(NO_ROOM, "no memory for it, refused")

#define STATUS_ENUM(name, text) STATUS_##name,
typedef enum { STATUS_LIST(STATUS_ENUM) STATUS_COUNT } status;
#undef STATUS_ENUM

#define DROP_ENUM(name, text) DROP_##name,
typedef enum { DROP_LIST(DROP_ENUM) DROP_COUNT } drop;
#undef DROP_ENUM

/* What is known of the handler when a call ended without a reply (rule O1). */
typedef enum { RAN_NO, RAN_UNKNOWN, RAN_YES } outcome;

const char *status_text(unsigned number); /* "unknown status" past the end */
const char *drop_text(unsigned number);
const char *status_name(unsigned number); /* "DEADLINE" */
const char *drop_name(unsigned number);

#endif
