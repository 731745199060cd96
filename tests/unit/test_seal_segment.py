"""seal/segment.h: what stands on a lane (T10), its keys (K1, M4) and their ratchet (K7)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.engine_module import load

CORE = load("seal")
ffi, lib = CORE.ffi, CORE.lib

CIPHERS = [lib.CIPHER_PLAIN, lib.CIPHER_AES_256_GCM, lib.CIPHER_CHACHA20_POLY1305]
HEADER, TRAILER = lib.SEGMENT_HEADER, lib.SEGMENT_TRAILER


def lane(
    kind: int,
    *,
    secret: bytes = bytes(32),
    number: int = 1,
    nonces: tuple[bytes, bytes] = (b"d" * 16, b"a" * 16),
    from_dialler: bool = True,
) -> Any:
    cipher = ffi.new("lane_cipher *")
    lib.lane_cipher_start(cipher, kind, secret, number, *nonces, from_dialler)
    return cipher


def fields(body: bytes, **others: int) -> dict[str, int]:
    return {
        "kind": 1,
        "flags": 3,
        "slot": 9,
        "sequence": 77,
        "offset": 2**40,
        "length": len(body),
    } | others


def pieces(body: bytes, cuts: int) -> list[bytes]:
    rng = random.Random(len(body) + cuts)
    at = sorted(rng.randrange(len(body) + 1) for _ in range(cuts))
    return [body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)]


def sealed(cipher: Any, body: bytes, cuts: int = 0, **others: int) -> bytes:
    head, trailer = ffi.new("uint8_t[]", HEADER), ffi.new("uint8_t[]", TRAILER)
    lib.segment_protect_header(cipher, ffi.new("segment *", fields(body, **others)), head)
    if not body:
        return bytes(head)
    out = b""
    for piece in pieces(body, cuts):
        scratch = ffi.new("uint8_t[]", len(piece) + 1)
        lib.segment_seal_update(cipher, piece, scratch, len(piece))
        out += bytes(ffi.buffer(scratch, len(piece)))
    lib.segment_seal_finish(cipher, trailer)
    return bytes(head) + out + bytes(trailer)


def opened(cipher: Any, wire: bytes, cuts: int = 0) -> tuple[dict[str, int], bytes] | None:
    segment = ffi.new("segment *")
    if not lib.segment_open_header(cipher, wire[:HEADER], segment):
        return None
    found = {name: getattr(segment, name) for name in fields(b"")}
    assert len(wire) == lib.segment_wire_size(segment.length)
    if segment.length == 0:
        return found, b""
    body = b""
    for piece in pieces(wire[HEADER:-TRAILER], cuts):
        part = ffi.new("uint8_t[]", piece + b"\0")
        lib.segment_open_update(cipher, part, len(piece))
        body += bytes(ffi.buffer(part, len(piece)))
    return (found, body) if lib.segment_open_finish(cipher, wire[-TRAILER:]) else None


@pytest.mark.parametrize("kind", CIPHERS)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4096, 65537])
@pytest.mark.parametrize("cuts", [0, 1, 7])
def test_round_trip_in_pieces(kind: int, size: int, cuts: int) -> None:
    writer, reader = lane(kind), lane(kind)
    body = random.Random(size).randbytes(size)
    for sequence in range(3):
        wire = sealed(writer, body, cuts, sequence=sequence)
        assert len(wire) == lib.segment_wire_size(size)
        assert opened(reader, wire, 3) == (fields(body, sequence=sequence), body)


def test_plain_bodies_may_stay_where_they_are() -> None:
    writer, reader = lane(lib.CIPHER_PLAIN), lane(lib.CIPHER_PLAIN)
    head, trailer = ffi.new("uint8_t[]", HEADER), ffi.new("uint8_t[]", TRAILER)
    lib.segment_protect_header(writer, ffi.new("segment *", fields(b"body")), head)
    lib.segment_seal_update(writer, b"bo", ffi.NULL, 2)
    lib.segment_seal_update(writer, b"dy", ffi.NULL, 2)
    lib.segment_seal_finish(writer, trailer)
    wire = bytes(head) + b"body" + bytes(trailer)
    assert opened(reader, wire) == (fields(b"body"), b"body")


def direct(**options: Any) -> Any:
    cipher = lane(lib.CIPHER_PLAIN, **options)
    cipher.direct = True
    return cipher


def test_on_a_direct_lane_all_is_checked_but_bodies() -> None:
    # K11: the place of a segment, its head and where it ends are; what it carries is not summed.
    writer = direct()
    wires = [sealed(writer, b"0123456789abcdefg", sequence=sequence) for sequence in range(2)]
    for at in range(len(wires[0])):
        forged = bytearray(wires[0])
        forged[at] ^= 1
        in_body = HEADER <= at < HEADER + 17
        assert (opened(direct(), bytes(forged)) is not None) == in_body, at
    assert opened(direct(), wires[1]) is None, "one was left out"
    assert opened(direct(number=5), wires[0]) is None, "another lane's"
    assert opened(lane(lib.CIPHER_PLAIN), wires[0]) is None, "both ends must know"
    reader = direct()
    assert [opened(reader, wire) is not None for wire in wires] == [True, True]


def test_a_seal_is_never_left_out() -> None:
    for kind in CIPHERS[1:]:
        writer, reader = lane(kind), lane(kind)
        writer.direct = reader.direct = True
        wire = bytearray(sealed(writer, b"0123456789abcdefg"))
        wire[HEADER] ^= 1
        assert opened(reader, bytes(wire)) is None


def test_sealing_leaves_the_source_alone_and_hides_it() -> None:
    for kind in CIPHERS[1:]:
        source = ffi.new("uint8_t[]", b"a payload that is known")
        size, writer = len(source), lane(kind)
        head, scratch = ffi.new("uint8_t[]", HEADER), ffi.new("uint8_t[]", size)
        segment = ffi.new("segment *", fields(bytes(size)))
        lib.segment_protect_header(writer, segment, head)
        lib.segment_seal_update(writer, source, scratch, size)
        assert bytes(source) == b"a payload that is known\0"
        assert b"payload" not in bytes(scratch)
        assert (2**40).to_bytes(8, "little") not in bytes(head)


@pytest.mark.parametrize("kind", CIPHERS)
def test_every_flipped_bit_fails(kind: int) -> None:
    # T10: in the header before its length is believed, in the body before the verdict.
    wire = sealed(lane(kind), b"0123456789abcdefg")
    for bit in range(len(wire) * 8):
        forged = bytearray(wire)
        forged[bit // 8] ^= 1 << bit % 8
        reader = lane(kind)
        if bit < HEADER * 8:
            segment = ffi.new("segment *")
            assert not lib.segment_open_header(reader, bytes(forged[:HEADER]), segment)
        else:
            assert opened(reader, bytes(forged)) is None


@pytest.mark.parametrize("kind", CIPHERS)
def test_order_omission_and_repetition_are_noticed(kind: int) -> None:
    writer = lane(kind)
    wires = [sealed(writer, body) for body in (b"one", b"two", b"")]
    for order in ([1], [2], [0, 0], [0, 2], [0, 1, 1], [0, 1, 2, 2]):
        reader = lane(kind)
        results = [opened(reader, wires[i]) for i in order]
        assert None not in results[:-1]
        assert results[-1] is None
    # The body of one segment behind the head of another.
    mixed = wires[0][:HEADER] + wires[1][HEADER:]
    assert opened(lane(kind), mixed) is None


@pytest.mark.parametrize("kind", CIPHERS)
def test_keys_belong_to_one_lane_one_direction_and_one_hello(kind: int) -> None:
    # K1, M4.
    others = [
        lane(kind, secret=b"\1" * 32),
        lane(kind, number=2),
        lane(kind, nonces=(b"d" * 16, b"b" * 16)),
        lane(kind, nonces=(b"e" * 16, b"a" * 16)),
        lane(kind, nonces=(b"a" * 16, b"d" * 16)),
        lane(kind, from_dialler=False),
    ]
    assert len({bytes(c.key) for c in [lane(kind), *others]}) == 7
    wire = sealed(lane(kind), b"body")
    assert [opened(reader, wire) for reader in others] == [None] * 6
    assert opened(lane(kind), wire) == (fields(b"body"), b"body")


@pytest.mark.parametrize("kind", CIPHERS)
def test_ratchet_at_a_segment_border(kind: int) -> None:
    # K7: the counter goes on, the key does not come back, the mark is not shown to the caller.
    writer, reader = lane(kind), lane(kind)
    writer.ratchet_bytes = reader.ratchet_bytes = 100
    keys = []
    for _ in range(20):
        assert opened(reader, sealed(writer, b"x" * 30)) == (fields(b"x" * 30), b"x" * 30)
        keys.append(bytes(writer.key))
        assert bytes(reader.key) == keys[-1]
        assert opened(reader, sealed(writer, b"")) == (fields(b""), b"")
    assert writer.counter == 40
    changes = [i for i in range(1, 20) if keys[i] != keys[i - 1]]
    assert len(set(keys)) == len(changes) + 1 == 5
    assert changes == [4, 8, 12, 16]


@pytest.mark.parametrize("kind", CIPHERS)
def test_sides_that_count_differently_part(kind: int) -> None:
    for theirs, ours in ((10, 1000), (1000, 10)):
        writer, reader = lane(kind), lane(kind)
        writer.ratchet_bytes, reader.ratchet_bytes = theirs, ours
        assert opened(reader, sealed(writer, b"x" * 9)) is not None
        assert opened(reader, sealed(writer, b"x" * 9)) is None


def test_default_ratchet() -> None:
    assert lane(lib.CIPHER_PLAIN).ratchet_bytes == 64 * 2**30


@pytest.mark.parametrize("kind", CIPHERS)
def test_wipe(kind: int) -> None:
    cipher = lane(kind)
    sealed(cipher, b"body")
    lib.lane_cipher_wipe(cipher)
    assert bytes(ffi.buffer(cipher)) == bytes(ffi.sizeof("lane_cipher"))
