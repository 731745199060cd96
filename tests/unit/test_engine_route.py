"""P10: small packets live, full ones die. Two real engines on a path that becomes narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers import MS, SECOND
from tests.lane_helpers import LanePair

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine_module import Engine

UDP, LANE0 = 1, 2


def passing(most: int) -> Callable[[str, bytes], list[int]]:
    """A path that swallows what is larger, without a word."""
    return lambda _sender, content: [MS] if len(content) <= most else []


def answered(pair: LanePair, size: int) -> None:
    """A call of b's method with so many bytes succeeds."""
    call = pair.a.call("echo", bytes(size), timeout_ms=10_000)
    pair.run_until(lambda: call.done)
    assert (call.status, len(call.body)) == ("OK", size)


def narrowed(engine: Engine, most: int = 1_000) -> LanePair:
    """A pair that has just found out."""
    pair = LanePair(engine)
    answered(pair, 1_100)
    assert pair.a.view().path == UDP
    pair.network = passing(most)
    answered(pair, 1_100)
    assert pair.a.view().path == LANE0
    return pair


def whole_again(pair: LanePair) -> None:
    pair.network = passing(1_200)
    for _ in range(60):
        answered(pair, 10)
        pair.run(SECOND)
    assert pair.a.view().path == UDP


@pytest.mark.parametrize("most", [650, 900, 1_100, 1_160])
def test_packets_leave_a_path_that_swallows_only_large_ones(engine: Engine, most: int) -> None:
    """P10: three losses, then that message goes by lane 0, and others at once."""
    pair = narrowed(engine, most)
    began = pair.now
    answered(pair, 1_100)
    assert pair.now - began <= 10 * MS


def test_packets_in_between_do_not_hide_the_loss_of_larger_ones(engine: Engine) -> None:
    """P10: one of 700 bytes that is answered says nothing of those of 1,100."""
    pair = LanePair(engine)
    answered(pair, 1_100)
    pair.network = passing(1_000)
    call = pair.a.call("echo", bytes(1_100), timeout_ms=10_000)
    for _ in range(60):
        answered(pair, 600)
        pair.run(20 * MS)
    assert call.status == "OK"


def test_random_losses_of_large_packets_move_nothing(engine: Engine) -> None:
    """P10: an answered packet as large as those that were lost: the path takes it."""
    pair = LanePair(engine)
    answered(pair, 1_100)
    for _ in range(10):
        lost = [False]

        def network(sender: str, content: bytes, lost: list[bool] = lost) -> list[int]:
            first = sender == "a" and len(content) > 1_000 and not lost[0]
            lost[0] = lost[0] or first
            return [] if first else [MS]

        pair.network = network
        answered(pair, 1_100)
    assert pair.a.view().path == UDP


def test_small_frames_ask_for_lane_0_by_themselves(engine: Engine) -> None:
    """P10, M3: the acceptor's LANE_ASK must not die with the large reply that needs lane 0."""
    pair = LanePair(engine, a={"watch_lane0": 3600 * SECOND}, b={"watch_lane0": 3600 * SECOND})
    answered(pair, 100)
    pair.network = passing(1_000)
    pair.b.handler = lambda request: request.reply(bytes(1_100))
    call = pair.a.call("give", timeout_ms=10_000)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert pair.b.view().path == LANE0


def test_a_narrow_path_replaces_bulk_lanes_on_either_side(engine: Engine) -> None:
    """P10, T8: the acceptor, which cannot dial, says so in its LANE_ASK. Lane 0 is small anyway."""
    pair = LanePair(engine)
    pair.b.handler = lambda request: request.reply(bytes(1_100 if request.body else 0))
    big = pair.a.call_big(50_000)
    pair.run_until(lambda: big.done)
    assert [link.segment_size for link in pair.bulk_links()] == [0]
    pair.network = passing(1_000)
    call = pair.a.call("echo", b"1", timeout_ms=10_000)
    pair.run_until(lambda: call.done)
    pair.run(20 * MS)
    assert call.status == "OK"
    assert [link.segment_size for link in pair.bulk_links()] == [536]
    assert {link.segment_size for link in pair.links if link.lane_class == 0} == {536}
    assert (pair.a.view().path, pair.b.view().path) == (UDP, LANE0)


