/* fuzz_hello.c - the two handshake messages: any bytes, and genuine ones that were altered.
 *
 *   input:  key mode 1 | what 1 | count 1 | (offset 2, xor 1) * count | payload or raw bytes
 *
 * A genuine message always opens; an altered one never does (but for its padding, which nobody
 * reads); and what does not open changes nothing: the genuine answer still comes through. */
#include "fuzz.h"

#include "base/crc32c.h"
#include "seal/hello.h"

typedef struct {
    uint8_t mode, what, count;
    uint16_t offset[8];
    uint8_t change[8];
} plan;

static plan plan_read(reader *input)
{
    plan p = {.mode = input_byte(input), .what = input_byte(input)};
    p.count = input_byte(input) % 9;
    for (unsigned i = 0; i < p.count; i++) {
        p.offset[i] = input_word(input);
        p.change[i] = input_byte(input);
    }
    return p;
}

/* True if anything that is read was changed. `body_end`: what follows is padding. */
static bool alter(const plan *p, uint8_t *message, size_t size, size_t body_end)
{
    uint8_t before[HELLO_ROOM];
    memcpy(before, message, size);
    for (unsigned i = 0; i < p->count; i++)
        message[p->offset[i] % size] ^= p->change[i];
    return memcmp(before, message, body_end) != 0;
}

static void keys_for(uint8_t mode, hello_keys *keys)
{
    static const uint8_t first[AEAD_KEY] = {1}, second[AEAD_KEY] = {2};
    hello_keys_set(keys, mode & 1 ? first : NULL, (mode & 3) == 3 ? second : NULL);
}

/* Plaintext has no secret, so its check can be made right again: the rest is then read. */
static void mend_plain(uint8_t *message, size_t size, size_t ids)
{
    size_t body = load_u16(message + ids + HELLO_CHECK);
    if (ids + HELLO_CHECK + 2 + body > size)
        return;
    memset(message + ids, 0, HELLO_CHECK);
    store_u32(message + ids,
              crc32c(crc32c(0, message, ids), message + ids + HELLO_CHECK, 2 + body));
}

static size_t body_end(const uint8_t *message, size_t ids)
{
    return ids + HELLO_CHECK + 2 + load_u16(message + ids + HELLO_CHECK);
}

static void check_raw(const hello_keys *keys, const plan *p, reader *input)
{
    uint8_t payload[HELLO_ROOM];
    size_t size = reader_left(input), got;
    if (size > HELLO_ROOM)
        return;
    uint8_t *message = malloc(size ? size : 1);
    input_take(input, message, size);
    if (p->what & 2 && size >= HELLO_SECOND_HEADER)
        mend_plain(message, size, p->what & 4 ? HELLO_FIRST_IDS : HELLO_SECOND_IDS);
    hello_state h = {.pattern = 0};
    uint64_t session;
    bool cheap = hello_check_first(keys, message, size) == HELLO_OK;
    bool whole = hello_read_first(&h, keys, message, size, &session, payload, &got) == HELLO_OK;
    MUST(cheap || !whole);
    MUST(!whole || got <= HELLO_ROOM);
    hello_wipe(&h);
    free(message);
}

/* Both messages, made and read; one of them altered on the way. */
static void check_genuine(const hello_keys *keys, const plan *p, reader *input)
{
    uint8_t entropy[32] = {3}, other[32] = {4}, payload[600], got[HELLO_ROOM];
    uint8_t first[HELLO_ROOM], second[HELLO_ROOM], copy[HELLO_ROOM];
    size_t size = input_word(input) % sizeof payload, got_size;
    input_take(input, payload, size);
    hello_state dialler, acceptor;
    uint64_t session;
    size_t made = hello_write_first(&dialler, keys, entropy, 77, payload, size, first, HELLO_ROOM);
    MUST(made == HELLO_ROOM);
    memcpy(copy, first, sizeof copy);
    if (!(p->what & 8) && alter(p, copy, made, body_end(first, HELLO_FIRST_IDS)))
        MUST(hello_read_first(&acceptor, keys, copy, made, &session, got, &got_size) != HELLO_OK);
    MUST(hello_read_first(&acceptor, keys, first, made, &session, got, &got_size) == HELLO_OK);
    MUST(session == 77 && got_size == size && memcmp(got, payload, size) == 0);
    made = hello_write_second(&acceptor, other, 77, 88, payload, size, second, HELLO_ROOM);
    MUST(made == HELLO_ROOM);
    memcpy(copy, second, sizeof copy);
    if (p->what & 8 && alter(p, copy, made, body_end(second, HELLO_SECOND_IDS)))
        MUST(hello_read_second(&dialler, keys, copy, made, &session, got, &got_size) != HELLO_OK);
    MUST(hello_read_second(&dialler, keys, second, made, &session, got, &got_size) == HELLO_OK);
    MUST(session == 88 && got_size == size && memcmp(got, payload, size) == 0);
    session_secrets a, b;
    hello_split(&dialler, true, &a);
    hello_split(&acceptor, false, &b);
    MUST(memcmp(a.send, b.receive, AEAD_KEY) == 0 && memcmp(a.receive, b.send, AEAD_KEY) == 0);
    MUST(memcmp(a.lane, b.lane, AEAD_KEY) == 0);
    hello_wipe(&dialler);
    hello_wipe(&acceptor);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    reader input = reader_of(bytes, size);
    plan p = plan_read(&input);
    hello_keys keys;
    keys_for(p.mode, &keys);
    if (p.what & 1)
        check_raw(&keys, &p, &input);
    else
        check_genuine(&keys, &p, &input);
    hello_keys_set(&keys, NULL, NULL);
    return 0;
}
