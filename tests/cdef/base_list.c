typedef struct {
    uint64_t before;
    list_link link;
} linked_thing;

static linked_thing *linked_thing_of(list_link *node)
{
    return CONTAINER_OF(node, linked_thing, link);
}

static const char *trapped_list_push_back(list_link *head, list_link *node)
{
    TRAPPED(list_push_back(head, node));
}

static const char *trapped_list_remove(list_link *node)
{
    TRAPPED(list_remove(node));
}
