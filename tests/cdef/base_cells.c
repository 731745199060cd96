static const char *trapped_cells_give(cells *c, void *cell)
{
    TRAPPED(cells_give(c, cell));
}
