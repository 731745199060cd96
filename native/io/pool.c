/* pool.c - memory for received messages. */
#define _GNU_SOURCE
#include "io/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "base/ensure.h"

#define PAGE      ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)
#define SLAB      ((size_t)4 << 20)

enum {
    CLASS_SMALLEST = 16 /* 2^16 */,
    CLASSES = 32,
    CLASS_LARGE = 21,  /* the first of its own */
    CLASS_CACHED = 23, /* the last of which a few fit in a processor's cache */
};

_Static_assert(sizeof(block) == 64, "a block's head ends where its data begins");

typedef struct {
    pthread_mutex_t lock; /* zeros are PTHREAD_MUTEX_INITIALIZER on Linux */
    uint64_t unused;      /* bytes in the lists */
    block *free[CLASSES];
    block *cold[CLASSES]; /* free, and not used when they were last taken */
} pool_page;

static pool_page *pool;
static pthread_once_t pool_made = PTHREAD_ONCE_INIT;

static void pool_make(void)
{
    size_t size = (sizeof(pool_page) + PAGE - 1) & ~(PAGE - 1);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return;
    madvise(page, size, MADV_WIPEONFORK);
    pool = page;
}

static size_t class_room(uint32_t class)
{
    return (size_t)1 << (class + CLASS_SMALLEST);
}

static bool class_is_large(uint32_t class)
{
    return class + CLASS_SMALLEST >= CLASS_LARGE;
}

/* Worth reading into another than was promised. */
static bool class_is_cached(uint32_t class)
{
    return class_is_large(class) && class + CLASS_SMALLEST <= CLASS_CACHED;
}

static uint32_t class_of(size_t size)
{
    uint32_t class = 0;
    while (class < CLASSES && class_room(class) < size)
        class++;
    return class;
}

static uint8_t *align_up(uint8_t *at, size_t to)
{
    return (uint8_t *)(((uintptr_t)at + to - 1) & ~(uintptr_t)(to - 1));
}

static uint8_t *pool_map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static block *block_make(uint8_t *data, uint32_t class, void *mapping, size_t mapped)
{
    block *b = (block *)(void *)(data - sizeof(block));
    *b = (block){
        .kind = MEMORY_BLOCK, .class = class, .data = data, .mapping = mapping, .mapped = mapped};
    return b;
}

static block *pool_map_large(uint32_t class)
{
    size_t room = class_room(class);
    size_t mapped = room + 2 * HUGE_PAGE;
    uint8_t *mapping = pool_map(mapped);
    if (mapping == NULL)
        return NULL;
    uint8_t *data = align_up(mapping + sizeof(block), HUGE_PAGE);
    madvise(data, room, MADV_HUGEPAGE); /* a refusal costs speed, nothing else */
    return block_make(data, class, mapping, mapped);
}

/* One slab, cut into blocks: a chain of them. */
static block *pool_map_small(uint32_t class)
{
    size_t stride = class_room(class) + PAGE;
    uint8_t *mapping = pool_map(SLAB + HUGE_PAGE);
    if (mapping == NULL)
        return NULL;
    uint8_t *slab = align_up(mapping, HUGE_PAGE);
    madvise(slab, SLAB, MADV_HUGEPAGE);
    block *chain = NULL;
    for (size_t i = SLAB / stride; i-- > 0;) {
        block *b = block_make(slab + i * stride + PAGE, class, NULL, 0);
        b->next = chain;
        chain = b;
    }
    return chain;
}

static void pool_put(block **lists, block *chain)
{
    pthread_mutex_lock(&pool->lock);
    while (chain != NULL) {
        block *next = chain->next;
        chain->kind = MEMORY_FREE;
        chain->next = lists[chain->class];
        lists[chain->class] = chain;
        pool->unused += class_room(chain->class);
        chain = next;
    }
    pthread_mutex_unlock(&pool->lock);
}

static block *pool_get(block **lists, uint32_t class)
{
    pthread_mutex_lock(&pool->lock);
    block *b = lists[class];
    if (b != NULL) {
        lists[class] = b->next;
        pool->unused -= class_room(class);
        b->kind = MEMORY_BLOCK;
    }
    pthread_mutex_unlock(&pool->lock);
    return b;
}

static block *pool_map_class(uint32_t class)
{
    if (class_is_large(class))
        return pool_map_large(class);
    block *b = pool_map_small(class);
    if (b != NULL)
        pool_put(pool->free, b->next);
    return b;
}

block *pool_take(size_t size)
{
    pthread_once(&pool_made, pool_make);
    uint32_t class = class_of(size);
    if (pool == NULL || class >= CLASSES)
        return NULL;
    block *b = pool_get(class_is_cached(class) ? pool->cold : pool->free, class);
    if (b == NULL)
        b = pool_map_class(class);
    if (b == NULL) /* no new mapping: then the hot one, if there is one */
        b = pool_get(pool->free, class);
    if (b == NULL)
        return NULL;
    b->next = b->instead = NULL;
    b->begun = 0;
    b->size = size;
    return b;
}

void pool_begin(block *b)
{
    if (b->begun != 0)
        return;
    b->begun = 1;
    if (!class_is_cached(b->class))
        return;
    b->instead = pool_get(pool->free, b->class);
    if (b->instead != NULL)
        b->instead->size = b->size;
}

static void block_give(block *b, block **lists)
{
    bool keep = b->mapping == NULL;
    if (!keep) {
        pthread_mutex_lock(&pool->lock);
        keep = pool->unused + class_room(b->class) <= POOL_CACHE;
        pthread_mutex_unlock(&pool->lock);
    }
    if (!keep) {
        munmap(b->mapping, b->mapped);
        return;
    }
    b->next = NULL;
    pool_put(lists, b);
}

block *pool_settle(block *b)
{
    block *filled = b->instead;
    if (filled == NULL)
        return b;
    b->instead = NULL;
    block_give(b, pool->cold);
    filled->instead = NULL;
    filled->begun = 1;
    return filled;
}

void pool_give(block *b)
{
    ENSURE(b->kind == MEMORY_BLOCK);
    b = pool_settle(b);
    bool used = b->begun != 0 || !class_is_cached(b->class);
    block_give(b, used ? pool->free : pool->cold);
}

block *pool_block_of(void *data)
{
    block *b = (block *)(void *)((uint8_t *)data - sizeof(block));
    ENSURE(b->kind == MEMORY_BLOCK && b->data == data);
    return b;
}

static void pool_trim_lists(block **lists)
{
    for (uint32_t class = CLASSES; class-- > 0;) {
        block *kept = NULL;
        while (pool_unused() > POOL_TRIMMED) {
            block *b = pool_get(lists, class);
            if (b == NULL)
                break;
            if (b->mapping != NULL) {
                munmap(b->mapping, b->mapped);
            } else {
                madvise(b->data, class_room(class), MADV_DONTNEED);
                b->next = kept;
                kept = b;
            }
        }
        pool_put(lists, kept);
    }
}

/* Largest first: they are the fewest and the quickest to make anew. Slabs stay mapped, but their
 * blocks' pages go. */
void pool_trim(void)
{
    if (pool == NULL)
        return;
    pool_trim_lists(pool->cold);
    pool_trim_lists(pool->free);
}

uint64_t pool_unused(void)
{
    if (pool == NULL)
        return 0;
    pthread_mutex_lock(&pool->lock);
    uint64_t unused = pool->unused;
    pthread_mutex_unlock(&pool->lock);
    return unused;
}
