"""io/pool.h: memory for received messages (Rules 18 to 20)."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine_module import load

if TYPE_CHECKING:
    from tests.engine_module import Engine

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.fixture(scope="module")
def io() -> Engine:
    return load("io")


def address(io: Engine, block: object) -> int:
    return int(io.ffi.cast("uintptr_t", block.data))  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 64 * KIB, 64 * KIB + 1, MIB, 2 * MIB, 3 * MIB, 3 * GIB])
def test_all_of_a_block_is_there(io: Engine, size: int) -> None:
    block = io.lib.pool_take(size)
    assert block.size == size
    block.data[0] = 1
    block.data[size - 1] = 2
    assert io.lib.pool_block_of(block.data) == block
    assert address(io, block) % (2 * MIB if size > MIB else 4 * KIB) == 0
    io.lib.pool_give(block)


def used(io: Engine, size: int) -> object:
    """A block that something was read into."""
    block = io.lib.pool_take(size)
    io.lib.pool_begin(block)
    return io.lib.pool_settle(block)


@pytest.mark.parametrize("size", [MIB, 4 * MIB, 16 * MIB])
def test_last_in_first_out(io: Engine, size: int) -> None:
    """Rule 28: the buffer that is hot in the cache is the next one."""
    blocks = [used(io, size) for _ in range(3)]
    for block in blocks:
        io.lib.pool_give(block)
    again = [used(io, size) for _ in range(3)]
    assert [address(io, b) for b in again] == [address(io, b) for b in reversed(blocks)]
    for block in again:
        io.lib.pool_give(block)


def test_one_hot_block_serves_many_promises(io: Engine) -> None:
    """Of eight messages granted one is read at a time: all go through the same memory."""
    io.lib.pool_give(used(io, 4 * MIB))
    promised = [io.lib.pool_take(4 * MIB) for _ in range(8)]
    places = set()
    for number, promise in enumerate(promised):
        io.lib.pool_begin(promise)
        io.lib.pool_begin(promise)  # a second READ at offset 0
        filled = io.lib.pool_settle(promise)
        assert filled.size == 4 * MIB
        filled.data[0] = number
        places.add(address(io, filled))
        io.lib.pool_give(io.lib.pool_block_of(filled.data))
    assert len(places) == 1


def test_a_block_and_its_stand_in_are_both_given_back(io: Engine) -> None:
    io.lib.pool_give(used(io, 4 * MIB))
    before = io.lib.pool_unused()
    promise = io.lib.pool_take(4 * MIB)
    io.lib.pool_begin(promise)
    assert io.lib.pool_unused() < before
    io.lib.pool_give(promise)  # refused, though something was read
    assert io.lib.pool_unused() >= before


def test_blocks_do_not_overlap(io: Engine) -> None:
    sizes = [64 * KIB, 100 * KIB, 256 * KIB, MIB, 5 * MIB] * 40
    blocks = [io.lib.pool_take(size) for size in sizes]
    places = sorted((address(io, b), b.size) for b in blocks)
    for (at, size), (following, _) in pairwise(places):
        assert at + size <= following
    for block in blocks:
        io.lib.pool_give(block)


def test_what_is_kept_is_bounded(io: Engine) -> None:
    blocks = [io.lib.pool_take(128 * MIB) for _ in range(8)]
    for block in blocks:
        io.lib.pool_give(block)
    assert io.lib.pool_unused() <= io.lib.POOL_CACHE + 8 * MIB


def test_a_process_at_rest_gives_memory_back(io: Engine) -> None:
    """A6: pages of unused blocks go, the blocks stay usable."""
    blocks = [io.lib.pool_take(32 * MIB) for _ in range(4)]
    for block in blocks:
        io.ffi.memmove(block.data, b"x" * (32 * MIB), 32 * MIB)
        io.lib.pool_give(block)
    before = resident()
    io.lib.pool_trim()
    assert resident() < before - 64 * MIB
    again = io.lib.pool_take(32 * MIB)
    again.data[32 * MIB - 1] = 1
    io.lib.pool_give(again)


def test_impossible_sizes_are_refused(io: Engine) -> None:
    assert io.lib.pool_take(2**62) == io.ffi.NULL
    assert io.lib.pool_take(2**64 - 1) == io.ffi.NULL


def test_a_forked_child_has_an_empty_pool_and_its_blocks(io: Engine) -> None:
    kept = io.lib.pool_take(4 * MIB)
    io.lib.pool_give(io.lib.pool_take(8 * MIB))
    kept.data[0] = 42
    child = os.fork()
    if child == 0:
        right = io.lib.pool_unused() == 0 and kept.data[0] == 42
        io.lib.pool_give(kept)
        right = right and io.lib.pool_unused() == 4 * MIB
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    io.lib.pool_give(kept)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
