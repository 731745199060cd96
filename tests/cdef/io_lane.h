/* after: engine_engine.h seal_segment.h */
#define LANE_STEP ...

typedef enum { LANE_HEAD, LANE_WAIT, LANE_BODY, ... } lane_phase;

typedef struct {
    segment segment;
    ...;
} lane_command;

typedef struct {
    lane_phase phase;
    uint32_t head_have;
    uint32_t trailer_have;
    uint64_t have;
    lane_command *command;
    ...;
} lane_reading;

int lane_lowat(const lane_reading *r);
