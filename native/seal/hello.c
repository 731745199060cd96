#include "seal/hello.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/ensure.h"

/* A message taken apart; all pointers lead into it. */
typedef struct {
    const uint8_t *ids; /* kind to session ids: what the check begins with */
    size_t ids_size;
    const uint8_t *check;
    const uint8_t *sized; /* the body with its size before it */
    const uint8_t *body;
    uint16_t size; /* of the body */
    uint8_t pattern;
    uint64_t dialler;
    uint64_t acceptor; /* 0 in message 1 */
} message;

/* -- keys -------------------------------------------------------------------------------------- */

static void derive(const uint8_t key[AEAD_KEY], const char *what, uint8_t out[AEAD_HASH])
{
    aead_hmac(key, &(aead_piece){what, strlen(what)}, 1, out);
}

static void keys_add(hello_keys *keys, const uint8_t *key)
{
    uint8_t name[AEAD_HASH];
    memcpy(keys->key[keys->count], key, AEAD_KEY);
    derive(key, "rudp hello check", keys->check[keys->count]);
    derive(key, "rudp key name", name);
    keys->name[keys->count] = load_u64(name) | 1;
    keys->count++;
}

void hello_keys_set(hello_keys *keys, const uint8_t *key0_or_null, const uint8_t *key1_or_null)
{
    hello_keys fresh = {0}; /* built aside: the keys given may be those standing in `keys` */
    if (key0_or_null != NULL)
        keys_add(&fresh, key0_or_null);
    if (key1_or_null != NULL)
        keys_add(&fresh, key1_or_null);
    *keys = fresh;
    aead_wipe(&fresh, sizeof fresh);
}

bool hello_keys_hold(const hello_keys *keys, uint64_t name)
{
    if (keys->count == 0)
        return name == 0;
    for (size_t i = 0; i < keys->count; i++)
        if (keys->name[i] == name)
            return true;
    return false;
}

/* -- the frame around both messages ------------------------------------------------------------ */

static void check_make(const uint8_t *key_or_null, const message *m, uint8_t out[HELLO_CHECK])
{
    size_t sized = 2 + (size_t)m->size;
    if (key_or_null == NULL) {
        memset(out, 0, HELLO_CHECK);
        store_u32(out, crc32c(crc32c(0, m->ids, m->ids_size), m->sized, sized));
        return;
    }
    aead_piece pieces[] = {{m->ids, m->ids_size}, {m->sized, sized}};
    aead_check(key_or_null, pieces, 2, out);
}

static bool check_holds(const uint8_t *key_or_null, const message *m)
{
    uint8_t wanted[HELLO_CHECK];
    check_make(key_or_null, m, wanted);
    return aead_equal(wanted, m->check, HELLO_CHECK);
}

/* If the first is zero and each equals the next, all are; memcmp is much faster than a loop. */
static bool all_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Form only. A version that is not ours may look quite different behind its second byte. */
static hello_verdict take_apart(uint8_t kind, const uint8_t *in, size_t size, message *m)
{
    reader r = reader_of(in, size);
    uint8_t found = read_u8(&r);
    uint8_t version = read_u8(&r);
    if (!r.ok || found != kind)
        return HELLO_MALFORMED;
    if (version != HELLO_VERSION_NOW)
        return HELLO_VERSION;
    m->pattern = read_u8(&r);
    uint8_t reserved = read_u8(&r);
    m->dialler = read_u64(&r);
    m->acceptor = kind == HELLO_SECOND ? read_u64(&r) : 0;
    m->ids = in;
    m->ids_size = kind == HELLO_SECOND ? HELLO_SECOND_IDS : HELLO_FIRST_IDS;
    m->check = read_bytes(&r, HELLO_CHECK);
    m->sized = r.at;
    m->size = read_u16(&r);
    m->body = read_bytes(&r, m->size);
    if (!r.ok || reserved != 0 || size > HELLO_ROOM || !all_zero(r.at, reader_left(&r)))
        return HELLO_MALFORMED;
    return HELLO_OK;
}

/* Writes the header up to the size; the caller puts the body behind it and calls `complete`. */
static uint8_t *write_ids(uint8_t kind, const hello_state *h, uint8_t *out)
{
    bool second = kind == HELLO_SECOND;
    writer w = writer_of(out, second ? HELLO_SECOND_IDS : HELLO_FIRST_IDS);
    write_u8(&w, kind);
    write_u8(&w, HELLO_VERSION_NOW);
    write_u8(&w, h->pattern);
    write_u8(&w, 0);
    write_u64(&w, h->session_dialler);
    if (second)
        write_u64(&w, h->session_acceptor);
    ENSURE(w.ok);
    return out + (second ? HELLO_SECOND_HEADER : HELLO_FIRST_HEADER);
}

