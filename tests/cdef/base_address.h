typedef struct {
    uint8_t ip[16];
    uint32_t scope;
    uint16_t port;
    uint8_t family;
    ...;
} address;
