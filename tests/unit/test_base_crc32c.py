"""base/crc32c.h: the checksum that processors compute, by every road to it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.engine_module import Engine

# RFC 3720, B.4, and the check value of the catalogues.
KNOWN = [
    (b"", 0),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
]


@pytest.mark.parametrize(("data", "crc"), KNOWN)
def test_known_values(base: Engine, data: bytes, crc: int) -> None:
    assert base.lib.crc32c(0, data, len(data)) == crc
    assert base.lib.crc32c_portable(0, data, len(data)) == crc


def by_definition(crc: int, data: bytes) -> int:
    """One bit after the other, as the polynomial says."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


crcs = st.integers(0, 2**32 - 1)


@given(crc=crcs, data=st.binary(max_size=300))
def test_the_definition(base: Engine, crc: int, data: bytes) -> None:
    expected = by_definition(crc, data)
    assert base.lib.crc32c(crc, data, len(data)) == expected
    assert base.lib.crc32c_portable(crc, data, len(data)) == expected


# Sizes around the stripes of the fast implementations, 3 * 128 and 3 * 4096 bytes, and around the
# folded block, 64 * 248 bytes.
STEPS = (384, 768, 12_288, 13_000, 15_872, 16_256, 25_000, 28_160, 31_744)
sizes = st.sampled_from([0, 7, 8, *(step + by for step in STEPS for by in (-1, 0, 1))])


@given(
    crc=crcs,
    size=sizes,
    extra=st.integers(0, 400),
    start=st.integers(0, 15),
    seed=st.integers(0, 1000),
)
def test_fast_and_portable_agree(
    base: Engine, *, crc: int, size: int, extra: int, start: int, seed: int
) -> None:
    # Not drawn from hypothesis, which silently drops examples of more than a few KiB.
    data = Random(seed).randbytes(start + size + extra)
    memory = base.ffi.from_buffer(data) + start
    length = size + extra
    fast = base.lib.crc32c(crc, memory, length)
    assert fast == base.lib.crc32c_portable(crc, memory, length)


def test_every_length_and_alignment(base: Engine) -> None:
    data = Random(1).randbytes(1100)
    for start in range(9):
        memory = base.ffi.from_buffer(data) + start
        for size in range(1025):
            assert base.lib.crc32c(size, memory, size) == base.lib.crc32c_portable(
                size, memory, size
            )


@given(first=st.binary(max_size=500), second=st.binary(max_size=500))
def test_in_two_pieces(base: Engine, first: bytes, second: bytes) -> None:
    whole = first + second
    so_far = base.lib.crc32c(0, first, len(first))
    assert base.lib.crc32c(so_far, second, len(second)) == base.lib.crc32c(0, whole, len(whole))


def test_the_name_of_the_road(base: Engine) -> None:
    assert base.ffi.string(base.lib.crc32c_name()) in {b"vpclmul", b"sse4.2", b"arm64", b"tables"}
