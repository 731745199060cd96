#define INDICES_MOST ...

typedef struct {
    uint32_t levels, limit, count;
    ...;
} indices;

size_t indices_size(uint32_t limit);
void indices_init(indices *set, void *memory, uint32_t limit, bool full);
bool indices_has(const indices *set, uint32_t index);
void indices_add(indices *set, uint32_t index);
void indices_drop(indices *set, uint32_t index);
bool indices_lowest(const indices *set, uint32_t *index);

const char *trapped_indices_add(indices *set, uint32_t index);
const char *trapped_indices_drop(indices *set, uint32_t index);
const char *trapped_indices_init(indices *set, uint32_t limit);