def test_full_segments_again_when_the_path_is_whole_again(engine: Engine) -> None:
    """T8: what was learned from packets is forgotten with the verdict on them."""
    pair = narrowed(engine)
    whole_again(pair)
    pair.b.handler = lambda request: request.reply(b"")
    big = pair.a.call_big(50_000)
    pair.run_until(lambda: big.done)
    assert pair.written[-1].segment_size == 0


def test_back_on_udp_when_the_path_is_whole_again(engine: Engine) -> None:
    """M2: tested every 5 s at full size; three answers and 10 s of dwell."""
    pair = narrowed(engine)
    pair.run(30 * SECOND)
    assert pair.a.view().path == LANE0
    whole_again(pair)


def test_a_lane_0_that_dies_on_a_narrow_path_is_replaced(engine: Engine) -> None:
    """P10, L2: only small probes prove over UDP that it is lane 0 which is dead."""
    pair = narrowed(engine)
    for link in pair.links:
        link.dead = True
    began = pair.now
    answered(pair, 1_100)
    assert pair.now - began < 2 * SECOND
    assert pair.a.view().path == LANE0


def test_without_udp_a_peer_that_closes_says_so(engine: Engine) -> None:
    """L7, M1: the CLOSE leaves over lane 0, before lane 0 ends."""
    pair = LanePair(engine, a={"udp": 0}, b={"udp": 0})
    pair.b.handler = None
    call = pair.a.call(timeout_ms=10_000)
    pair.run_until(lambda: len(pair.b.requests) == 1)
    began = pair.now
    pair.b.close()
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("CLOSED", "unknown")
    assert pair.now - began < 100 * MS


def test_a_dial_leaves_a_connection_that_swallows_its_handshake(engine: Engine) -> None:
    """M2: another is tried before the dial is given up.

    UDP is blocked, and TCP was opened in the last moment of a partition: it stays open, and nothing
    ever comes back.
    """
    pair = LanePair(engine)
    pair.network = passing(0)
    call = pair.a.call("echo", b"", timeout_ms=10_000)
    pair.run_until(lambda: pair.links != [] and len(pair.links[0].ends) == 2)
    pair.links[0].dead = True
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert pair.now <= 4 * SECOND
    assert len(pair.links) == 2


def test_a_session_that_lost_the_connection_it_was_made_over_opens_another(engine: Engine) -> None:
    """M2, S5: UDP is blocked, and the lane broke before the first packet came back.

    The dialler asks whether its session is alive. The answer comes over TCP, so TCP works.
    """
    pair = LanePair(engine)
    pair.network = passing(0)
    began = pair.now
    call = pair.a.call("echo", b"", timeout_ms=10_000)
    pair.run_until(lambda: pair.a.counter("hellos_received") == 1)
    pair.cut(pair.links[0])
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    assert pair.now - began <= 2 * SECOND


def test_who_asks_by_udp_is_answered_by_udp(engine: Engine) -> None:
    """M2: a is on lane 0, which dies without a word. b does not follow it there."""
    pair = LanePair(engine)
    answered(pair, 1_100)
    pair.a.handler = pair.b.handler = lambda request: request.reply(b"")
    pair.network = lambda sender, content: [] if sender == "a" and len(content) > 1_000 else [MS]
    large = pair.a.call("echo", bytes(1_100), timeout_ms=10_000)
    pair.run_until(lambda: large.done)
    assert (pair.a.view().path, pair.b.view().path) == (LANE0, UDP)
    pair.network = passing(1_200)
    for link in pair.links:
        link.dead = True
    began, call = pair.now, pair.b.call("echo", b"", timeout_ms=10_000)
    while not call.done:
        pair.run(MS)
        assert pair.b.view().path == UDP
    assert call.status == "OK"
    assert pair.now - began < 2 * SECOND


@pytest.mark.parametrize("deaf", ["a", "b"])
def test_a_lane_0_that_is_dead_in_one_direction_is_replaced(engine: Engine, deaf: str) -> None:
    """T7, L2: what still comes by it says nothing of what leaves by it."""
    pair = LanePair(engine, a={"udp": 0}, b={"udp": 0})
    pair.a.handler = pair.b.handler
    answered(pair, 10)
    pair.links[0].deaf = getattr(pair, deaf)
    calls = [node.call("echo", b"", timeout_ms=10_000) for node in (pair.a, pair.b)]
    pair.run_until(lambda: all(call.done for call in calls))
    assert [call.status for call in calls] == ["OK", "OK"]
    assert pair.now < 4 * SECOND
    assert len(pair.links) > 1
