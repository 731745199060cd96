/* accept.c - message 1 arrives: is it a member's, is it new, and what is answered (K4, K5, K6). */
#include "engine/lane.h"
#include "engine/outbox.h"
#include "engine/peer.h"
#include "engine/state.h"

#define STRANGER_EVERY (10 * NS_PER_S) /* between notes of handshakes that do not verify (K10) */

static void note_stranger(engine *e, uint64_t now, const path *from)
{
    engine_drop(e, now, DROP_HELLO_UNVERIFIED, 0);
    if (e->stranger_told != 0 && now - e->stranger_told < STRANGER_EVERY)
        return;
    e->stranger_told = now;
    e->stranger = from->remote;
}

/* K4: only the highest counter of an incarnation is answered, once. */
static bool counter_is_new(const engine *e, const parameters *theirs)
{
    uint32_t place;
    return !map_get(&e->gone, theirs->incarnation, &place) ||
           theirs->counter > e->gone_counters[place];
}

/* The oldest of those remembered leaves when the table is full. */
static bool counter_remember(engine *e, const parameters *theirs)
{
    uint32_t place;
    if (map_get(&e->gone, theirs->incarnation, &place)) {
        e->gone_counters[place] = theirs->counter;
        return true;
    }
    place = e->gone_next % e->config.gone;
    if (e->gone_next >= e->config.gone)
        (void)map_remove(&e->gone, e->gone_keys[place]);
    e->gone_next = e->gone_next + 1 == 2 * e->config.gone ? e->config.gone : e->gone_next + 1;
    e->gone_keys[place] = theirs->incarnation;
    e->gone_counters[place] = theirs->counter;
    return map_put(&e->gone, theirs->incarnation, place);
}

/* The best both have; CIPHER_COUNT: none. */
static uint8_t choose_cipher(const engine *e, uint8_t offered)
{
    if (e->keys.count == 0)
        return (offered & 1u << CIPHER_PLAIN) != 0 ? CIPHER_PLAIN : CIPHER_COUNT;
    cipher best = aead_preferred();
    cipher other = best == CIPHER_AES_256_GCM ? CIPHER_CHACHA20_POLY1305 : CIPHER_AES_256_GCM;
    uint8_t both = offered & e->config.ciphers;
    if ((both & 1u << best) != 0 && aead_available(best))
        return (uint8_t)best;
    return (both & 1u << other) != 0 && aead_available(other) ? (uint8_t)other : CIPHER_COUNT;
}

/* S3, S5: one that is half open lives too. Its first packets may be lost, and the next may come. */
static uint8_t doubt_of(engine *e, const parameters *theirs)
{
    if (theirs->doubted == 0)
        return DOUBT_NONE;
    const session *s = session_find(e, theirs->doubted);
    bool alive = s != NULL && (session_live(s) || s->state == SESSION_HALF_OPEN) &&
                 s->incarnation == theirs->incarnation;
    return alive ? DOUBT_ALIVE : DOUBT_UNKNOWN;
}

static session *half_open_new(engine *e, uint64_t now)
{
    if (e->half_open_count >= e->config.hellos_waiting) {
        list_link *oldest = list_first(&e->half_open);
        engine_drop(e, now, DROP_HELLO_LIMIT, 0);
        session_free(e, now, CONTAINER_OF(oldest, session, listed));
    }
    return session_new(e, now, SESSION_HALF_OPEN, false);
}

/* Puts message 2 where it leaves: it has no session's queue, and is never resent by itself. */
static void send_answer(engine *e, uint64_t now, const path *to, uint32_t over,
                        const uint8_t *bytes, size_t size)
{
    e->counters.hellos_sent++;
    if (over != 0) {
        lane_answer(e, now, over, bytes, size);
        return;
    }
    list_link *at = list_first(&e->answers_free);
    uint8_t *cell = at == NULL ? NULL : cells_take(&e->cells, size);
    if (cell == NULL) {
        engine_drop(e, now, DROP_TABLE, 0);
        return;
    }
    list_remove(at);
    answer *a = CONTAINER_OF(at, answer, at);
    memcpy(cell, bytes, size);
    a->bytes = cell;
    a->size = (uint16_t)size;
    a->to = *to;
    list_push_back(&e->answers_due, &a->at);
}

