/* Wrappers for tests: TRAPPED(call) as the whole body of a function that returns const char *
 * gives NULL if the call came back, and the text of the broken promise if it did not (E10). */
#define TRAPPED(...)                                                                               \
    do {                                                                                           \
        jmp_buf trap;                                                                              \
        if (setjmp(trap) != 0)                                                                     \
            return ensure_message;                                                                 \
        ensure_trap = &trap;                                                                       \
        __VA_ARGS__;                                                                               \
        ensure_trap = NULL;                                                                        \
        return NULL;                                                                               \
    } while (0)
