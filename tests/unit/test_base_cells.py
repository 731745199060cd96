"""base/cells.h: one arena, cells of four sizes, slabs that come back (A5, A6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.steps import runs_of

if TYPE_CHECKING:
    from tests.engine_module import Engine

SLAB = 65_536
CLASSES = (128, 384, 1280, 4096)


class Arena:
    """Cells over an arena of so many slabs, and a bit more that belongs to none."""

    def __init__(self, base: Engine, slabs: int) -> None:
        self.lib, self.ffi = base.lib, base.ffi
        size = slabs * SLAB + 1000
        self.bytes = base.ffi.new("uint8_t[]", size)
        self.books = base.ffi.new("uint64_t[]", base.lib.cells_size(size) // 8)
        self.cells = base.ffi.new("cells *")
        base.lib.cells_init(self.cells, self.books, self.bytes, size)

    def take(self, size: int) -> int | None:
        """The offset of a new cell."""
        cell = self.lib.cells_take(self.cells, size)
        return None if cell == self.ffi.NULL else int(self.ffi.cast("uint8_t *", cell) - self.bytes)

    def give(self, offset: int) -> None:
        self.lib.cells_give(self.cells, self.bytes + offset)

    def idle(self) -> int | None:
        """The number of a slab that became empty."""
        out = self.ffi.new("uint8_t **")
        if not self.lib.cells_idle_slab(self.cells, out):
            return None
        return int(out[0] - self.bytes) // SLAB

    def used(self) -> int:
        return int(self.lib.cells_used(self.cells))

    def room(self) -> int:
        return int(self.lib.cells_room(self.cells))


def capacity(size: int) -> int:
    return next((kind for kind in CLASSES if kind >= size), 0)


@pytest.mark.parametrize("size", [0, 1, 128, 129, 384, 385, 1280, 1281, 4096, 4097, 2**40])
def test_capacity(base: Engine, size: int) -> None:
    assert base.lib.cell_capacity(size) == capacity(size)


def test_too_large_for_any_cell(base: Engine) -> None:
    assert Arena(base, 1).take(4097) is None


def test_lowest_cell_and_lowest_slab_first(base: Engine) -> None:
    arena = Arena(base, 3)
    assert [arena.take(100) for _ in range(3)] == [0, 128, 256]
    assert arena.take(1280) == SLAB
    arena.give(128)
    assert arena.take(1) == 128
    arena.give(SLAB)
    assert arena.take(4000) == SLAB


@pytest.mark.parametrize("size", CLASSES)
def test_an_arena_full_of_one_class(base: Engine, size: int) -> None:
    arena = Arena(base, 2)
    each = SLAB // size
    expected = [slab * SLAB + i * size for slab in range(2) for i in range(each)]
    assert [arena.take(size) for _ in range(2 * each + 1)] == [*expected, None]
    assert (arena.used(), arena.room()) == (2 * each * size, 0)
    for offset in expected:
        arena.give(offset)
    assert (arena.used(), arena.room()) == (0, 2 * SLAB)


def test_a_full_slab_that_gets_a_cell_back_serves_again(base: Engine) -> None:
    arena = Arena(base, 1)
    offsets = [arena.take(4096) for _ in range(16)]
    assert offsets[7] == 7 * 4096
    arena.give(7 * 4096)
    assert [arena.take(4096), arena.take(4096)] == [7 * 4096, None]


def test_a_slab_serves_another_class_once_it_is_empty(base: Engine) -> None:
    arena = Arena(base, 1)
    first, second = arena.take(128), arena.take(128)
    assert first == 0
    assert second == 128
    arena.give(0)
    assert arena.take(384) is None
    arena.give(128)
    assert arena.take(384) == 0


def test_idle_slabs_are_reported_once(base: Engine) -> None:
    """A6: the loop gives their pages back."""
    arena = Arena(base, 3)
    assert arena.idle() is None  # never touched, so nothing to give back
    for size in (128, 384, 1280):
        arena.take(size)
    for slab in (2, 0):
        arena.give(slab * SLAB)
    assert [arena.idle(), arena.idle(), arena.idle()] == [0, 2, None]
    arena.give(SLAB)
    assert arena.take(128) == 0
    assert [arena.idle(), arena.idle()] == [1, None]
    arena.give(0)
    assert arena.take(4096) == 0  # used again before anyone asked
    assert arena.idle() is None


def test_free_cells_are_not_touched(base: Engine) -> None:
    """A5: a page that nobody wrote to stays a page that nobody wrote to."""
    arena = Arena(base, 2)
    base.ffi.buffer(arena.bytes)[:] = b"\xa5" * len(base.ffi.buffer(arena.bytes))
    offsets = [arena.take(size) for size in (128, 384, 384)]
    for offset in offsets:
        if offset is not None:
            arena.give(offset)
    assert set(bytes(base.ffi.buffer(arena.bytes))) == {0xA5}


def test_giving_back_what_was_not_taken_is_a_broken_promise(base: Engine) -> None:
    arena = Arena(base, 2)
    assert arena.take(384) == 0
    trapped = base.lib.trapped_cells_give
    for offset in (384, 1, 170 * 384, SLAB, 2 * SLAB, -384):
        assert trapped(arena.cells, arena.bytes + offset) != base.ffi.NULL, offset
    assert trapped(arena.cells, arena.bytes) == base.ffi.NULL
    assert trapped(arena.cells, arena.bytes) != base.ffi.NULL


steps = runs_of(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 4200)),
        st.tuples(st.just("take many"), st.sampled_from(CLASSES)),
        st.tuples(st.just("give"), st.integers(0, 10_000)),
        st.tuples(st.just("give many"), st.integers(0, 10_000)),
        st.tuples(st.just("idle"), st.just(0)),
    ),
    most=60,
)


class Model:
    """What a dictionary of offset to size expects of the arena."""

    def __init__(self, arena: Arena, slabs: int) -> None:
        self.arena, self.slabs = arena, slabs
        self.taken: dict[int, int] = {}

    def slab_class(self, slab: int) -> int:
        return next((size for at, size in self.taken.items() if at // SLAB == slab), 0)

    def fits(self, size: int) -> bool:
        """A free slab, or one of this class with a free cell."""
        inside = [0] * self.slabs
        for at in self.taken:
            inside[at // SLAB] += 1
        return any(
            count == 0 or (self.slab_class(slab) == size and count < SLAB // size)
            for slab, count in enumerate(inside)
        )

    def take(self, size: int) -> None:
        got, cell = self.arena.take(size), capacity(size)
        assert (got is not None) == (cell != 0 and self.fits(cell))
        if got is not None:
            assert got >= 0
            assert got // SLAB == (got + cell - 1) // SLAB < self.slabs
            assert all(got + cell <= at or at + other <= got for at, other in self.taken.items())
            self.taken[got] = cell

    def give(self, choice: int) -> None:
        if self.taken:
            at = sorted(self.taken)[choice % len(self.taken)]
            self.arena.give(at)
            del self.taken[at]

    def check(self) -> None:
        kinds = [self.slab_class(slab) for slab in range(self.slabs)]
        whole = sum(SLAB // kind * kind if kind else SLAB for kind in kinds)
        assert self.arena.used() == sum(self.taken.values())
        assert self.arena.room() == whole - self.arena.used()


@given(slabs=st.integers(0, 4), steps=steps)
def test_like_a_dictionary(base: Engine, slabs: int, steps: list[tuple[str, int]]) -> None:
    arena = Arena(base, slabs)
    model = Model(arena, slabs)
    for verb, number in steps:
        for i in range(17 if verb.endswith("many") else 1):
            if verb.startswith("take"):
                model.take(number)
            elif verb.startswith("give"):
                model.give(number + i)
            else:
                slab = arena.idle()
                assert slab is None or model.slab_class(slab) == 0
        model.check()
    while model.taken:
        model.give(0)
    model.check()
