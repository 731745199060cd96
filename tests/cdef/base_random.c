static const char *trapped_random_below(random_source *r, uint64_t bound)
{
    TRAPPED((void)random_below(r, bound));
}
