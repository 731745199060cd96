bool serial_before32(uint32_t a, uint32_t b);
