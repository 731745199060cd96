/* layout.h - where in the one block of memory does each table lie?
 *
 * The same walk measures (base NULL) and assigns, so size and use cannot disagree. */
#ifndef RUDP_ENGINE_LAYOUT_H
#define RUDP_ENGINE_LAYOUT_H

#include "engine/state.h"

/* Bytes needed in all; with memory, points every table of e into it. */
size_t layout_cut(engine *e, uint8_t *memory, const config *c);

#endif
