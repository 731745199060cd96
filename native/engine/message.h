/* message.h - where is a message that must arrive?
 *
 *            push                  packed into a packet
 *    IDLE ---------> QUEUED ------------------------> FLYING ----> (acknowledged: owner is told)
 *                      ^                                 |
 *                      +------- packet lost, or PTO -----+
 *
 * Packets are never sent twice, messages are (P5). A message stands either in one of its session's
 * queues (P9) or in the list of the record of the last packet that carried it. A late
 * acknowledgement of an earlier copy finds an empty list there, and only tells that the loss was
 * spurious. The message is embedded in what it speaks for: a call, a served request, a transfer. */
#ifndef RUDP_ENGINE_MESSAGE_H
#define RUDP_ENGINE_MESSAGE_H

#include "base/list.h"

#include <stdint.h>

typedef enum {
    MESSAGE_REQUEST = 1, /* call.request: small request */
    MESSAGE_CANCEL,      /* call.cancel */
    MESSAGE_REPLY,       /* serve.reply: small reply, or a refusal */
    MESSAGE_OFFER,       /* transfer.offer */
    MESSAGE_QUERY,       /* transfer.query: the sender asks, or assigns a lane */
    MESSAGE_ABANDON,     /* transfer.offer, once given up */
    MESSAGE_WORD,        /* transfer.word: the receiver's GRANTED, COMPLETE, REJECTED, position */
    MESSAGE_KINDS,
} message_kind;

typedef enum { MESSAGE_IDLE, MESSAGE_QUEUED, MESSAGE_FLYING } message_place;

/* Order of leaving (P9); what is sent again goes to QUEUE_RESEND whatever its kind. */
typedef enum { QUEUE_RESEND, QUEUE_CONTROL, QUEUE_REPLY, QUEUE_REQUEST, QUEUES } message_queue;

typedef struct {
    list_link at;
    uint8_t kind;
    uint8_t place;
    uint8_t times; /* packets that carried it, saturating */
    uint8_t unused;
} message;

#endif
