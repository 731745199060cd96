"""A1: messages of a lane that do not wait for a grant, between two real engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers import MS, SECOND
from tests.lane_helpers import LanePair, pattern

if TYPE_CHECKING:
    from tests.engine_module import Engine
    from tests.helpers import Call, Request

KIB = 1024
SHARE = 64 * KIB


def eager_pair(engine: Engine, a: dict[str, int] | None = None, **b: int) -> LanePair:
    """Two nodes with a lane, and a promise for each direction."""
    limits = {"eager_credit": 4 * SHARE, "eager_share": SHARE, **b}
    pair = LanePair(engine, a=limits | (a or {}), b=limits)
    pair.b.handler = lambda request: request.reply(b"")
    first = pair.a.call_big(2 * KIB)
    pair.run_until(lambda: first.done)
    pair.run(50 * MS)
    assert pair.a.counter("transfers_eager") == 0
    return pair


def finish(pair: LanePair, call: Call, size: int) -> None:
    """It ran once, with every byte, and nothing is left (Q2, Q8, Q6)."""
    pair.run_until(lambda: call.done, within=30 * SECOND)
    assert (call.status, call.outcome) == ("OK", "yes")
    assert [request.body for request in pair.b.told[1:]] == [pattern(size)]
    pair.settle()


@pytest.mark.parametrize("size", [1_200, 8 * KIB, SHARE])
def test_offer_and_bytes_leave_in_one_turn(engine: Engine, size: int) -> None:
    pair = eager_pair(engine)
    before = len(pair.written)
    call = pair.a.call_big(size)
    assert len(pair.written) > before
    finish(pair, call, size)
    assert pair.a.counter("transfers_eager") == 1
    assert pair.a.counter("bulk_bytes_again") == 0


def test_a_quick_reply_takes_the_completion_along(engine: Engine) -> None:
    """T4, A1: credit comes back with the reply, in one packet, and the next message goes too."""
    pair = eager_pair(engine)
    before = pair.b.counter("packets_sent")
    for _ in range(3):
        call = pair.a.call_big(SHARE)
        pair.run_until(lambda call=call: call.done)  # type: ignore[misc]
    assert pair.b.counter("packets_sent") - before == 3
    assert pair.a.counter("transfers_eager") == 3
    pair.settle()


def test_bytes_that_left_with_their_offer_are_expected(engine: Engine) -> None:
    """A1: between the OFFER and its bytes, and told once."""
    pair = eager_pair(engine)
    pair.write_takes = MS
    expected: list[bool] = []
    call = pair.a.call_big(8 * KIB)

    def done() -> bool:
        expected.append(bool(engine.lib.engine_coming(pair.b.at)))
        engine.lib.engine_waited(pair.b.at)
        return call.done

    pair.run_until(done)
    assert expected.count(True) == 1
    assert not engine.lib.engine_coming(pair.b.at)
    pair.settle()


def test_a_reply_goes_eagerly_too(engine: Engine) -> None:
    pair = eager_pair(engine)
    pair.b.handler = lambda request: pair.b.reply_big(request, len(request.body))
    for _ in range(2):
        call = pair.a.call_big(5_000)
        pair.run_until(lambda call=call: call.done)  # type: ignore[misc]
        assert call.body == pattern(5_000)
    assert pair.b.counter("transfers_eager") >= 1
    pair.settle()


def test_one_byte_more_than_the_promise_waits(engine: Engine) -> None:
    pair = eager_pair(engine)
    call = pair.a.call_big(SHARE + 1)
    finish(pair, call, SHARE + 1)
    assert pair.a.counter("transfers_eager") == 0


def test_the_promise_is_one_for_all_messages_of_a_session(engine: Engine) -> None:
    """The second does not fit beside the first and asks; what is complete counts no more."""
    pair = eager_pair(engine)
    calls = [pair.a.call_big(40 * KIB) for _ in range(2)]
    assert pair.a.counter("transfers_eager") == 1
    pair.run_until(lambda: all(call.done for call in calls))
    third = pair.a.call_big(40 * KIB)
    pair.run_until(lambda: third.done)
    assert pair.a.counter("transfers_eager") == 2
    pair.settle()


def test_no_promise_while_others_hold_the_pool(engine: Engine) -> None:
    pair = eager_pair(engine, eager_credit=SHARE - 1)
    call = pair.a.call_big(2 * KIB)
    finish(pair, call, 2 * KIB)
    assert pair.a.counter("transfers_eager") == 0


def test_a_parked_session_has_no_promise(engine: Engine) -> None:
    """Watched again it has, without a new lane."""
    pair = eager_pair(engine)
    pair.run(5 * SECOND)
    for eager in (0, 1):
        call = pair.a.call_big(2 * KIB)
        pair.run_until(lambda call=call: call.done)  # type: ignore[misc]
        pair.run(50 * MS)
        assert pair.a.counter("transfers_eager") == eager
    pair.settle()


@pytest.mark.parametrize("late", [20 * MS, 400 * MS, 1_500 * MS])
def test_the_segment_comes_first(engine: Engine, late: int) -> None:
    """It holds the lane for a while; then it is thrown away, and asked for again."""
    pair = eager_pair(engine)
    hold = pair.now + late
    pair.network = lambda sender, _content: [max(MS, hold - pair.now) if sender == "a" else MS]
    call = pair.a.call_big(20 * KIB)
    finish(pair, call, 20 * KIB)
    assert pair.a.counter("transfers_eager") == 1
    assert (pair.a.counter("bulk_bytes_again") > 0) == (late > 20 * MS)


@pytest.mark.parametrize("silence", [10 * MS, 300 * MS, 1_500 * MS])
def test_the_offer_is_lost(engine: Engine, silence: int) -> None:
    pair = eager_pair(engine)
    until = pair.now + silence
    pair.network = lambda sender, _content: [] if sender == "a" and pair.now < until else [MS]
    call = pair.a.call_big(20 * KIB)
    finish(pair, call, 20 * KIB)


def test_a_held_lane_goes_on_for_the_others(engine: Engine) -> None:
    """One lost OFFER costs the messages behind it a pause, not their lane."""
    pair = eager_pair(engine)
    dropped: list[bytes] = []

    def network(sender: str, content: bytes) -> list[int]:
        if sender == "a" and len(dropped) < 1:
            dropped.append(content)
            return []
        return [MS]

    pair.network = network
    first, second = pair.a.call_big(9 * KIB), pair.a.call_big(10 * KIB)
    pair.run_until(lambda: first.done and second.done)
    assert (first.status, second.status) == ("OK", "OK")
    assert pair.a.counter("lanes_dropped") == 0
    pair.settle()


@pytest.mark.parametrize("after_ms", range(6))
def test_the_lane_is_cut_under_way(engine: Engine, after_ms: int) -> None:
    """T3: the receiver's word counts, as for any other."""
    pair = eager_pair(engine)
    call = pair.a.call_big(60 * KIB)
    pair.run(after_ms * MS)
    for link in pair.bulk_links():
        pair.cut(link)
    finish(pair, call, 60 * KIB)


