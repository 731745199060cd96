typedef struct {
    ...;
} slots;

size_t slots_size(uint32_t count);
void slots_init(slots *s, void *memory, uint32_t count);
bool slots_take(slots *s, uint32_t *index);
bool slots_take_at(slots *s, uint32_t index);
void slots_give(slots *s, uint32_t index);
bool slots_used(const slots *s, uint32_t index);
uint16_t slots_generation(const slots *s, uint32_t index);
bool slots_match(const slots *s, uint32_t index, uint16_t generation);
uint32_t slots_count(const slots *s);

const char *trapped_slots_give(slots *s, uint32_t index);
