const char *trapped_ensure(bool condition);
void ensure_failed(const char *what, const char *file, int line);
bool trap_is_set(void);
#define ENSURE_MESSAGE_SIZE ...
