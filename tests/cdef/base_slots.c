static const char *trapped_slots_give(slots *s, uint32_t index)
{
    TRAPPED(slots_give(s, index));
}
