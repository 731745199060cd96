/* after: base_cells.h */
#define SLOT_PAGE_ENTRIES ...
#define SLOT_PAGES        ...
#define SLOT_FIRST_MAX    ...

typedef struct {
    uint32_t sequence;
    uint32_t value;
} slot_entry;

typedef struct {
    uint16_t count;
    uint16_t used_count;
    slot_entry *entries;
    ...;
} slot_table;

void slot_table_init(slot_table *t, uint16_t first);
slot_entry *slot_table_reach(slot_table *t, cells *c, uint32_t slot);
size_t slot_table_cells(const slot_table *t);
bool slot_table_grow(slot_table *t, cells *c, uint16_t count);
slot_entry *slot_table_at(slot_table *t, uint32_t slot);
bool slot_table_take(slot_table *t, cells *c, uint16_t *slot);
void slot_table_give(slot_table *t, uint16_t slot);
void slot_table_untake(slot_table *t, uint16_t slot);
void slot_table_free(slot_table *t, cells *c);

const char *trapped_slot_table_give(slot_table *t, uint16_t slot);
