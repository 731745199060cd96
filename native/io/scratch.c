/* scratch.c - buffers that nobody has borrowed form a chain through their first bytes. */
#include "io/scratch.h"

#include <stdlib.h>
#include <string.h>

uint8_t *scratch_borrow(lane_tools *tools)
{
    uint8_t *scratch = tools->spare;
    if (scratch == NULL)
        return malloc(LANE_SEALED);
    memcpy(&tools->spare, scratch, sizeof tools->spare);
    tools->spares--;
    return scratch;
}

void scratch_return(lane_tools *tools, uint8_t *scratch)
{
    if (scratch == NULL)
        return;
    if (tools->spares == LANE_SPARES) {
        free(scratch);
        return;
    }
    memcpy(scratch, &tools->spare, sizeof tools->spare);
    tools->spare = scratch;
    tools->spares++;
}

void lane_tools_free(lane_tools *tools)
{
    while (tools->spare != NULL) {
        uint8_t *scratch = tools->spare;
        memcpy(&tools->spare, scratch, sizeof tools->spare);
        free(scratch);
    }
    free(tools->sink);
}
