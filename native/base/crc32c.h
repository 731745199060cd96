/* crc32c.h - "are these the bytes that were sent?"
 *
 * CRC-32C (Castagnoli), the one iSCSI and ext4 use, because processors compute it. It finds
 * accidents (a bad memory chip, a wrong offset); it is no protection from anyone: seal/ is.
 *
 *   crc32c(0, "123456789") == 0xE3069283
 *   crc32c(crc32c(0, a), b) == crc32c(0, a followed by b)
 *
 * One implementation is chosen when the program is loaded: SSE4.2 with PCLMULQDQ (three streams
 * at once), VPCLMULQDQ beside it, the instruction of arm64, or tables. */
#ifndef RUDP_BASE_CRC32C_H
#define RUDP_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc: 0 to begin, or the result for the bytes before. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The same by tables, on any machine. Public for the test that compares the two. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);

/* "vpclmul", "sse4.2", "arm64" or "tables": which one crc32c uses here. */
const char *crc32c_name(void);

#endif
