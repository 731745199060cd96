"""base/indices.h: the lowest index in a set (A6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.steps import runs_of

if TYPE_CHECKING:
    from tests.engine_module import Engine

LIMITS = [0, 1, 63, 64, 65, 4096, 4097, 262_145]


def new_set(base: Engine, limit: int, full: bool) -> tuple[Any, Any]:
    """A set, and its memory, followed by a word that must stay as it is."""
    size = base.lib.indices_size(limit)
    memory = base.ffi.new("uint64_t[]", [0] * (size // 8) + [0x1122334455667788])
    indices = base.ffi.new("indices *")
    base.lib.indices_init(indices, memory, limit, full)
    return indices, memory


def lowest(base: Engine, indices: Any) -> int | None:
    out = base.ffi.new("uint32_t *")
    return int(out[0]) if base.lib.indices_lowest(indices, out) else None


@pytest.mark.parametrize("limit", LIMITS)
def test_full_and_empty(base: Engine, limit: int) -> None:
    full, memory = new_set(base, limit, True)
    assert full.count == limit
    assert lowest(base, full) == (0 if limit else None)
    assert not base.lib.indices_has(full, limit)
    assert limit == 0 or base.lib.indices_has(full, limit - 1)
    empty, _memory = new_set(base, limit, False)
    assert lowest(base, empty) is None
    assert memory[base.lib.indices_size(limit) // 8] == 0x1122334455667788


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if 0 < limit < 10_000])
def test_every_index_once_in_rising_order(base: Engine, limit: int) -> None:
    indices, memory = new_set(base, limit, True)
    for expected in range(limit):
        assert lowest(base, indices) == expected
        base.lib.indices_drop(indices, expected)
    assert lowest(base, indices) is None
    assert not any(memory[i] for i in range(base.lib.indices_size(limit) // 8))


def test_promises(base: Engine) -> None:
    indices, _memory = new_set(base, 10, True)
    assert base.lib.trapped_indices_add(indices, 10) != base.ffi.NULL
    assert base.lib.trapped_indices_drop(indices, 10) != base.ffi.NULL
    assert base.lib.trapped_indices_init(indices, base.lib.INDICES_MOST + 1) != base.ffi.NULL


@pytest.mark.parametrize("limit", LIMITS[1:])
@given(data=st.data())
def test_like_a_set(base: Engine, limit: int, data: st.DataObject) -> None:
    near_words = st.integers(0, limit - 1) | st.integers(0, min(limit, 200) - 1)
    steps = data.draw(runs_of(st.tuples(st.booleans(), near_words)))
    indices, _memory = new_set(base, limit, False)
    model: set[int] = set()
    for add, index in steps:
        if add:
            base.lib.indices_add(indices, index)
            model.add(index)
        else:
            base.lib.indices_drop(indices, index)
            model.discard(index)
        assert lowest(base, indices) == min(model, default=None)
        assert indices.count == len(model)
        assert base.lib.indices_has(indices, index) == add
