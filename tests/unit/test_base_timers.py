"""base/timers.h: what is due, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from tests.steps import runs_of

if TYPE_CHECKING:
    from tests.engine_module import Engine

NEVER = 2**64 - 1


class Timers:
    """A heap with its timers, which are called by number."""

    def __init__(self, base: Engine, room: int) -> None:
        self.lib, self.ffi, self.room = base.lib, base.ffi, room
        self.memory = base.ffi.new("timer *[]", room)
        self.heap = base.ffi.new("timers *")
        self.array = base.ffi.new("timer[]", room + 1)
        self.all: list[Any] = [self.array + i for i in range(room + 1)]
        base.lib.timers_init(self.heap, self.memory, room)

    def arm(self, number: int, due: int) -> None:
        self.lib.timer_arm(self.heap, self.all[number], due)

    def take(self, now: int) -> int | None:
        timer = self.lib.timers_take(self.heap, now)
        return None if timer == self.ffi.NULL else self.all.index(timer)

    def check(self) -> None:
        """Every child fires after its parent, and every timer knows its place."""
        heap = [self.heap.heap[i] for i in range(self.heap.count)]
        for i, timer in enumerate(heap):
            parent = heap[(i - 1) // 4] if i > 0 else timer
            assert (parent.due, parent.order) <= (timer.due, timer.order)
            assert timer.place == i + 1


def test_nothing_armed(base: Engine) -> None:
    timers = Timers(base, 1)
    assert base.lib.timers_earliest(timers.heap) == NEVER
    assert timers.take(NEVER) is None
    base.lib.timer_disarm(timers.heap, timers.all[0])
    assert not base.lib.timer_armed(timers.all[0])


def test_ties_fire_in_order_of_arming(base: Engine) -> None:
    timers = Timers(base, 8)
    for number in (3, 1, 7, 0, 5):
        timers.arm(number, 10)
    timers.arm(1, 10)  # armed again: to the end of the line
    assert [timers.take(10) for _ in range(6)] == [3, 7, 0, 5, 1, None]


def test_taken_no_sooner_than_due(base: Engine) -> None:
    timers = Timers(base, 1)
    timers.arm(0, 10)
    assert timers.take(9) is None
    assert timers.take(10) == 0
    assert not base.lib.timer_armed(timers.all[0])


def test_never_disarms(base: Engine) -> None:
    timers = Timers(base, 1)
    timers.arm(0, 10)
    timers.arm(0, NEVER)
    assert not base.lib.timer_armed(timers.all[0])
    assert timers.take(NEVER) is None


def test_kind_is_the_owners(base: Engine) -> None:
    timers = Timers(base, 1)
    timers.all[0].kind = 77
    timers.arm(0, 1)
    assert timers.take(1) == 0
    assert timers.all[0].kind == 77


def test_more_timers_than_room_is_a_broken_promise(base: Engine) -> None:
    timers = Timers(base, 2)
    timers.arm(0, 1)
    timers.arm(1, 1)
    assert base.lib.trapped_timer_arm(timers.heap, timers.all[2], 1) != base.ffi.NULL


ROOM = 24
steps = runs_of(
    st.tuples(
        st.sampled_from(["arm", "arm", "disarm", "take"]),
        st.integers(0, ROOM - 1),
        st.one_of(st.integers(0, 12), st.just(NEVER)),
    ),
)


@given(steps=steps)
def test_like_a_sorted_list(base: Engine, steps: list[tuple[str, int, int]]) -> None:
    timers = Timers(base, ROOM)
    model: dict[int, tuple[int, int]] = {}  # number: (due, order of arming)
    for order, (verb, number, moment) in enumerate(steps):
        if verb == "arm":
            timers.arm(number, moment)
            model.pop(number, None)
            if moment != NEVER:
                model[number] = (moment, order)
        elif verb == "disarm":
            base.lib.timer_disarm(timers.heap, timers.all[number])
            model.pop(number, None)
        else:
            due = [i for i in sorted(model, key=lambda i: model[i]) if model[i][0] <= moment]
            assert timers.take(moment) == (due[0] if due else None)
            if due:
                del model[due[0]]
        timers.check()
        earliest = min((due for due, _ in model.values()), default=NEVER)
        assert base.lib.timers_earliest(timers.heap) == earliest
        assert {i for i in range(ROOM) if base.lib.timer_armed(timers.all[i])} == set(model)
