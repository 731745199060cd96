/* applied.h - what became of a frame: three answers that every frame handler gives (P2). */
#ifndef RUDP_ENGINE_APPLIED_H
#define RUDP_ENGINE_APPLIED_H

typedef enum {
    APPLIED,   /* done, or answered by a refusal: the packet may be acknowledged */
    UNABLE,    /* no room even to refuse: the packet is not acknowledged and will come again */
    VIOLATION, /* the peer broke the protocol: counted, the packet is dropped */
} applied;

#endif
