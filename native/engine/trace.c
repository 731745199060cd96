/* trace.c - the names of trace.h. */
#include "engine/trace.h"

#define TRACE_NAME(name) #name,
static const char *const names[] = {TRACE_LIST(TRACE_NAME)};

const char *trace_kind_name(unsigned kind)
{
    return kind < TRACE_KINDS ? names[kind] : "?";
}
