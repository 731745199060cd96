typedef enum {
    CALL_SUBMITTED,
    CALL_ANSWERED,
    CALL_GIVEN_UP,
    CALL_TELLING,
    CALL_TAKING,
    CALL_FORGOTTEN,
    CALL_APP_EVENTS,
    ...
} call_app_event;

typedef enum {
    WIRE_QUEUED,
    WIRE_DISPATCHED,
    WIRE_GOT_ACK,
    WIRE_GOT_BUSY,
    WIRE_GOT_END,
    WIRE_CANCEL,
    WIRE_REQUEUED,
    WIRE_LEFT,
    WIRE_EVENTS,
    ...
} call_wire_event;

typedef enum { APP_FREE, APP_OPEN, APP_READY, APP_TOLD, APP_GONE, ... } call_app;
typedef enum { WIRE_NONE, WIRE_WAITING, WIRE_SENT, WIRE_ACKED, WIRE_CANCELLING, ... } call_wire;

extern const uint8_t call_app_table[...][...];
extern const uint8_t call_wire_table[...][...];
