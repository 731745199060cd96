static const char *trapped_indices_init(indices *set, uint32_t limit)
{
    TRAPPED(indices_init(set, NULL, limit, false));
}

static const char *trapped_indices_add(indices *set, uint32_t index)
{
    TRAPPED(indices_add(set, index));
}

static const char *trapped_indices_drop(indices *set, uint32_t index)
{
    TRAPPED(indices_drop(set, index));
}
