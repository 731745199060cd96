"""io/parcel.h: many buffers seen as one range of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine_module import load

if TYPE_CHECKING:
    from tests.engine_module import Engine


@pytest.fixture(scope="module")
def io() -> Engine:
    return load("io")


def new_parcel(io: Engine, parts: list[bytes]) -> tuple[Any, Any]:
    """A parcel, and the buffers that must outlive it."""
    buffers = [io.ffi.new("char[]", part + b"\0") for part in parts]
    pointers = io.ffi.new("void *[]", buffers)
    sizes = io.ffi.new("size_t[]", [len(part) for part in parts])
    return io.lib.parcel_new(7, len(parts), pointers, sizes), buffers


def read_range(io: Engine, parcel: Any, offset: int, length: int, most: int) -> tuple[bytes, int]:
    """The bytes of at most ``most`` entries, and how many entries there were."""
    out = io.ffi.new("struct iovec[]", most)
    covered = io.ffi.new("uint64_t *")
    handle = io.lib.memory_handle(parcel)
    count = io.lib.memory_range(handle, offset, length, out, most, covered)
    found = b"".join(io.ffi.buffer(v.iov_base, v.iov_len)[:] for v in out[0:count])
    assert len(found) == covered[0]
    return found, count


@given(
    parts=st.lists(st.binary(max_size=40), max_size=12),
    cut=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    most=st.integers(1, 15),
)
def test_a_range_is_the_slice_of_the_whole(
    io: Engine, parts: list[bytes], cut: tuple[int, int], most: int
) -> None:
    whole = b"".join(parts)
    offset = min(cut[0], len(whole))
    length = min(cut[1], len(whole) - offset)
    parcel, buffers = new_parcel(io, parts)
    assert parcel.size == len(whole)
    found, count = read_range(io, parcel, offset, length, most)
    wanted = whole[offset : offset + length]
    assert wanted.startswith(found)
    assert found == wanted or count == most
    io.lib.parcel_free(parcel)
    assert len(buffers) == len(parts)


def test_parts_of_no_bytes_are_left_out(io: Engine) -> None:
    parcel, _buffers = new_parcel(io, [b"", b"ab", b"", b"", b"c", b""])
    assert parcel.count == 2
    assert read_range(io, parcel, 1, 2, 8) == (b"bc", 2)
    io.lib.parcel_free(parcel)


def test_a_range_outside_is_a_broken_promise(io: Engine) -> None:
    parcel, _buffers = new_parcel(io, [b"abc"])
    handle = io.lib.memory_handle(parcel)
    assert io.lib.trapped_memory_range(handle, 1, 2) == io.ffi.NULL
    for offset, length in ((2, 2), (4, 0), (1, 2**64 - 1), (2**63, 1)):
        assert b"offset" in io.ffi.string(io.lib.trapped_memory_range(handle, offset, length))
    io.lib.parcel_free(parcel)


def test_a_block_is_one_range(io: Engine) -> None:
    block = io.lib.pool_take(100_000)
    out = io.ffi.new("struct iovec[4]")
    covered = io.ffi.new("uint64_t *")
    handle = io.lib.memory_handle(block)
    assert io.lib.memory_range(handle, 10, 99_990, out, 4, covered) == 1
    assert (out[0].iov_base, out[0].iov_len) == (block.data + 10, 99_990)
    assert io.lib.trapped_memory_range(handle, 10, 99_991) != io.ffi.NULL
    io.lib.pool_give(block)