/* Size, zeros, check. */
static size_t complete(const hello_state *h, uint8_t *out, uint8_t *body, size_t size, size_t room)
{
    message m = {
        .ids = out,
        .ids_size = (size_t)(body - out) - 2 - HELLO_CHECK,
        .sized = body - 2,
        .size = (uint16_t)size,
    };
    store_u16(body - 2, (uint16_t)size);
    memset(body + size, 0, (size_t)(out + room - (body + size)));
    check_make(h->pattern == HELLO_PATTERN_PLAIN ? NULL : h->check, &m, body - 2 - HELLO_CHECK);
    return room;
}

/* A payload of 0 bytes may be NULL, which memcpy may not be given. */
static void put(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size > 0)
        memcpy(to, from, size);
}

static bool fits(size_t header, size_t body, size_t room)
{
    return room <= HELLO_ROOM && body <= HELLO_ROOM && header + body <= room;
}

/* -- message 1 --------------------------------------------------------------------------------- */

/* K3: version and pattern stand in the prologue, so does the session the answer goes to. */
static void begin(hello_state *h, const hello_keys *keys, size_t index, const uint8_t *ids)
{
    noise_begin(&h->noise, ids, HELLO_FIRST_IDS, keys->key[index]);
    memcpy(h->check, keys->check[index], AEAD_KEY);
    h->key_name = keys->name[index];
}

size_t hello_write_first(hello_state *h, const hello_keys *keys, const uint8_t entropy[32],
                         uint64_t session, const uint8_t *payload, size_t size, uint8_t *out,
                         size_t room)
{
    bool plain = keys->count == 0;
    if (!fits(HELLO_FIRST_HEADER + (plain ? 0 : NOISE_OVERHEAD), size, room))
        return 0;
    memset(h, 0, sizeof *h);
    h->pattern = plain ? HELLO_PATTERN_PLAIN : HELLO_PATTERN_NNPSK0;
    h->session_dialler = session;
    uint8_t *body = write_ids(HELLO_FIRST, h, out);
    if (plain) {
        put(body, payload, size);
        return complete(h, out, body, size, room);
    }
    begin(h, keys, keys->offered, out);
    noise_write_first(&h->noise, entropy, payload, size, body);
    return complete(h, out, body, size + NOISE_OVERHEAD, room);
}

/* K4: at most two HMACs. `index` becomes the key that fits, 0 in plaintext. */
static hello_verdict verify_first(const hello_keys *keys, const uint8_t *in, size_t size,
                                  message *m, size_t *index)
{
    hello_verdict verdict = take_apart(HELLO_FIRST, in, size, m);
    if (verdict != HELLO_OK)
        return verdict;
    *index = 0;
    if (keys->count == 0) /* K11: no mode answers the other */
        return m->pattern == HELLO_PATTERN_PLAIN && check_holds(NULL, m) ? HELLO_OK
                                                                         : HELLO_UNVERIFIED;
    for (; m->pattern == HELLO_PATTERN_NNPSK0 && *index < keys->count; ++*index)
        if (check_holds(keys->check[*index], m))
            return HELLO_OK;
    return HELLO_UNVERIFIED;
}

hello_verdict hello_check_first(const hello_keys *keys, const uint8_t *in, size_t size)
{
    message m;
    size_t index;
    return verify_first(keys, in, size, &m, &index);
}

hello_verdict hello_read_first(hello_state *h, const hello_keys *keys, const uint8_t *in,
                               size_t size, uint64_t *session, uint8_t *payload,
                               size_t *payload_size)
{
    message m;
    size_t index;
    hello_verdict verdict = verify_first(keys, in, size, &m, &index);
    if (verdict != HELLO_OK)
        return verdict;
    memset(h, 0, sizeof *h);
    h->pattern = m.pattern;
    h->session_dialler = m.dialler;
    if (m.pattern == HELLO_PATTERN_PLAIN) {
        memcpy(payload, m.body, m.size);
        *payload_size = m.size;
    } else {
        begin(h, keys, index, in);
        if (!noise_read_first(&h->noise, m.body, m.size, payload)) {
            hello_wipe(h);
            return HELLO_UNVERIFIED;
        }
        *payload_size = m.size - NOISE_OVERHEAD;
    }
    *session = m.dialler;
    return HELLO_OK;
}

