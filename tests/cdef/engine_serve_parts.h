typedef enum {
    SERVE_ADMITTED,
    SERVE_OFFERED,
    SERVE_DECLINED,
    SERVE_COMPLETE,
    SERVE_TELLING,
    SERVE_REPLIED,
    SERVE_REPLIED_BIG,
    SERVE_FELL_BACK,
    SERVE_REFUSED,
    SERVE_CANCELLED,
    SERVE_ARRIVED,
    SERVE_ABANDONED,
    SERVE_HANDLER_ENDED,
    SERVE_EVENTS,
    ...
} serve_event;

typedef enum {
    SERVE_FREE,
    SERVE_RECEIVING,
    SERVE_QUEUED,
    SERVE_HANDED,
    SERVE_ANSWERED,
    SERVE_SENDING,
    SERVE_ORPHANED,
    ...
} serve_state;

extern const uint8_t serve_table[...][...];
