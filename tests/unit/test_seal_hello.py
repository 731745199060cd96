"""seal/hello.h: both handshake messages in both modes (K3, K4, K9, K11)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine_module import load

CORE = load("seal")
ffi, lib = CORE.ffi, CORE.lib

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
DIALLER, ACCEPTOR = 0x1122334455667788, 0x99AABBCCDDEEFF00
MODES = [None, KEY]


def keys_of(*keys: bytes | None) -> Any:
    keys_ = ffi.new("hello_keys *")
    given_ = [ffi.NULL if key is None else key for key in keys] + [ffi.NULL, ffi.NULL]
    lib.hello_keys_set(keys_, given_[0], given_[1])
    return keys_


def write_first(
    keys: Any,
    payload: bytes = b"offer",
    room: int = 1200,
    *,
    seed: int = 1,
    session: int = DIALLER,
) -> Any:
    state, out = ffi.new("hello_state *"), ffi.new("uint8_t[]", max(room, 1))
    size = lib.hello_write_first(
        state, keys, bytes([seed] * 32), session, payload, len(payload), out, room
    )
    assert size in (0, room)
    return state, bytes(ffi.buffer(out, size))


def read_first(keys: Any, message: bytes) -> tuple[int, Any, int, bytes]:
    state, session = ffi.new("hello_state *"), ffi.new("uint64_t *")
    payload, size = ffi.new("uint8_t[1200]"), ffi.new("size_t *")
    verdict = lib.hello_read_first(state, keys, message, len(message), session, payload, size)
    return verdict, state, session[0], bytes(ffi.buffer(payload, size[0]))


def write_second(state: Any, payload: bytes = b"choice", room: int = 1200, seed: int = 2) -> bytes:
    out = ffi.new("uint8_t[]", max(room, 1))
    size = lib.hello_write_second(
        state,
        bytes([seed] * 32),
        state.session_dialler,
        ACCEPTOR,
        payload,
        len(payload),
        out,
        room,
    )
    assert size in (0, room)
    return bytes(ffi.buffer(out, size))


def read_second(state: Any, keys: Any, message: bytes) -> tuple[int, int, bytes]:
    session = ffi.new("uint64_t *")
    payload, size = ffi.new("uint8_t[1200]"), ffi.new("size_t *")
    verdict = lib.hello_read_second(state, keys, message, len(message), session, payload, size)
    return verdict, session[0], bytes(ffi.buffer(payload, size[0]))


def secrets_of(state: Any, dialler: bool) -> dict[str, bytes]:
    secrets = ffi.new("session_secrets *")
    lib.hello_split(state, dialler, secrets)
    return {name: bytes(getattr(secrets, name)) for name in ("send", "receive", "lane")}


def exchange(key: bytes | None) -> tuple[Any, Any, bytes, bytes]:
    keys = keys_of(key)
    dialler, first = write_first(keys)
    _verdict, acceptor, _session, _payload = read_first(keys, first)
    return dialler, acceptor, first, write_second(acceptor)


@pytest.mark.parametrize("key", MODES)
@pytest.mark.parametrize("room", [400, 1200])
def test_round_trip(key: bytes | None, room: int) -> None:
    keys = keys_of(key)
    dialler, first = write_first(keys, b"offer", room)
    assert lib.hello_check_first(keys, first, len(first)) == lib.HELLO_OK
    verdict, acceptor, session, payload = read_first(keys, first)
    assert (verdict, session, payload) == (lib.HELLO_OK, DIALLER, b"offer")
    second = write_second(acceptor, b"choice", room)
    assert len(second) == len(first)
    assert read_second(dialler, keys, second) == (lib.HELLO_OK, ACCEPTOR, b"choice")
    ours, theirs = secrets_of(dialler, True), secrets_of(acceptor, False)
    assert (ours["send"], ours["receive"]) == (theirs["receive"], theirs["send"])
    assert ours["lane"] == theirs["lane"]
    assert len({ours["send"], ours["receive"], ours["lane"]}) == 3
    assert dialler.key_name == acceptor.key_name == keys.name[0]


def test_plain_secrets_are_the_session_ids() -> None:
    dialler, acceptor, _first, second = exchange(None)
    assert read_second(dialler, keys_of(), second)[0] == lib.HELLO_OK
    ids = [i.to_bytes(8, "little") for i in (DIALLER, ACCEPTOR)]
    assert secrets_of(dialler, True) == {
        "send": ids[1] + bytes(24),
        "receive": ids[0] + bytes(24),
        "lane": ids[0] + ids[1] + bytes(16),
    }
    assert secrets_of(acceptor, False)["send"] == ids[0] + bytes(24)


def test_nothing_of_the_payloads_is_readable() -> None:
    keys = keys_of(KEY)
    _state, first = write_first(keys, b"a payload that is known")
    acceptor = read_first(keys, first)[1]
    second = write_second(acceptor, b"an answer that is known")
    for word in (b"payload", b"answer", b"known", KEY[:8]):
        assert word not in first + second


@pytest.mark.parametrize("key", MODES)
def test_payload_sizes(key: bytes | None) -> None:
    keys = keys_of(key)
    for size in (0, 1, lib.HELLO_FIRST_PAYLOAD_MAX):
        dialler, first = write_first(keys, bytes([7]) * size)
        assert len(first) == 1200
        verdict, acceptor, _session, payload = read_first(keys, first)
        assert (verdict, payload) == (lib.HELLO_OK, bytes([7]) * size)
        answer = bytes([8]) * min(size, lib.HELLO_SECOND_PAYLOAD_MAX)
        second = write_second(acceptor, answer)
        assert read_second(dialler, keys, second) == (lib.HELLO_OK, ACCEPTOR, answer)


@pytest.mark.parametrize("key", MODES)
def test_what_does_not_fit_is_not_written(key: bytes | None) -> None:
    keys = keys_of(key)
    around = 0 if key is None else lib.NOISE_OVERHEAD
    need = lib.HELLO_FIRST_HEADER + around + 10
    assert write_first(keys, bytes(10), need - 1)[1] == b""
    assert len(write_first(keys, bytes(10), need)[1]) == need
    assert write_first(keys, bytes(10), 1201)[1] == b""
    assert write_first(keys, bytes(1201), 1200)[1] == b""
    acceptor = read_first(keys, write_first(keys)[1])[1]
    assert write_second(acceptor, bytes(1200)) == b""
    assert write_second(acceptor, b"", 30) == b""


@pytest.mark.parametrize("key", MODES)
@pytest.mark.parametrize("room", [150])
def test_every_flipped_bit_of_message_1_fails(key: bytes | None, room: int) -> None:
    # K3: version, pattern, reserved byte, session and size are among them.
    keys = keys_of(key)
    first = write_first(keys, b"offer", room)[1]
    for bit in range(room * 8):
        forged = bytearray(first)
        forged[bit // 8] ^= 1 << bit % 8
        verdict = lib.hello_check_first(keys, bytes(forged), room)
        wanted = lib.HELLO_MALFORMED if bit < 8 else lib.HELLO_VERSION if bit < 16 else verdict
        assert verdict == wanted != lib.HELLO_OK
        assert read_first(keys, bytes(forged))[0] == verdict


@pytest.mark.parametrize("key", MODES)
def test_every_flipped_bit_of_message_2_fails_and_the_dial_goes_on(key: bytes | None) -> None:
    keys = keys_of(key)
    dialler, first = write_first(keys)
    second = write_second(read_first(keys, first)[1], b"choice", 200)
    before = bytes(ffi.buffer(dialler))
    for bit in range(len(second) * 8):
        forged = bytearray(second)
        forged[bit // 8] ^= 1 << bit % 8
        assert read_second(dialler, keys, bytes(forged))[0] != lib.HELLO_OK
    assert bytes(ffi.buffer(dialler)) == before
    assert read_second(dialler, keys, second) == (lib.HELLO_OK, ACCEPTOR, b"choice")


def checked(message: bytes, ids: int, key: bytes) -> bytes:
    """The message with a genuine check, as a member could make it who altered the rest."""
    pieces = ffi.new("aead_piece[2]")
    size = int.from_bytes(message[ids + 16 : ids + 18], "little")
    parts = [message[:ids], message[ids + 16 : ids + 18 + size]]
    kept = [ffi.from_buffer("uint8_t[]", part) for part in parts]
    for piece, part in zip(pieces, kept, strict=True):
        piece.bytes, piece.size = part, len(part)
    check_key, check = ffi.new("uint8_t[32]"), ffi.new("uint8_t[16]")
    label = ffi.from_buffer("uint8_t[]", b"rudp hello check")
    lib.aead_hmac(key, ffi.new("aead_piece *", {"bytes": label, "size": 16}), 1, check_key)
    lib.aead_check(check_key, pieces, 2, check)
    return message[:ids] + bytes(check) + message[ids + 16 :]


def test_noise_covers_the_headers_even_against_who_knows_the_check_key() -> None:
    # K3: the prologue of message 1 and the sealed copy in message 2.
    keys = keys_of(KEY)
    dialler, first = write_first(keys)
    assert checked(first, 12, KEY) == first
    forged = bytearray(first)
    forged[4] ^= 1  # the session that the answer goes to
    altered = checked(bytes(forged), 12, KEY)
    assert lib.hello_check_first(keys, altered, len(altered)) == lib.HELLO_OK
    assert read_first(keys, altered)[0] == lib.HELLO_UNVERIFIED
    second = write_second(read_first(keys, first)[1])
    assert checked(second, 20, KEY) == second
    forged = bytearray(second)
    forged[12] ^= 1  # the acceptor's session
    assert read_second(dialler, keys, checked(bytes(forged), 20, KEY))[0] == lib.HELLO_UNVERIFIED
    assert read_second(dialler, keys, second)[0] == lib.HELLO_OK


def test_members_of_another_cluster_and_the_other_mode_do_not_verify() -> None:
    for ours, theirs in ((KEY, OTHER), (KEY, None), (None, KEY)):
        _state, first = write_first(keys_of(ours))
        assert lib.hello_check_first(keys_of(theirs), first, 1200) == lib.HELLO_UNVERIFIED
        dialler, _acceptor, _first, _second = exchange(ours)
        assert read_second(dialler, keys_of(ours), exchange(theirs)[3])[0] == lib.HELLO_UNVERIFIED


def test_a_downgrade_to_plain_fails() -> None:
    # K11: turning the pattern byte, with the checksum that plaintext would have.
    plain = write_first(keys_of())[1]
    assert read_first(keys_of(KEY), plain)[0] == lib.HELLO_UNVERIFIED
    dialler = write_first(keys_of(KEY))[0]
    answer = write_second(read_first(keys_of(), plain)[1])
    assert read_second(dialler, keys_of(KEY), answer)[0] == lib.HELLO_UNVERIFIED


def test_plaintext_nodes_do_not_take_the_other_pattern_with_a_good_checksum() -> None:
    def repatterned(message: bytes, ids: int) -> bytes:
        head = message[:2] + b"\1" + message[3:ids]
        size = int.from_bytes(message[ids + 16 : ids + 18], "little")
        summed = head + message[ids + 16 : ids + 18 + size]
        crc = int(lib.crc32c(0, summed, len(summed)))
        return head + crc.to_bytes(4, "little") + message[ids + 4 :]

    keys = keys_of()
    dialler, first = write_first(keys)
    second = write_second(read_first(keys, first)[1])
    for message in (repatterned(first, 12), repatterned(write_first(keys, bytes(99))[1], 12)):
        assert lib.hello_check_first(keys, message, len(message)) == lib.HELLO_UNVERIFIED
    assert read_second(dialler, keys, repatterned(second, 20))[0] == lib.HELLO_UNVERIFIED


def test_two_keys_are_accepted_and_one_is_offered() -> None:
    # K9: rotation, and a key that was dropped.
    both = keys_of(OTHER, KEY)
    dialler, first = write_first(keys_of(KEY))
    verdict, acceptor, _session, _payload = read_first(both, first)
    assert verdict == lib.HELLO_OK
    assert acceptor.key_name == keys_of(KEY).name[0] == both.name[1]
    assert read_first(keys_of(KEY), write_first(both)[1])[0] == lib.HELLO_UNVERIFIED
    assert read_first(keys_of(OTHER), write_first(both)[1])[0] == lib.HELLO_OK
    second = write_second(acceptor)
    assert read_second(dialler, keys_of(OTHER), second)[0] == lib.HELLO_UNVERIFIED
    assert read_second(dialler, keys_of(OTHER, KEY), second)[0] == lib.HELLO_OK
    assert lib.hello_keys_hold(both, acceptor.key_name)
    assert not lib.hello_keys_hold(keys_of(OTHER), acceptor.key_name)
    assert not lib.hello_keys_hold(both, 0)
    assert lib.hello_keys_hold(keys_of(), 0)
    both.offered = 1
    assert read_first(keys_of(KEY), write_first(both)[1])[0] == lib.HELLO_OK


def test_an_answer_to_another_dial_is_not_taken() -> None:
    keys = keys_of(KEY)
    dial = write_first(keys, seed=1)[0]
    answer = write_second(read_first(keys, write_first(keys, seed=3)[1])[1])
    assert read_second(dial, keys, answer)[0] == lib.HELLO_UNVERIFIED
    for key in MODES:  # in plaintext the session's random bits are all that tells them apart
        keys = keys_of(key)
        dial = write_first(keys, session=1)[0]
        answer = write_second(read_first(keys, write_first(keys, session=2)[1])[1])
        assert read_second(dial, keys, answer)[0] == lib.HELLO_UNVERIFIED


def test_a_message_is_not_taken_for_the_other() -> None:
    dialler, _acceptor, first, second = exchange(KEY)
    keys = keys_of(KEY)
    assert lib.hello_check_first(keys, second, len(second)) == lib.HELLO_MALFORMED
    assert read_second(dialler, keys, first)[0] == lib.HELLO_MALFORMED


@pytest.mark.parametrize("key", MODES)
def test_every_truncation_fails(key: bytes | None) -> None:
    keys = keys_of(key)
    dialler, _acceptor, first, second = exchange(key)
    sealed = int.from_bytes(first[28:30], "little") + lib.HELLO_FIRST_HEADER
    answer = int.from_bytes(second[36:38], "little") + lib.HELLO_SECOND_HEADER
    assert all(read_first(keys, first[:n])[0] != lib.HELLO_OK for n in range(sealed))
    assert all(read_second(dialler, keys, second[:n])[0] != lib.HELLO_OK for n in range(answer))
    assert read_first(keys, first + b"\0")[0] == lib.HELLO_MALFORMED  # longer than a packet
    assert read_first(keys, first[:-1] + b"\1")[0] == lib.HELLO_MALFORMED  # padding speaks


@given(message=st.binary(max_size=1300))
@settings(max_examples=300)
def test_any_bytes_are_survived(message: bytes) -> None:
    for key in MODES:
        keys = keys_of(key)
        for start in (b"", b"\x11\x01\x01\x00", b"\x11\x01\x00\x00"):
            assert read_first(keys, start + message)[0] != lib.HELLO_OK
        dialler = write_first(keys)[0]
        for start in (b"", b"\x12\x01\x01\x00", b"\x12\x01\x00\x00"):
            assert read_second(dialler, keys, start + message)[0] != lib.HELLO_OK


def test_wipe() -> None:
    state = write_first(keys_of(KEY))[0]
    lib.hello_wipe(state)
    assert bytes(ffi.buffer(state)) == bytes(ffi.sizeof("hello_state"))
    keys = keys_of(KEY, OTHER)
    lib.hello_keys_set(keys, ffi.NULL, ffi.NULL)
    assert bytes(ffi.buffer(keys)) == bytes(ffi.sizeof("hello_keys"))
