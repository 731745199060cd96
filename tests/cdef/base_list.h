typedef struct link {
    struct link *next, *prev;
} list_link;

void list_init(list_link *head);
bool list_empty(const list_link *head);
bool link_linked(const list_link *node);
void list_push_back(list_link *head, list_link *node);
void list_push_front(list_link *head, list_link *node);
void list_remove(list_link *node);
list_link *list_first(const list_link *head);
list_link *list_next(const list_link *head, const list_link *node);
void list_splice_back(list_link *head, list_link *from);

const char *trapped_list_push_back(list_link *head, list_link *node);
const char *trapped_list_remove(list_link *node);

typedef struct {
    uint64_t before;
    list_link link;
} linked_thing;
linked_thing *linked_thing_of(list_link *link);
