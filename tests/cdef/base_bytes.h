uint16_t load_u16(const uint8_t *at);
uint32_t load_u32(const uint8_t *at);
uint64_t load_u64(const uint8_t *at);
void store_u16(uint8_t *at, uint16_t value);
void store_u32(uint8_t *at, uint32_t value);
void store_u64(uint8_t *at, uint64_t value);

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    bool ok;
} reader;

reader reader_of(const void *bytes, size_t size);
size_t reader_left(const reader *r);
const uint8_t *read_bytes(reader *r, size_t n);
uint8_t read_u8(reader *r);
uint16_t read_u16(reader *r);
uint32_t read_u32(reader *r);
uint64_t read_u64(reader *r);

typedef struct {
    uint8_t *at;
    uint8_t *end;
    bool ok;
} writer;

writer writer_of(void *bytes, size_t size);
size_t writer_left(const writer *w);
uint8_t *write_gap(writer *w, size_t n);
void write_bytes(writer *w, const void *bytes, size_t n);
void write_u8(writer *w, uint8_t value);
void write_u16(writer *w, uint16_t value);
void write_u32(writer *w, uint32_t value);
void write_u64(writer *w, uint64_t value);
