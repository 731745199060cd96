#define POOL_CACHE   ...
#define POOL_TRIMMED ...

typedef struct block {
    uint8_t *data;
    size_t size;
    ...;
} block;

block *pool_take(size_t size);
void pool_give(block *b);
void pool_begin(block *b);
block *pool_settle(block *b);
block *pool_block_of(void *data);
void pool_trim(void);
uint64_t pool_unused(void);