/* A member's new message 1: a half-open session, and message 2. */
static void answer_first(engine *e, uint64_t now, const path *from, uint32_t over,
                         hello_state *state, uint64_t dialler, const parameters *theirs,
                         uint8_t chosen)
{
    uint8_t entropy[ENGINE_ENTROPY];
    session *s = half_open_new(e, now);
    if (s == NULL || !engine_draw_entropy(e, entropy)) {
        engine_drop(e, now, DROP_TABLE, 0);
        if (s != NULL)
            session_free(e, now, s);
        return;
    }
    parameters ours = dial_parameters(e);
    ours.counter = theirs->counter;
    ours.verdict = doubt_of(e, theirs);
    ours.ciphers = chosen;
    uint8_t payload[PARAMETERS_SIZE], out[PACKET_BUDGET];
    writer w = writer_of(payload, sizeof payload);
    parameters_write(&w, &ours);
    size_t size = hello_write_second(state, entropy, dialler, s->id, payload, sizeof payload, out,
                                     sizeof out);
    aead_wipe(entropy, sizeof entropy);
    if (size == 0) {
        engine_drop(e, now, DROP_HELLO_UNVERIFIED, 0);
        session_free(e, now, s);
        return;
    }
    session_secrets secrets;
    hello_split(state, false, &secrets);
    s->peer_id = dialler;
    s->cipher = chosen;
    s->rank = theirs->counter;
    s->key_name = state->key_name;
    s->route.now = *from;
    s->route.mode = over == 0 ? PATH_UDP : PATH_LANE0;
    if (over != 0) /* the connection's port says nothing of UDP */
        s->route.now.remote.port = theirs->port;
    s->route.udp_since = now;
    session_keyed(e, now, s, &secrets, theirs);
    aead_wipe(&secrets, sizeof secrets);
    send_answer(e, now, from, over, out, size);
}

/* Opening message 1 took no public-key operation: the few that a turn may do (K6) are spent on what
 * is answered, so replays cannot use them up. What finds none left is not remembered: its next
 * attempt is as new. */
static bool may_answer(engine *e, uint64_t now, const parameters *theirs)
{
    if (!counter_is_new(e, theirs)) {
        engine_drop(e, now, DROP_HELLO_REPLAY, 0);
        return false;
    }
    if (e->hellos_left == 0) {
        engine_drop(e, now, DROP_HELLO_LIMIT, 0);
        return false;
    }
    e->hellos_left--;
    return counter_remember(e, theirs);
}

bool dial_got_first(engine *e, uint64_t now, const path *from, uint32_t over, uint8_t *bytes,
                    size_t size)
{
    e->counters.hellos_received++;
    if (e->closed || e->draining)
        return true;
    if (hello_check_first(&e->keys, bytes, size) != HELLO_OK) {
        note_stranger(e, now, from);
        return false;
    }
    hello_state state;
    uint8_t payload[HELLO_ROOM];
    size_t payload_size;
    uint64_t dialler;
    if (hello_read_first(&state, &e->keys, bytes, size, &dialler, payload, &payload_size) !=
        HELLO_OK) {
        note_stranger(e, now, from);
        return false;
    }
    parameters theirs;
    reader r = reader_of(payload, payload_size);
    uint8_t chosen = CIPHER_COUNT;
    if (parameters_read(&r, &theirs) && theirs.incarnation != 0 && theirs.calls != 0)
        chosen = choose_cipher(e, theirs.ciphers);
    if (chosen == CIPHER_COUNT)
        engine_drop(e, now, DROP_FRAME, 0);
    else if (may_answer(e, now, &theirs))
        answer_first(e, now, from, over, &state, dialler, &theirs, chosen);
    hello_wipe(&state);
    return true;
}
