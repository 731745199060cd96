#define NOISE_OVERHEAD ...

typedef struct {
    uint8_t chain[32];
    uint8_t hash[32];
    uint8_t public[32];
    uint8_t private[32];
    ...;
} noise;

void noise_begin(noise *n, const uint8_t *prologue, size_t size, const uint8_t *psk);
void noise_write_first(noise *n, const uint8_t *private, const uint8_t *payload, size_t size,
                       uint8_t *out);
bool noise_write_second(noise *n, const uint8_t *private, const uint8_t *payload, size_t size,
                        uint8_t *out);
bool noise_read_first(noise *n, const uint8_t *in, size_t size, uint8_t *payload);
bool noise_read_second(noise *n, const uint8_t *in, size_t size, uint8_t *payload);
void noise_split(const noise *n, uint8_t *from_dialler, uint8_t *from_acceptor);
