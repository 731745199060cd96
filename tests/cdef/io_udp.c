/* A kernel that takes only so many packets (E3): the linker sends io/udp.c's calls here. */
#include <errno.h>

static int packets_taken = -1; /* how many more it takes; below 0: all */

int __real_sendmmsg(int fd, struct mmsghdr *headers, unsigned count, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *headers, unsigned count, int flags);

int __wrap_sendmmsg(int fd, struct mmsghdr *headers, unsigned count, int flags)
{
    if (packets_taken == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (packets_taken > 0 && count > (unsigned)packets_taken)
        count = (unsigned)packets_taken;
    int sent = __real_sendmmsg(fd, headers, count, flags);
    if (packets_taken > 0 && sent > 0)
        packets_taken -= sent;
    return sent;
}

static void kernel_takes(int packets)
{
    packets_taken = packets;
}
