"""L3 and L4: what does a node do that slept? Two real engines and a virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers import KEY, MS, NEVER, SECOND, Node, Pair

if TYPE_CHECKING:
    from tests.engine_module import Engine


class Sleeper:
    """Node b sleeps: what arrives lies in its socket until it wakes."""

    def __init__(self, pair: Pair) -> None:
        self.node, self.lay = pair.b, list[tuple[Node, bytes]]()
        self._deadline, self._receive = pair.b.deadline, pair.b.receive
        pair.b.deadline = lambda: NEVER  # type: ignore[method-assign]
        pair.b.receive = (  # type: ignore[method-assign]
            lambda source, content: self.lay.append((source, content))
        )

    def wake(self, first: str) -> None:
        """The named verb comes first, then all that lay there."""
        node = self.node
        node.deadline, node.receive = (  # type: ignore[method-assign]
            self._deadline,
            self._receive,
        )
        if first == "rotate":
            keys = node.ffi.new("hello_keys *")
            node.lib.hello_keys_set(keys, KEY, b"o" * 32)
            node.lib.engine_rotate(node.at, node.pair.now, keys)
        elif first == "tick":
            node.tick()
        for source, content in self.lay:
            node.receive(source, content)


@pytest.mark.parametrize("first", ["datagrams", "tick", "rotate"])
def test_nothing_starts_after_a_stall_whoever_speaks_first(engine: Engine, first: str) -> None:
    """L4: b sleeps for 10 s, a gives up, and what it asked for lies in b's socket."""
    pair = Pair(engine)
    pair.connect()
    told = len(pair.b.told)
    asleep = Sleeper(pair)
    call = pair.a.call("work", timeout_ms=60_000)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("LOST", "unknown")
    pair.run(6 * SECOND)
    asleep.wake(first)
    pair.run(5 * SECOND)
    assert len(pair.b.told) == told
    assert pair.b.counter("own_stalls") == 1


def test_draining_notices_a_stall_too(engine: Engine) -> None:
    """L3: each verb that is told the time looks how late it is."""
    pair = Pair(engine)
    pair.connect()
    pair.now += 10 * SECOND
    pair.b.lib.engine_drain(pair.b.at, pair.now)
    assert pair.b.counter("own_stalls") == 1


def test_a_stall_is_noticed_though_a_timer_was_due_before_it(engine: Engine) -> None:
    """L3: a call to a peer that was quiet arms a timer for this very moment; then we sleep."""
    pair = Pair(engine)
    pair.connect()
    pair.run(3 * SECOND)
    pair.a.call("hello", timeout_ms=60_000)
    assert pair.a.deadline() <= pair.now
    pair.now += 10 * SECOND
    pair.a.tick()
    assert pair.a.counter("own_stalls") == 1


def test_a_turn_that_is_late_by_less_is_no_stall(engine: Engine) -> None:
    """L3: 200 ms, from when it should have begun."""
    pair = Pair(engine)
    pair.connect()
    pair.now = max(pair.a.deadline(), pair.now) + 150 * MS
    pair.a.tick()
    assert pair.a.counter("own_stalls") == 0


def test_a_node_that_was_idle_and_slept_starts_nothing_of_the_dead(engine: Engine) -> None:
    """L4: its next timer was seconds away, and its sleep is measured by what lay in its socket."""
    pair = Pair(engine)
    pair.connect()
    pair.run(20 * SECOND)  # parked
    told = len(pair.b.told)
    pair.run_until(lambda: pair.b.deadline() - pair.now > 4 * SECOND)
    asleep, began = Sleeper(pair), pair.now
    call = pair.a.call("work", timeout_ms=60_000)
    pair.network = lambda _sender, _content: (  # its CLOSE is lost
        [] if pair.now - began > 3_900 * MS else [MS]
    )
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("LOST", "unknown")
    pair.run(2 * SECOND)
    asleep.wake("tick")
    pair.run(SECOND)
    assert pair.b.counter("own_stalls") <= 1
    assert len(pair.b.told) == told


def test_a_slow_path_delays_requests_and_loses_none(engine: Engine) -> None:
    """L4: packets as old come from a path, too: one answer lets what came with them start."""
    pair = Pair(engine)
    pair.connect()
    pair.network = lambda sender, _content: [3_200 * MS] if sender == "a" else [MS]
    call = pair.a.call("work", timeout_ms=20_000)
    pair.run(3_300 * MS)
    pair.network = lambda _sender, _content: [MS]
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
