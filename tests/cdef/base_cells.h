#define CELL_SLAB_SIZE ...
#define CELL_LARGEST   ...

typedef struct {
    ...;
} cells;

size_t cells_size(size_t arena_bytes);
void cells_init(cells *c, void *bookkeeping, uint8_t *arena, size_t arena_bytes);
size_t cell_capacity(size_t size);
void *cells_take(cells *c, size_t size);
void cells_give(cells *c, void *cell);
size_t cells_room(const cells *c);
size_t cells_used(const cells *c);
bool cells_idle_slab(cells *c, uint8_t **slab_bytes);

const char *trapped_cells_give(cells *c, void *cell);