/* -- message 2 --------------------------------------------------------------------------------- */

size_t hello_write_second(hello_state *h, const uint8_t entropy[32], uint64_t session_dialler,
                          uint64_t session_acceptor, const uint8_t *payload, size_t size,
                          uint8_t *out, size_t room)
{
    bool plain = h->pattern == HELLO_PATTERN_PLAIN;
    size_t around = plain ? 0 : NOISE_OVERHEAD + HELLO_SECOND_IDS;
    ENSURE(session_dialler == h->session_dialler);
    if (!fits(HELLO_SECOND_HEADER + around, size, room))
        return 0;
    h->session_acceptor = session_acceptor;
    uint8_t *body = write_ids(HELLO_SECOND, h, out);
    if (plain) {
        put(body, payload, size);
        return complete(h, out, body, size, room);
    }
    uint8_t sealed[HELLO_ROOM]; /* the header once more, so that the Noise keys cover it too */
    memcpy(sealed, out, HELLO_SECOND_IDS);
    put(sealed + HELLO_SECOND_IDS, payload, size);
    if (!noise_write_second(&h->noise, entropy, sealed, HELLO_SECOND_IDS + size, body))
        return 0;
    return complete(h, out, body, size + around, room);
}

/* The part that costs a public-key operation; `h` changes only if all of it is genuine. */
static bool open_second(hello_state *h, const message *m, uint8_t *payload, size_t *payload_size)
{
    uint8_t sealed[HELLO_ROOM];
    noise next = h->noise;
    bool genuine = m->size >= NOISE_OVERHEAD + HELLO_SECOND_IDS &&
                   noise_read_second(&next, m->body, m->size, sealed) &&
                   aead_equal(sealed, m->ids, HELLO_SECOND_IDS);
    if (genuine) {
        *payload_size = (size_t)m->size - NOISE_OVERHEAD - HELLO_SECOND_IDS;
        memcpy(payload, sealed + HELLO_SECOND_IDS, *payload_size);
        h->noise = next;
    }
    aead_wipe(&next, sizeof next);
    return genuine;
}

hello_verdict hello_read_second(hello_state *h, const hello_keys *keys, const uint8_t *in,
                                size_t size, uint64_t *session_acceptor, uint8_t *payload,
                                size_t *payload_size)
{
    message m;
    hello_verdict verdict = take_apart(HELLO_SECOND, in, size, &m);
    if (verdict != HELLO_OK)
        return verdict;
    bool plain = h->pattern == HELLO_PATTERN_PLAIN;
    /* K9: a key dropped since the dial began is not accepted in its answer either. */
    if (m.pattern != h->pattern || m.dialler != h->session_dialler ||
        !hello_keys_hold(keys, h->key_name) || !check_holds(plain ? NULL : h->check, &m))
        return HELLO_UNVERIFIED;
    if (plain) {
        memcpy(payload, m.body, m.size);
        *payload_size = m.size;
    } else if (!open_second(h, &m, payload, payload_size)) {
        return HELLO_UNVERIFIED;
    }
    h->session_acceptor = m.acceptor;
    *session_acceptor = m.acceptor;
    return HELLO_OK;
}

/* -- after both -------------------------------------------------------------------------------- */

void hello_split(hello_state *h, bool dialler, session_secrets *out)
{
    memset(out, 0, sizeof *out);
    if (h->pattern == HELLO_PATTERN_PLAIN) {
        store_u64(out->send, dialler ? h->session_acceptor : h->session_dialler);
        store_u64(out->receive, dialler ? h->session_dialler : h->session_acceptor);
        store_u64(out->lane, h->session_dialler);
        store_u64(out->lane + 8, h->session_acceptor);
        return;
    }
    static const char what[] = "rudp lane secret";
    aead_piece pieces[] = {{what, sizeof what - 1}, {h->noise.hash, AEAD_HASH}};
    aead_hmac(h->noise.chain, pieces, 2, out->lane);
    noise_split(&h->noise, dialler ? out->send : out->receive, dialler ? out->receive : out->send);
}

void hello_wipe(hello_state *h)
{
    aead_wipe(h, sizeof *h);
}
