"""base/random.h: ChaCha20 from one seed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.engine_module import Engine

# RFC 8439, 2.3.2: key 00..1f, counter 1, nonce 000000090000004a00000000.
RFC_BLOCK = bytes.fromhex(
    "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
    "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
)
# RFC 8439, A.1, vectors 1 and 2: key and nonce of zeros, counters 0 and 1.
ZERO_KEYSTREAM = bytes.fromhex(
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
)


def new_source(base: Engine, seed: bytes = bytes(32)) -> Any:
    source = base.ffi.new("random_source *")
    base.lib.random_init(source, seed)
    return source


def draw(base: Engine, source: Any, size: int) -> bytes:
    out = base.ffi.new("uint8_t[]", size)
    base.lib.random_bytes(source, out, size)
    return bytes(out)


def test_block_of_rfc_8439(base: Engine) -> None:
    words = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    words += struct.unpack("<8I", bytes(range(32)))
    words += [1, 0x09000000, 0x4A000000, 0]
    out = base.ffi.new("uint8_t[64]")
    base.lib.random_block(words, out)
    assert bytes(out) == RFC_BLOCK


def test_keystream_of_rfc_8439(base: Engine) -> None:
    assert draw(base, new_source(base), 128) == ZERO_KEYSTREAM


@given(sizes=st.lists(st.integers(0, 130), max_size=12))
def test_pieces_make_the_same_stream(base: Engine, sizes: list[int]) -> None:
    source = new_source(base, b"s" * 32)
    pieces = b"".join(draw(base, source, size) for size in sizes)
    assert pieces == draw(base, new_source(base, b"s" * 32), sum(sizes))


def test_numbers_are_the_stream_in_little_endian(base: Engine) -> None:
    source = new_source(base)
    numbers = [base.lib.random_u64(source) for _ in range(16)]
    assert struct.pack("<16Q", *numbers) == ZERO_KEYSTREAM


def test_the_counter_carries_over(base: Engine) -> None:
    source = new_source(base)
    source.state[12] = 2**32 - 1
    draw(base, source, 64)
    assert (source.state[12], source.state[13]) == (0, 1)


@given(bound=st.integers(1, 2**64 - 1), seed=st.binary(min_size=32, max_size=32))
def test_below_is_below(base: Engine, bound: int, seed: bytes) -> None:
    source = new_source(base, seed)
    assert all(base.lib.random_below(source, bound) < bound for _ in range(4))


def test_below_throws_unfair_draws_away(base: Engine) -> None:
    """With a bound just over half of 2^64 almost every second draw is unfair."""
    bound = 2**63 + 1
    unfair = 2**64 % bound
    source, stream = new_source(base), new_source(base)
    for _ in range(200):
        expected = base.lib.random_u64(stream)
        while expected < unfair:
            expected = base.lib.random_u64(stream)
        assert base.lib.random_below(source, bound) == expected % bound


def test_every_small_value_comes(base: Engine) -> None:
    source = new_source(base)
    counts = [0] * 6
    for _ in range(6000):
        counts[base.lib.random_below(source, 6)] += 1
    assert min(counts) > 850
    assert max(counts) < 1150


def test_below_nothing_is_a_broken_promise(base: Engine) -> None:
    assert base.lib.trapped_random_below(new_source(base), 0) != base.ffi.NULL
