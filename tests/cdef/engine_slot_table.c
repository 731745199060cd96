static const char *trapped_slot_table_give(slot_table *t, uint16_t slot)
{
    TRAPPED(slot_table_give(t, slot));
}
