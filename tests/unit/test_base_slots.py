"""base/slots.h: lowest free index first (A6), and ids that miss when they are stale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from tests.steps import runs_of

if TYPE_CHECKING:
    from tests.engine_module import Engine


def new_slots(base: Engine, count: int) -> tuple[Any, Any]:
    """Slots, and their memory, which must outlive them."""
    memory = base.ffi.new("uint64_t[]", base.lib.slots_size(count) // 8)
    slots = base.ffi.new("slots *")
    base.lib.slots_init(slots, memory, count)
    return slots, memory


def take(base: Engine, slots: Any) -> int | None:
    out = base.ffi.new("uint32_t *")
    return int(out[0]) if base.lib.slots_take(slots, out) else None


def test_lowest_first_and_full(base: Engine) -> None:
    slots, _memory = new_slots(base, 70)
    assert [take(base, slots) for _ in range(71)] == [*range(70), None]
    base.lib.slots_give(slots, 66)
    base.lib.slots_give(slots, 3)
    assert [take(base, slots) for _ in range(3)] == [3, 66, None]


def test_take_at(base: Engine) -> None:
    slots, _memory = new_slots(base, 4)
    assert base.lib.slots_take_at(slots, 1)
    assert not base.lib.slots_take_at(slots, 1)
    assert not base.lib.slots_take_at(slots, 4)
    assert [take(base, slots) for _ in range(4)] == [0, 2, 3, None]


def test_a_stale_id_misses(base: Engine) -> None:
    slots, _memory = new_slots(base, 1)
    assert not base.lib.slots_match(slots, 0, 1)
    take(base, slots)
    assert base.lib.slots_match(slots, 0, 1)
    base.lib.slots_give(slots, 0)
    assert not base.lib.slots_match(slots, 0, 1)
    take(base, slots)
    assert not base.lib.slots_match(slots, 0, 1)
    assert base.lib.slots_match(slots, 0, 2)


def test_generations_skip_zero(base: Engine) -> None:
    slots, _memory = new_slots(base, 1)
    for _ in range(65_535):
        assert base.lib.slots_take_at(slots, 0)
        base.lib.slots_give(slots, 0)
    assert base.lib.slots_generation(slots, 0) == 1


def test_indices_out_of_range_may_be_asked(base: Engine) -> None:
    slots, _memory = new_slots(base, 2)
    for index in (2, 2**32 - 1):
        assert not base.lib.slots_used(slots, index)
        assert not base.lib.slots_match(slots, index, 0)
        assert base.lib.slots_generation(slots, index) == 0


def test_giving_back_a_free_index_is_a_broken_promise(base: Engine) -> None:
    slots, _memory = new_slots(base, 2)
    assert base.lib.trapped_slots_give(slots, 0) != base.ffi.NULL
    assert base.lib.trapped_slots_give(slots, 2) != base.ffi.NULL


steps = runs_of(st.tuples(st.sampled_from(["take", "take", "take_at", "give"]), st.integers(0, 99)))


@given(count=st.integers(0, 100), steps=steps)
def test_like_a_set(base: Engine, count: int, steps: list[tuple[str, int]]) -> None:
    slots, _memory = new_slots(base, count)
    used: set[int] = set()
    generations = dict.fromkeys(range(count), 1)
    for verb, index in steps:
        if verb == "take":
            expected = min(set(range(count)) - used, default=None)
            assert take(base, slots) == expected
            used |= {expected} if expected is not None else set()
        elif verb == "take_at":
            assert base.lib.slots_take_at(slots, index) == (index < count and index not in used)
            used |= {index} if index < count else set()
        elif index in used:
            base.lib.slots_give(slots, index)
            used.remove(index)
            generations[index] += 1
        assert base.lib.slots_count(slots) == len(used)
        assert base.lib.slots_used(slots, index) == (index in used)
        assert base.lib.slots_generation(slots, index) == generations.get(index, 0)
        assert base.lib.slots_match(slots, index, generations.get(index, 0)) == (index in used)
