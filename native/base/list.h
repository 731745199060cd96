/* list.h - "what stands in this line, and in which order?"
 *
 *        +--> head <--> first <--> second <--> last <--+
 *        +---------------------------------------------+
 *
 * A circle of links that live inside the things they chain: no memory of its own, and removal
 * from the middle needs no search. The head is a link too. A link of zeros stands in no list.
 *
 * The traps: a head must be list_init-ed before use and must not be moved or copied afterwards.
 * And the type is called `list_link`, or `struct link`, but not plain `link`: <unistd.h> has a
 * function of that name, and io/ as well as Python.h include it. */
#ifndef RUDP_BASE_LIST_H
#define RUDP_BASE_LIST_H

#include "base/ensure.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct link {
    struct link *next, *prev;
} list_link;

/* The structure of the given type whose member is at ptr. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

static inline void list_init(list_link *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_empty(const list_link *head)
{
    return head->next == head;
}

/* True while the node stands in some list. */
static inline bool link_linked(const list_link *node)
{
    return node->next != NULL;
}

static inline void list_insert_between(list_link *prev, list_link *node, list_link *next)
{
    ENSURE(!link_linked(node));
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_push_back(list_link *head, list_link *node)
{
    list_insert_between(head->prev, node, head);
}

static inline void list_push_front(list_link *head, list_link *node)
{
    list_insert_between(head, node, head->next);
}

/* Takes the node out of the list it stands in; afterwards it is all zeros again. */
static inline void list_remove(list_link *node)
{
    ENSURE(link_linked(node));
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

/* The first node, or NULL if there is none. */
static inline list_link *list_first(const list_link *head)
{
    return list_empty(head) ? NULL : head->next;
}

/* The node behind this one, or NULL at the end. Ask before removing the node. */
static inline list_link *list_next(const list_link *head, const list_link *node)
{
    return node->next == head ? NULL : node->next;
}

/* Moves everything in `from`, in order, behind the last of `head`. */
static inline void list_splice_back(list_link *head, list_link *from)
{
    if (list_empty(from))
        return;
    from->next->prev = head->prev;
    head->prev->next = from->next;
    from->prev->next = head;
    head->prev = from->prev;
    list_init(from);
}

#endif
