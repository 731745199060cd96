#include "base/ensure.h"

#include <stdio.h>
/* tidy: allow stdlib.h: a broken promise ends the process, by abort */
#include <stdlib.h>

_Thread_local jmp_buf *ensure_trap;
_Thread_local char ensure_message[ENSURE_MESSAGE_SIZE];

_Noreturn void ensure_failed(const char *what, const char *file, int line)
{
    jmp_buf *trap = ensure_trap;
    if (trap != NULL) {
        snprintf(ensure_message, sizeof ensure_message, "%s:%d: %s", file, line, what);
        ensure_trap = NULL;
        longjmp(*trap, 1);
    }
    /* tidy: allow printf: the last words of a process that ends here */
    fprintf(stderr, "%s:%d: broken promise: %s\n", file, line, what);
    abort();
}