def test_the_lane_is_cut_before_the_offer_arrives(engine: Engine) -> None:
    """The QUERY about another lane overtakes the OFFER, and is asked again behind it."""
    pair = eager_pair(engine)
    late = pair.now + 200 * MS
    seen: list[int] = []

    def network(sender: str, _content: bytes) -> list[int]:
        if sender == "a":
            seen.append(1)
        return [late - pair.now] if sender == "a" and len(seen) == 1 else [MS]

    pair.network = network
    call = pair.a.call_big(30 * KIB)
    pair.run(2 * MS)
    for link in pair.bulk_links():
        pair.cut(link)
    finish(pair, call, 30 * KIB)


def test_no_room_at_the_receiver(engine: Engine) -> None:
    """A2: what finds no credit stands in line, and its bytes come again when there is some."""
    pair = eager_pair(engine, eager_credit=SHARE, request_credit=30 * KIB, max_message=4 * SHARE)
    pair.b.handler = None
    sizes = [50 * KIB, 25 * KIB, 20 * KIB]
    calls = []
    for size in sizes:
        calls.append(pair.a.call_big(size))
        pair.run(100 * MS)
    assert len(pair.b.requests) == 2
    for expected in sizes:
        pair.run_until(lambda: len(pair.b.requests) > 0)
        request: Request = pair.b.requests[0]
        assert request.body == pattern(expected)
        request.reply(b"")
    pair.run_until(lambda: all(call.done for call in calls))
    assert pair.a.counter("transfers_eager") == 3
    assert pair.a.counter("bulk_bytes_again") == 20 * KIB
    pair.settle()


def test_a_failed_allocation_is_a_refusal(engine: Engine) -> None:
    pair = eager_pair(engine)
    pair.b.alloc_fails = True
    call = pair.a.call_big(20 * KIB)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("NO_MEMORY", "no")
    pair.settle()


@pytest.mark.parametrize("after", [0, MS, 2 * MS, 3 * MS])
def test_cancelled_under_way(engine: Engine, after: int) -> None:
    """C2, T5: whatever has left, the handler's start and the memory are accounted for."""
    pair = eager_pair(engine)
    pair.b.handler = None
    call = pair.a.call_big(60 * KIB)
    pair.run(after)
    pair.a.cancel(call)
    pair.run(100 * MS)
    for request in list(pair.b.requests):
        request.reply(b"")
    assert call.status == "CANCELLED"
    if call.outcome == "no":
        assert len(pair.b.told) == 1
    pair.settle()


def test_a_busy_receiver_is_tried_again(engine: Engine) -> None:
    """P7: its bytes were thrown away, the same memory goes again once no WRITE names it."""
    pair = eager_pair(engine, serves=2)
    pair.b.handler = None
    calls = [pair.a.call_big(5_000) for _ in range(4)]
    for _ in range(400):
        pair.run(20 * MS)
        if pair.b.requests:
            pair.b.requests[0].reply(b"")
    assert {call.status for call in calls} == {"OK"}
    assert [len(request.body) for request in pair.b.told[1:]] == [5_000] * 4
    assert pair.a.counter("busy_retries") > 0
    pair.settle()


def test_the_session_ends_under_way(engine: Engine) -> None:
    pair = eager_pair(engine)
    pair.b.handler = None
    call = pair.a.call_big(60 * KIB)
    pair.run(2 * MS)
    pair.b.close()
    pair.run_until(lambda: call.done)
    assert call.status == "CLOSED"
    pair.settle()
