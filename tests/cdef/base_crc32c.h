uint32_t crc32c(uint32_t crc, const void *data, size_t size);
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);
const char *crc32c_name(void);
