/* status.c - the texts and names of status.h. */
#include "wire/status.h"

#define TEXT(name, text) text,
#define NAME(name, text) #name,
static const char *const status_texts[] = {STATUS_LIST(TEXT)};
static const char *const status_names[] = {STATUS_LIST(NAME)};
static const char *const drop_texts[] = {DROP_LIST(TEXT)};
static const char *const drop_names[] = {DROP_LIST(NAME)};

const char *status_text(unsigned number)
{
    return number < STATUS_COUNT ? status_texts[number] : "unknown status";
}

const char *status_name(unsigned number)
{
    return number < STATUS_COUNT ? status_names[number] : "UNKNOWN";
}

const char *drop_text(unsigned number)
{
    return number < DROP_COUNT ? drop_texts[number] : "unknown reason";
}

const char *drop_name(unsigned number)
{
    return number < DROP_COUNT ? drop_names[number] : "UNKNOWN";
}
