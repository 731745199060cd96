"""engine/slot_table.h: lowest slot first, sequences that never go back (C1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.engine_module import Engine

SLAB = 65_536


class Arena:
    """Cells in memory of their own."""

    def __init__(self, engine: Engine, slabs: int) -> None:
        self.books = engine.ffi.new("uint64_t[]", engine.lib.cells_size(slabs * SLAB) // 8 + 1)
        self.memory = engine.ffi.new("uint8_t[]", slabs * SLAB + 128)
        start = int(engine.ffi.cast("uintptr_t", self.memory))
        self.cells = engine.ffi.new("cells *")
        engine.lib.cells_init(self.cells, self.books, self.memory + -start % 128, slabs * SLAB)


class Table:
    """A slot table over an arena."""

    def __init__(self, engine: Engine, first: int, slabs: int = 4) -> None:
        self.engine = engine
        self.arena = Arena(engine, slabs)
        self.at = engine.ffi.new("slot_table *")
        engine.lib.slot_table_init(self.at, first)

    def take(self) -> int | None:
        out = self.engine.ffi.new("uint16_t *")
        taken = self.engine.lib.slot_table_take(self.at, self.arena.cells, out)
        return int(out[0]) if taken else None

    def give(self, slot: int) -> None:
        self.engine.lib.slot_table_give(self.at, slot)

    def grow(self, count: int) -> bool:
        return bool(self.engine.lib.slot_table_grow(self.at, self.arena.cells, count))

    def entry(self, slot: int) -> Any:
        return self.engine.lib.slot_table_at(self.at, slot)

    def cells_used(self) -> int:
        return int(self.engine.lib.cells_used(self.arena.cells))

    def free(self) -> None:
        self.engine.lib.slot_table_free(self.at, self.arena.cells)


def test_lowest_slot_first_and_no_more_than_granted(engine: Engine) -> None:
    table = Table(engine, 4)
    assert [table.take() for _ in range(5)] == [0, 1, 2, 3, None]
    table.give(2)
    table.give(0)
    assert [table.take() for _ in range(3)] == [0, 2, None]


def test_each_use_adds_one_to_the_sequence(engine: Engine) -> None:
    table = Table(engine, 2)
    for expected in (1, 2, 3):
        slot = table.take()
        assert slot == 0
        assert table.entry(0).sequence == expected
        table.entry(0).value = 7
        table.give(0)
        assert table.entry(0).value == 0
    assert table.entry(1).sequence == 0


def test_sequences_wrap(engine: Engine) -> None:
    table = Table(engine, 1)
    table.take()
    table.entry(0).sequence = 2**32 - 1
    table.give(0)
    table.take()
    assert table.entry(0).sequence == 0


def test_a_slot_that_named_nothing_can_be_untaken(engine: Engine) -> None:
    table = Table(engine, 2)
    table.take()
    engine.lib.slot_table_untake(table.at, 0)
    assert table.take() == 0
    assert table.entry(0).sequence == 1


def test_slots_that_do_not_exist(engine: Engine) -> None:
    table = Table(engine, 4)
    assert table.entry(4) == engine.ffi.NULL
    assert table.entry(2**32 - 1) == engine.ffi.NULL
    assert table.entry(0) == engine.ffi.NULL  # its cell is not there yet
    assert table.grow(4)
    assert table.entry(0) != engine.ffi.NULL


def test_giving_a_free_slot_back_is_a_broken_promise(engine: Engine) -> None:
    table = Table(engine, 4)
    table.take()
    assert engine.lib.trapped_slot_table_give(table.at, 1) != engine.ffi.NULL
    assert engine.lib.trapped_slot_table_give(table.at, 4) != engine.ffi.NULL


def test_growth_keeps_what_is_there_and_reaches_the_most(engine: Engine) -> None:
    table = Table(engine, 64)
    most = 64 + engine.lib.SLOT_PAGES * engine.lib.SLOT_PAGE_ENTRIES
    assert table.take() == 0
    table.entry(0).value = 9
    for count in (128, 4096, most):
        assert table.grow(count)
    assert not table.grow(most + 1)
    assert table.grow(1)
    assert table.at.count == most
    assert table.entry(0).value == 9
    assert [table.take() for _ in range(1, most)] == list(range(1, most))
    assert table.take() is None
    table.give(3000)
    assert table.take() == 3000
    assert table.entry(3000).sequence == 2
    table.free()
    assert table.cells_used() == 0


def test_growth_without_a_cell_changes_nothing(engine: Engine) -> None:
    table = Table(engine, 64, slabs=3)  # one for the first entries, one for pointers, one for pages
    assert table.grow(64 + 504)
    held = [engine.lib.cells_take(table.arena.cells, 4096) for _ in range(13)]
    assert engine.ffi.NULL not in held
    before = table.cells_used()
    assert not table.grow(64 + 4 * 504)
    assert table.cells_used() == before
    assert table.at.count == 64 + 504
    assert table.grow(64 + 3 * 504)


def test_no_cell_for_the_first_entries(engine: Engine) -> None:
    table = Table(engine, 64, slabs=1)
    while engine.lib.cells_take(table.arena.cells, 4096) != engine.ffi.NULL:
        pass
    assert table.take() is None
    assert not table.grow(64)


steps = st.lists(st.tuples(st.sampled_from(["take", "take", "give", "grow"]), st.integers(0, 700)))


@given(first=st.integers(1, 64), steps=steps)
def test_like_a_set(engine: Engine, first: int, steps: list[tuple[str, int]]) -> None:
    table = Table(engine, first)
    count, used, sequences = first, set[int](), dict[int, int]()
    for verb, number in steps:
        if verb == "take":
            expected = min(set(range(count)) - used, default=None)
            assert table.take() == expected
            if expected is not None:
                used.add(expected)
                sequences[expected] = sequences.get(expected, 0) + 1
                assert table.entry(expected).sequence == sequences[expected]
        elif verb == "give" and number in used:
            used.remove(number)
            table.give(number)
        elif verb == "grow":
            assert table.grow(number)
            count = max(count, number)
        assert table.at.count == count
        assert table.at.used_count == len(used)
    table.free()
    assert table.cells_used() == 0
