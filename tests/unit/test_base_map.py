"""base/map.h: keys, some of them chosen by peers, to indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.steps import runs_of

if TYPE_CHECKING:
    from tests.engine_module import Engine


def new_map(base: Engine, capacity: int, seed: int = 1) -> tuple[Any, Any]:
    """A map, and its memory, which must outlive it."""
    memory = base.ffi.new("uint64_t[]", base.lib.map_size(capacity) // 8)
    table = base.ffi.new("map *")
    base.lib.map_init(table, memory, capacity, seed)
    return table, memory


def get(base: Engine, table: Any, key: int) -> int | None:
    out = base.ffi.new("uint32_t *")
    return int(out[0]) if base.lib.map_get(table, key, out) else None


@pytest.mark.parametrize("capacity", [0, 1, 2, 3, 1000])
def test_never_more_than_half_full(base: Engine, capacity: int) -> None:
    assert base.lib.map_size(capacity) >= 16 * 2 * capacity
    table, _memory = new_map(base, capacity)
    assert all(base.lib.map_put(table, key, key) for key in range(capacity))
    assert not base.lib.map_put(table, 2**64 - 1, 0)
    assert base.lib.map_count(table) == capacity
    assert [get(base, table, key) for key in range(capacity)] == list(range(capacity))
    assert get(base, table, 2**64 - 1) is None


def test_a_full_map_still_replaces(base: Engine) -> None:
    table, _memory = new_map(base, 1)
    assert base.lib.map_put(table, 0, 1)
    assert base.lib.map_put(table, 0, 2)
    assert get(base, table, 0) == 2
    assert base.lib.map_count(table) == 1


def longest_run(table: Any) -> int:
    longest = run = 0
    for i in range(2 * (table.mask + 1)):
        run = run + 1 if table.entries[i & table.mask].used else 0
        longest = max(longest, run)
    return longest


@pytest.mark.parametrize("shift", [0, 16, 32, 52])
def test_keys_a_peer_could_choose_do_not_pile_up(base: Engine, shift: int) -> None:
    """Rising numbers in any part of the key land as far apart as random ones would.

    Then runs of entries stay short at half load. The seed is fixed, so the outcome is.
    """
    table, _memory = new_map(base, 2048, seed=0x1234567)
    for i in range(2048):
        assert base.lib.map_put(table, i << shift, i)
    assert longest_run(table) < 60


def test_the_seed_decides_the_places(base: Engine) -> None:
    places = []
    for seed in (1, 2):
        table, _memory = new_map(base, 64, seed)
        for key in range(64):
            base.lib.map_put(table, key, key)
        places.append([table.entries[i].key for i in range(128) if table.entries[i].used])
    assert places[0] != places[1]
    assert sorted(places[0]) == sorted(places[1])


keys = st.integers(0, 12) | st.integers(2**64 - 4, 2**64 - 1)
steps = runs_of(
    st.tuples(st.sampled_from(["put", "put", "remove"]), keys, st.integers(0, 2**32 - 1)),
)


@given(capacity=st.integers(0, 14), seed=st.integers(0, 2**64 - 1), steps=steps)
def test_like_a_dictionary(
    base: Engine, capacity: int, seed: int, steps: list[tuple[str, int, int]]
) -> None:
    """Tables this small are walked round the end all the time, and every removal shifts."""
    table, _memory = new_map(base, capacity, seed)
    model: dict[int, int] = {}
    for verb, key, value in steps:
        if verb == "put":
            fits = key in model or len(model) < capacity
            assert base.lib.map_put(table, key, value) == fits
            if fits:
                model[key] = value
        else:
            assert base.lib.map_remove(table, key) == (key in model)
            model.pop(key, None)
        assert base.lib.map_count(table) == len(model)
        if verb == "remove":  # the entries behind it moved
            assert all(get(base, table, known) == model[known] for known in model)
        assert get(base, table, key) == model.get(key)
