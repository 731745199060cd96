"""What waits for room in a full table, and who lets it go on? Q19, C3, C7, A2; real engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.helpers import MS, SECOND
from tests.lane_helpers import GONE, LanePair

if TYPE_CHECKING:
    from tests.engine_module import Engine

SHORT = {"transfer_slots": 2, "transfer_slots_max": 2}


def with_a_lane(engine: Engine, **nodes: dict[str, int]) -> LanePair:
    """Something big has gone over it."""
    pair = LanePair(engine, **nodes)
    pair.b.handler = lambda request: request.reply(b"")
    first = pair.a.call_big(20_000)
    pair.run_until(lambda: first.done)
    assert first.status == "OK"
    return pair


def closes_slowly(pair: LanePair) -> None:
    """a's connections take 8 s to close, and WRITEs are reported only then."""
    node = pair.a

    def shut(action: Any) -> None:
        end = node.ends[action.connection]
        pair.after(8 * SECOND, lambda: node.over(end, GONE))

    node._shut = shut  # type: ignore[method-assign]
    for link in pair.bulk_links():
        link.dead = True
    pair.write_takes = 100 * SECOND


def held_by_a_dead_session(engine: Engine) -> LanePair:
    """a's table is full of messages of a lost session, whose WRITEs are not reported yet."""
    pair = with_a_lane(engine, a={"transfers": 2, **SHORT}, b=SHORT)
    closes_slowly(pair)
    stuck = [pair.a.call_big(6_000, timeout_ms=30_000) for _ in range(2)]
    pair.run_until(lambda: len(pair.written) > 3)
    pair.network, pair.tcp = (lambda _sender, _content: []), "silent"
    pair.run_until(lambda: all(call.done for call in stuck))
    pair.network, pair.tcp = (lambda _sender, _content: [MS]), "open"
    pair.write_takes = MS
    again = pair.a.call("hello", timeout_ms=10_000)
    pair.run_until(lambda: again.done)
    assert again.status == "OK"
    assert len(pair.a.memories) == 2
    return pair


def test_a_call_that_waits_for_the_table_goes_when_a_dead_session_lets_go(engine: Engine) -> None:
    """Q19: an entry that is free wakes who waits, whosever it was."""
    pair = held_by_a_dead_session(engine)
    began = pair.now
    call = pair.a.call_big(20_000, timeout_ms=60_000)
    pair.run_until(lambda: call.done, within=60 * SECOND)
    assert call.status == "OK"
    assert call.ended_at - began < 10 * SECOND


def test_a_reply_that_waits_for_the_table_goes_when_a_dead_session_lets_go(engine: Engine) -> None:
    """C7: it waits until the caller's deadline, and no longer than it must (Q19)."""
    pair = held_by_a_dead_session(engine)
    pair.a.handler = lambda request: pair.a.reply_big(request, 20_000)
    call = pair.b.call("give", timeout_ms=15_000)
    pair.run_until(lambda: call.done, within=60 * SECOND)
    assert call.status == "OK"
