/* ensure.h - "is what we promised ourselves still true?"
 *
 *   ENSURE(count > 0);
 *
 * A promise of ours that is broken means that our own state is wrong, and going on would send
 * wrong bytes to others. Plain assert() will not do: Python's build flags define NDEBUG, and it
 * would vanish from the wheel. So ENSURE stays on in every build (E10).
 *
 * Who catches it: a thread which can stop its node in good order sets ensure_trap to a jmp_buf
 * and gets control back there, with a line of text in ensure_message. Everybody else aborts.
 *
 * The trap: never ENSURE anything about bytes from a peer. A peer makes us drop, answer or wait;
 * only we can make us stop. */
#ifndef RUDP_BASE_ENSURE_H
#define RUDP_BASE_ENSURE_H

#include <setjmp.h>

enum { ENSURE_MESSAGE_SIZE = 160 };

/* Where a broken promise of this thread lands, or NULL to abort. It is set back to NULL before
 * the jump, so that a second failure on the way out cannot loop. */
extern _Thread_local jmp_buf *ensure_trap;

/* What broke, as "file:line: condition", cut to fit. Valid once a trap was taken. */
extern _Thread_local char ensure_message[ENSURE_MESSAGE_SIZE];

_Noreturn void ensure_failed(const char *what, const char *file, int line);

#define ENSURE(condition)                                                                          \
    (__builtin_expect(!(condition), 0) ? ensure_failed(#condition, __FILE__, __LINE__) : (void)0)

#endif
