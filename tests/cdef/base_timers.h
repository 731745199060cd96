typedef struct {
    uint64_t due;
    uint64_t order;
    uint32_t place;
    uint8_t kind;
} timer;

typedef struct {
    timer **heap;
    uint32_t count, room;
    uint64_t orders;
} timers;

void timers_init(timers *t, timer **memory, uint32_t room);
void timer_arm(timers *t, timer *which, uint64_t due);
void timer_disarm(timers *t, timer *which);
bool timer_armed(const timer *which);
uint64_t timers_earliest(const timers *t);
timer *timers_take(timers *t, uint64_t now);

const char *trapped_timer_arm(timers *t, timer *which, uint64_t due);
