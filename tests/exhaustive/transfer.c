/* transfer.c - a message that waits for memory, in every order (T1 to T5, T10; Q8). */
#include "exhaustive/message.h"

int main(void)
{
    message_begin();
    message_call();
    message_search("transfer", 2, 9);
    return 0;
}
