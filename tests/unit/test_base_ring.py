"""base/ring.h in one thread; tests/stress/ring_stress.c has many."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.steps import runs_of

if TYPE_CHECKING:
    from tests.engine_module import Engine


def new_ring(base: Engine, count: int, entry_size: int = 8) -> tuple[Any, Any]:
    """A ring, and its memory, which must outlive it."""
    memory = base.ffi.new("long double[]", base.lib.ring_size(count, entry_size) // 16)
    ring = base.ffi.new("ring *")
    base.lib.ring_init(ring, memory, count, entry_size)
    return ring, memory


def reserve(base: Engine, ring: Any) -> tuple[Any, int] | None:
    ticket = base.ffi.new("uint64_t *")
    entry = base.lib.ring_reserve(ring, ticket)
    return None if entry == base.ffi.NULL else (base.ffi.cast("uint64_t *", entry), ticket[0])


def front(base: Engine, ring: Any) -> int | None:
    entry = base.lib.ring_front(ring)
    return None if entry == base.ffi.NULL else int(base.ffi.cast("uint64_t *", entry)[0])


def test_entries_are_as_large_as_asked_and_aligned(base: Engine) -> None:
    ring, memory = new_ring(base, 4, entry_size=33)
    for i in range(4):
        entry, ticket = reserve(base, ring) or (None, None)
        base.ffi.buffer(entry, 33)[:] = bytes([i]) * 33
        assert int(base.ffi.cast("uintptr_t", entry)) % 16 == 0
        base.lib.ring_publish(ring, ticket)
    for i in range(4):
        assert bytes(base.ffi.buffer(base.lib.ring_front(ring), 33)) == bytes([i]) * 33
        base.lib.ring_pop(ring)
    del memory


def test_an_unpublished_entry_holds_up_what_is_behind_it(base: Engine) -> None:
    ring, _memory = new_ring(base, 4)
    first, second = reserve(base, ring), reserve(base, ring)
    assert first is not None
    assert second is not None
    first[0][0], second[0][0] = 1, 2
    base.lib.ring_publish(ring, second[1])
    assert base.lib.ring_empty(ring)
    assert front(base, ring) is None
    base.lib.ring_publish(ring, first[1])
    assert front(base, ring) == 1
    base.lib.ring_pop(ring)
    assert front(base, ring) == 2


def test_promises(base: Engine) -> None:
    ring, memory = new_ring(base, 2)
    assert base.lib.trapped_ring_pop(ring) != base.ffi.NULL
    for count in (0, 1, 3):
        assert base.lib.trapped_ring_init(ring, memory, count, 8) != base.ffi.NULL


@pytest.mark.parametrize("count", [2, 8])
@given(steps=runs_of(st.booleans()))
def test_like_a_queue(base: Engine, count: int, steps: list[bool]) -> None:
    ring, _memory = new_ring(base, count)
    model: deque[int] = deque()
    for value, push in enumerate(steps):
        if push:
            room = reserve(base, ring)
            assert (room is not None) == (len(model) < count)
            if room is not None:
                room[0][0] = value
                base.lib.ring_publish(ring, room[1])
                model.append(value)
        else:
            assert front(base, ring) == (model[0] if model else None)
            if model:
                base.lib.ring_pop(ring)
                model.popleft()
        assert base.lib.ring_empty(ring) == (not model)
