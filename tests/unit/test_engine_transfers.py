"""Big messages over lanes: T1 to T8, A1 to A4, M3 to M5 and C7, between two real engines."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import MS, SECOND
from tests.lane_helpers import LanePair, Segment, pattern, with_a_lane

if TYPE_CHECKING:
    from tests.engine_module import Engine
    from tests.helpers import Request

KIB = 1024
ROOMY = {
    "transfers": 64,
    "transfer_slots": 16,
    "transfer_slots_max": 16,
    "calls": 32,
    "serves": 32,
    "max_message": 4_000_000,
    "request_credit": 16_000_000,
    "segment_min": 750_000,
    "segment_max": 750_000,
}


def roomy(engine: Engine) -> LanePair:
    """Both have room for many large messages at once, and move them in large segments."""
    return LanePair(engine, a=ROOMY, b=ROOMY)


def received(pair: LanePair, size: int) -> bool:
    """More than so many bytes of bodies, verified."""
    return pair.b.counter("bulk_bytes_received") > size


def test_when_small_calls_were_made_is_known_and_big_ones_do_not_count(engine: Engine) -> None:
    """Rule 26: whoever moves bulk does so in large pieces while nobody makes small calls."""
    pair = with_a_lane(engine)

    def small_at() -> list[int]:
        return [engine.lib.engine_small_at(node.at) for node in (pair.a, pair.b)]

    assert small_at() == [0, 0]
    small = pair.a.call("echo")
    pair.run_until(lambda: small.done)
    before = small_at()
    assert 0 not in before
    big = pair.a.call_big(50_000)
    pair.run_until(lambda: big.done)
    assert small_at() == before
    pair.settle()


@pytest.mark.parametrize("size", [2_000, 16 * KIB, 200_000])
def test_a_big_request_arrives_whole(engine: Engine, size: int) -> None:
    pair = LanePair(engine)
    pair.b.handler = lambda request: request.reply(b"got it")
    call = pair.a.call_big(size)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome, call.body) == ("OK", "yes", b"got it")
    (request,) = pair.b.told
    assert request.body == pattern(size)
    assert pair.a.counter("bulk_bytes_again") == 0
    pair.settle()


def test_a_big_reply_to_a_small_request(engine: Engine) -> None:
    """M3: the answerer did not dial, so it asks for its lane."""
    pair = LanePair(engine)
    pair.b.handler = lambda request: pair.b.reply_big(request, 100_000)
    call = pair.a.call("give")
    pair.run_until(lambda: call.done)
    assert (call.status, call.body) == ("OK", pattern(100_000))
    assert {link.ends[0].node.name for link in pair.links} == {"a"}
    pair.settle()


def test_every_cut_resumes_where_the_receiver_says(engine: Engine) -> None:
    """T1, T3: the receiver's word counts; resent is what was under way at the cut."""
    pair = LanePair(engine, a={"max_message": 4_000_000}, b={"max_message": 4_000_000})
    pair.b.handler = lambda request: request.reply(b"")
    size = 1_000_000
    call = pair.a.call_big(size, timeout_ms=60_000)
    for cut in range(1, 6):
        pair.run_until(functools.partial(received, pair, cut * size // 8))
        for link in pair.bulk_links():
            pair.cut(link)
    pair.run_until(lambda: call.done, within=60 * SECOND)
    assert call.status == "OK"
    assert pair.b.told[0].body == pattern(size)
    assert 0 < pair.a.counter("bulk_bytes_again") <= 5 * 8 * 16 * KIB
    pair.settle()


def test_a_silent_lane_is_replaced_once(engine: Engine) -> None:
    """T7: no position for 2 s while probes are answered: one new lane, and the old one goes."""
    pair = with_a_lane(engine)
    (lane,) = pair.bulk_links()
    lane.dead = True
    opened = len(pair.links)
    call = pair.a.call_big(20_000)
    pair.run_until(lambda: call.done, within=5 * SECOND)
    assert call.status == "OK"
    assert len([link for link in pair.links[opened:] if link.lane_class == 1]) == 1
    pair.settle()


def test_what_comes_by_a_lane_does_not_excuse_what_does_not_leave_by_it(engine: Engine) -> None:
    """T7: a connection that is dead in one direction, while big messages come by the other."""
    pair = with_a_lane(engine)
    pair.a.handler = lambda request: request.reply(b"")
    (lane,) = pair.bulk_links()
    lane.deaf = pair.b
    began = pair.now
    call = pair.a.call_big(20_000, timeout_ms=60_000)
    while not call.done and pair.now - began < 20 * SECOND:
        other = pair.b.call_big(20_000, timeout_ms=60_000)
        pair.run(300 * MS)
        assert other.status == "OK"
    assert call.status == "OK"
    assert pair.now - began < 3 * SECOND
    pair.settle()


def test_two_lanes_without_progress_mean_smaller_segments(engine: Engine) -> None:
    """T8: a path that swallows full TCP segments lets small ones through."""
    pair = with_a_lane(engine)
    pair.segments_most = 1_200
    call = pair.a.call_big(50_000)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert [link.segment_size for link in pair.links if link.lane_class == 1] == [0, 0, 1160]
    pair.settle()


def test_a_narrow_path_is_found_by_the_lane_that_stands_still(engine: Engine) -> None:
    """T8, P10: probes of full size tell at once that only the smallest segments get through."""
    pair = with_a_lane(engine)
    pair.segments_most = 900
    pair.network = lambda _sender, content: [MS] if len(content) <= 900 else []
    began = pair.now
    call = pair.a.call_big(50_000)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert [link.segment_size for link in pair.links if link.lane_class == 1] == [0, 536]
    assert pair.now - began < 2 * SECOND
    pair.settle()


@pytest.mark.parametrize(("takes", "last"), [(MS // 10, 16 * KIB), (40 * MS, 2 * KIB)])
def test_segments_follow_the_rate_of_their_lane(engine: Engine, takes: int, last: int) -> None:
    """T9: a segment is 2 ms of the lane, between both limits, and comes to either of them.

    Or up to a sixteenth more, so that the last one is no crumb.
    """
    pair = LanePair(engine)
    pair.b.handler = lambda request: request.reply(b"")
    pair.write_takes = takes
    call = pair.a.call_big(200_000)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert last <= pair.lengths[-2] <= last * 17 // 16
    assert pair.lengths[-1] > last * 3 // 4
    assert pair.outstanding == 2


def test_short_messages_are_written_together(engine: Engine) -> None:
    """Many at a time, for they leave by one system call; not so many that a long one would wait."""
    pair = roomy(engine)
    pair.b.handler = lambda request: request.reply(b"")
    calls = [pair.a.call_big(1_500) for _ in range(16)]
    pair.run_until(lambda: all(call.done for call in calls))
    assert {call.status for call in calls} == {"OK"}
    assert 4 < pair.outstanding <= 16
    pair.settle()


def test_complete_is_told_though_words_are_lost(engine: Engine) -> None:
    """T4: all bytes written, all packets back are lost for 2 s: delivered once."""
    pair = LanePair(engine)
    pair.b.handler = lambda request: request.reply(b"")
    call = pair.a.call_big(50_000)
    pair.run_until(lambda: len(pair.written) > 0)
    silent_until = pair.now + 2 * SECOND
    pair.network = lambda sender, _content: (
        [] if sender == "b" and pair.now < silent_until else [MS]
    )
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert len(pair.b.told) == 1
    assert pair.a.counter("bulk_bytes_again") == 0
    pair.settle()


def test_corruption_drops_the_lane_not_the_session(engine: Engine) -> None:
    """T10: one segment fails its check; the transfer goes on over another lane."""
    pair = LanePair(engine)
    pair.b.handler = lambda request: request.reply(b"")
    seen: list[Segment] = []

    def corrupt(segment: Segment) -> bool:
        seen.append(segment)
        return len(seen) == 2

    pair.corrupt = corrupt
    call = pair.a.call_big(100_000)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert pair.b.told[0].body == pattern(100_000)
    assert pair.b.dropped("SEGMENT") == 1
    assert pair.a.counter("sessions_ended") == 0
    pair.settle()


def test_cancel_keeps_the_memory_until_the_loop_lets_go(engine: Engine) -> None:
    """T5: RELEASE comes only when no WRITE names it; a segment begun is finished."""
    pair = LanePair(engine)
    pair.b.handler = None
    call = pair.a.call_big(150_000)
    pair.run_until(lambda: len(pair.written) > 1)
    assert any(end.writes for end in pair.a.ends.values())
    pair.a.cancel(call)
    assert (call.status, call.outcome) == ("CANCELLED", "no")
    assert len(pair.a.memories) == 1
    pair.run(100 * MS)
    assert pair.a.memories == {}
    assert pair.b.told == []
    pair.settle()


def test_a_read_that_never_ends_does_not_keep_an_abandoned_message(engine: Engine) -> None:
    """T5, A4: the path swallows a lane in the middle of a segment, then the caller gives up."""
    pair = with_a_lane(engine)
    read = pair.b._read

    def hang(action: Any) -> None:
        """The head came, the rest never does; it is reported when the connection is over."""
        end = pair.b.ends[action.connection]
        end.segments.pop(0)
        end.writes[int(action.token)] = None
        end.link.dead = True

    pair.b._read = hang  # type: ignore[method-assign]
    call = pair.a.call_big(90_000, timeout_ms=1_000)
    pair.run_until(lambda: call.done)
    assert len(pair.b.memories) == 1
    pair.b._read = read  # type: ignore[method-assign]
    pair.settle()


def test_a_failed_allocation_is_a_refusal(engine: Engine) -> None:
    """A1, O1: it did not run."""
    pair = LanePair(engine)
    pair.b.alloc_fails = True
    call = pair.a.call_big(50_000)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("NO_MEMORY", "no")
    pair.settle()


def test_one_larger_than_the_pool_waits_until_it_is_alone(engine: Engine) -> None:
    """A2, A4: whole or nothing, first come first served; credit comes back with the handler."""
    pair = LanePair(engine, b={"request_credit": 100_000})
    pair.b.handler = None
    first, second = pair.a.call_big(60_000), pair.a.call_big(150_000)
    pair.run(SECOND)
    assert [len(request.body) for request in pair.b.requests] == [60_000]
    pair.b.requests[0].reply(b"")
    pair.run_until(lambda: len(pair.b.told) == 2)
    assert len(pair.b.told[1].body) == 150_000
    pair.b.requests[0].reply(b"")
    pair.run_until(lambda: first.done and second.done)
    assert (first.status, second.status) == ("OK", "OK")
    pair.settle()


def test_a_reply_over_the_callers_limit(engine: Engine) -> None:
    """C7: the offer proves that it ran; the caller is told so."""
    pair = LanePair(engine, a={"max_message": 64 * KIB})
    pair.b.handler = lambda request: pair.b.reply_big(request, 100_000)
    call = pair.a.call("give")
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("REPLY_TOO_LARGE", "yes")
    assert pair.written == []
    pair.settle()


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_without_tcp_only_big_messages_fail(engine: Engine, how: str) -> None:
    """M5: after three attempts over 3 s at once, until one succeeds."""
    pair = LanePair(engine)
    pair.b.handler = lambda request: request.reply(b"")
    pair.tcp = how
    pair.connect()
    big = pair.a.call_big(50_000)
    pair.run_until(lambda: big.done)
    assert (big.status, big.outcome) == ("LANE_UNAVAILABLE", "no")
    again = pair.a.call_big(50_000)
    pair.run(10 * MS)
    assert again.status == "LANE_UNAVAILABLE"
    small = pair.a.call("echo", b"x" * 1_000)
    pair.run_until(lambda: small.done)
    assert small.status == "OK"
    pair.tcp = "open"
    pair.run(7 * SECOND)
    healed = pair.a.call_big(50_000)
    pair.run_until(lambda: healed.done)
    assert healed.status == "OK"
    pair.settle()


def test_a_stranger_hears_nothing_and_is_shut(engine: Engine) -> None:
    """M4: garbage is answered by no byte, silence is ended after 5 s, the oldest leaves."""
    pair = LanePair(engine, b={"strangers": 2})
    node = pair.b
    here, there = node.ffi.new("address *"), node.ffi.new("address *")
    node.fill_address(here)
    pair.a.fill_address(there)
    ids = [int(node.lib.engine_accept(node.at, pair.now, here, there)) for _ in range(3)]
    assert all(ids)
    shut: list[int] = []
    node._shut = lambda action: shut.append(int(action.connection))  # type: ignore[method-assign]
    node.drain()
    assert shut == ids[:1]
    assert node.dropped("STRANGER_LIMIT") == 1
    record = node.ffi.new("uint8_t[]", b"\x03\x00GET")
    assert node.lib.engine_room(node.at, ids[1]) == 2
    node.lib.engine_bytes(node.at, pair.now, ids[1], record, 5)
    node.drain()
    assert shut == ids[:2]
    assert node.dropped("RECORD") == 1
    pair.run(6 * SECOND)
    assert shut == ids
    assert node.dropped("STRANGER_SLOW") == 1


def test_many_calls_share_the_slots(engine: Engine) -> None:
    """More messages than transfer slots and table entries: all arrive, none waits for ever."""
    pair = LanePair(engine)

    def answer(request: Request) -> None:
        pair.b.reply_big(request, len(request.body))

    pair.b.handler = answer
    calls = [pair.a.call_big(5_000 + 1_000 * i, timeout_ms=60_000) for i in range(12)]
    pair.run_until(lambda: all(call.done for call in calls), within=60 * SECOND)
    assert {call.status for call in calls} == {"OK"}
    assert [len(call.body) for call in calls] == [5_000 + 1_000 * i for i in range(12)]
    pair.settle()


def test_no_transfer_waits_until_others_are_through(engine: Engine) -> None:
    """T9, Q18: neither the shortest nor the oldest, it still has its segments."""
    limits = {"request_credit": 4_000_000, "max_message": 1_000_000, "arena": 16 * 65_536}
    pair = LanePair(engine, a=limits, b=limits)
    pair.b.handler = lambda request: request.reply(b"")
    slots: list[int] = []

    def note(segment: Segment) -> bool:
        slots.append(segment.head[1])
        return False

    pair.corrupt = note
    calls = [pair.a.call_big(size) for size in (800_000, 900_000)]
    pair.run_until(lambda: all(call.done for call in calls))
    assert [call.status for call in calls] == ["OK", "OK"]
    (other,) = set(slots) - {slots[0]}
    assert slots.index(other) <= 24
    pair.settle()


def test_a_quick_reply_takes_the_completion_along(engine: Engine) -> None:
    """T4: a grant, then completion and reply in one packet."""
    pair = with_a_lane(engine)
    before = pair.b.counter("packets_sent")
    call = pair.a.call_big(100_000)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert pair.b.counter("packets_sent") - before == 2
    pair.settle()


def test_a_completion_does_not_wait_for_a_slow_handler(engine: Engine) -> None:
    """T4: the sender's memory is its own again though nobody has answered."""
    pair = with_a_lane(engine)
    pair.b.handler = None
    call = pair.a.call_big(100_000)
    pair.run_until(lambda: len(pair.b.told) == 2)
    assert len(pair.a.memories) == 1
    pair.run(10 * MS)
    assert pair.a.memories == {}
    assert not call.done
    pair.b.told[1].reply(b"")
    pair.run_until(lambda: call.done)
    pair.settle()


@pytest.mark.parametrize(("at_once", "most"), [(1, 2.0), (8, 1.7)])
def test_grants_ride_while_the_lane_has_enough_to_do(
    engine: Engine, at_once: int, most: float
) -> None:
    """T4: words of several travel together, some of them positions; a single one does not wait."""
    pair = roomy(engine)
    pair.b.handler = lambda request: request.reply(b"")
    calls = [pair.a.call_big(1_500_000) for _ in range(at_once)]
    before = 0
    for n in range(40):
        if n == 20:
            before = pair.b.counter("packets_sent")
        pair.run_until(functools.partial(lambda call: call.done, calls.pop(0)))
        calls.append(pair.a.call_big(1_500_000))
    assert pair.b.counter("packets_sent") - before <= 20 * most
    pair.run_until(lambda: all(call.done for call in calls))
    pair.settle()


def test_grants_that_wait_do_not_count_as_work_for_the_lane(engine: Engine) -> None:
    """T4: handlers are slow, so nothing takes words along; the lane is not left idle for that."""
    pair = roomy(engine)
    pair.b.handler = None
    pair.write_takes = MS // 100
    first = [pair.a.call_big(1_500_000) for _ in range(2)]
    pair.run_until(lambda: len(pair.b.told) == 2)
    began = pair.now
    calls = [pair.a.call_big(1_500_000) for _ in range(6)]
    pair.run_until(lambda: len(pair.b.told) == 8)
    assert pair.now - began <= 17 * MS  # of the model's clock; 19 with pauses
    for request in pair.b.told:
        request.reply(b"")
    pair.run_until(lambda: all(call.done for call in first + calls))
    pair.settle()
