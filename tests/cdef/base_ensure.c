static const char *trapped_ensure(bool condition)
{
    TRAPPED(ENSURE(condition));
}

static bool trap_is_set(void)
{
    return ensure_trap != NULL;
}
