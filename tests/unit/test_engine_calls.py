"""Calls between two real engines: rules C1 to C9, O1 to O3 and Rule 10, on a virtual clock."""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING

import pytest

from tests.helpers import MS, SECOND, Pair, Request

if TYPE_CHECKING:
    from tests.engine_module import Engine


NOWHERE = 0  # a path: without a session


def keep(pair: Pair) -> None:
    """The handler of b answers when the test says so."""
    pair.b.handler = None


def settle(pair: Pair) -> None:
    """Q6: once all is over, handshakes left half done too, everything is free."""
    pair.run(7 * SECOND)
    assert pair.a.all_free
    assert pair.b.all_free


def test_a_call_returns_what_the_handler_said(engine: Engine) -> None:
    pair = Pair(engine)
    call = pair.a.call("echo", b"hello", extension=b"trace")
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome, call.body) == ("OK", "yes", b"hello")
    (request,) = pair.b.told
    assert (request.method, request.extension, request.body) == ("echo", b"trace", b"hello")
    settle(pair)


@pytest.mark.parametrize("size", [0, 1, 128, 384, 1100])
def test_sizes_up_to_a_packet(engine: Engine, size: int) -> None:
    pair = Pair(engine)
    body = random.Random(size).randbytes(size)
    call = pair.a.call("echo", body)
    pair.run_until(lambda: call.done)
    assert call.body == body
    settle(pair)


def test_too_large_for_a_packet_without_memory(engine: Engine) -> None:
    pair = Pair(engine)
    call = pair.a.call("echo", bytes(engine.lib.REQUEST_ROOM))
    assert (call.status, call.outcome) == ("TOO_LARGE", "no")


def test_a_session_whose_first_packets_were_lost_is_not_given_up(engine: Engine) -> None:
    """S5: half open over there is no death. Seen in one of a hundred demos with losses of 5 %."""
    pair = Pair(engine)
    handshake = 1_200  # bytes: all of message 1, and of nothing else that a sends here

    def network(sender: str, content: bytes) -> list[int]:
        return [] if sender == "a" and len(content) < handshake and pair.now < lossy else [MS]

    lossy = pair.now + SECOND
    pair.network = network
    call = pair.a.call("echo", b"hello", timeout_ms=10_000)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome, call.body) == ("OK", "yes", b"hello")
    settle(pair)


def test_an_exception_is_a_result(engine: Engine) -> None:
    pair = Pair(engine)
    pair.b.handler = lambda request: request.reply(b"boom", "EXCEPTION")
    call = pair.a.call()
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome, call.body) == ("EXCEPTION", "yes", b"boom")
    settle(pair)


def test_a_refusal_means_it_never_ran(engine: Engine) -> None:
    """C4, O1."""
    pair = Pair(engine)
    pair.b.handler = lambda request: request.refuse("NO_METHOD")
    call = pair.a.call()
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("NO_METHOD", "no")
    settle(pair)


def test_a_handler_that_goes_on_keeps_nobody_from_closing(engine: Engine) -> None:
    """Idle: what was accepted is finished, and who was left alone knows it (C3)."""
    pair = Pair(engine)
    keep(pair)
    slow = pair.a.call("slow", timeout_ms=60_000)
    pair.run_until(lambda: len(pair.b.requests) == 1)
    assert not pair.a.idle
    pair.a.cancel(slow)
    assert slow.done
    assert not pair.a.idle  # the answerer has not heard of it
    pair.run_until(lambda: pair.a.idle)
    assert len(pair.b.requests) == 1
    assert not pair.b.idle
    assert not pair.a.all_free
    pair.b.requests[0].reply(b"")
    settle(pair)


def test_a_slow_call_delays_nobody(engine: Engine) -> None:
    """C1: it holds one slot; sequences of the others go on."""
    pair = Pair(engine)
    keep(pair)
    slow = pair.a.call("slow", timeout_ms=60_000)
    pair.run_until(lambda: len(pair.b.requests) == 1)
    kept = pair.b.requests[0]
    pair.b.handler = lambda request: request.reply(request.body)
    for number in range(200):
        call = pair.a.call("fast", bytes([number]))
        pair.run_until(functools.partial(getattr, call, "done"))
        assert call.body == bytes([number])
    assert not slow.done
    kept.reply(b"at last")
    pair.run_until(lambda: slow.done)
    assert slow.body == b"at last"
    settle(pair)


def test_more_calls_than_slots_wait_for_one(engine: Engine) -> None:
    pair = Pair(engine)
    calls = [pair.a.call("echo", bytes([n]), timeout_ms=5_000) for n in range(16)]
    pair.run_until(lambda: all(call.done for call in calls))
    assert [call.body for call in calls] == [bytes([n]) for n in range(16)]
    settle(pair)


def test_slots_grow_while_they_are_used(engine: Engine) -> None:
    """C1: three quarters in use at once: the grant is doubled, up to the most."""
    pair = Pair(engine, b={"serves": 64})
    keep(pair)
    pair.a.call(timeout_ms=5_000)
    pair.run(SECOND)
    assert len(pair.b.requests) == 1
    for _ in range(12):
        pair.a.call(timeout_ms=5_000)
    pair.run(SECOND)
    assert len(pair.b.requests) == 8


def test_copies_run_once(engine: Engine) -> None:
    """C1, C6: every datagram arrives three times, out of order."""
    chance = random.Random(1)
    pair = Pair(engine)
    pair.network = lambda _sender, _content: [chance.randrange(1, 30) * MS for _ in range(3)]
    calls = [pair.a.call("echo", bytes([n]), timeout_ms=9_000) for n in range(16)]
    pair.run_until(lambda: all(call.done for call in calls))
    assert all(call.status == "OK" and call.events == 1 for call in calls)
    assert sorted(request.body for request in pair.b.told) == [bytes([n]) for n in range(16)]
    settle(pair)


@pytest.mark.parametrize("seed", range(8))
def test_through_a_bad_network(engine: Engine, seed: int) -> None:
    """O1, Q2 in small: ok means ran once, no means never, and nothing runs twice."""
    chance = random.Random(seed)

    def bad(_sender: str, _content: bytes) -> list[int]:
        copies = chance.choices([0, 1, 2], [25, 65, 10])[0]
        return [chance.randrange(1, 20) * MS for _ in range(copies)]

    pair = Pair(engine)
    pair.network = bad
    pair.b.handler = lambda request: answer_somehow(chance, request)
    calls = {}
    for number in range(120):
        body = number.to_bytes(2, "little")
        calls[body] = pair.a.call("work", body, timeout_ms=chance.choice([20, 100, 2_000]))
        if chance.random() < 0.1:
            pair.a.cancel(calls[body])
        pair.run(chance.randrange(0, 40) * MS)
        pair.run_until(lambda: sum(not call.done for call in calls.values()) < 12)
    pair.run_until(lambda: all(call.done for call in calls.values()))
    pair.network = lambda _sender, _content: [MS]
    settle(pair)
    journal = [request.body for request in pair.b.told]
    assert len(journal) == len(set(journal))
    for body, call in calls.items():
        assert call.events == 1
        if call.outcome == "yes":
            assert body in journal
        if call.status == "OK":
            assert call.body == body


def answer_somehow(chance: random.Random, request: Request) -> None:
    if chance.random() < 0.1:
        request.refuse("BAD_REQUEST")
    else:
        request.reply(request.body)


# ---- deadlines and cancels ----


def test_the_deadline_ends_a_call_at_once(engine: Engine) -> None:
    """C3: the application is told in time; the slot waits for the handler."""
    pair = Pair(engine)
    keep(pair)
    call = pair.a.call(timeout_ms=50)
    began = pair.now
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("DEADLINE", "unknown")
    assert call.ended_at == began + 50 * MS
    pair.run_until(lambda: pair.b.requests[0].cancelled)
    assert not pair.a.all_free
    pair.b.requests[0].reply(b"", "CANCELLED")
    settle(pair)


def test_a_call_that_never_left_never_ran(engine: Engine) -> None:
    """O1: nobody answers the dial, so nothing of it left."""
    pair = Pair(engine)
    pair.network = lambda _sender, _content: []
    call = pair.a.call(timeout_ms=300)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("DEADLINE", "no")


def test_cancel_reaches_the_handler(engine: Engine) -> None:
    pair = Pair(engine)
    keep(pair)
    call = pair.a.call()
    pair.run_until(lambda: len(pair.b.requests) == 1)
    pair.a.cancel(call)
    assert (call.status, call.outcome) == ("CANCELLED", "unknown")
    pair.run_until(lambda: pair.b.requests[0].cancelled)
    pair.b.requests[0].reply(b"too late")
    settle(pair)


def test_cancel_of_a_request_not_yet_told(engine: Engine) -> None:
    """C2: queued at the answerer, it never starts."""
    pair = Pair(engine)
    pair.connect()
    pair.b.taking = False
    call = pair.a.call()
    pair.run(10 * MS)
    pair.a.cancel(call)
    pair.run(100 * MS)
    pair.b.taking = True
    settle(pair)
    assert len(pair.b.told) == 1  # the one of connect()


def test_cancel_overtakes_its_request(engine: Engine) -> None:
    """C2: CANCEL first, request second: it never runs."""
    pair = Pair(engine)
    pair.connect()
    pair.network = lambda sender, _content: [500 * MS] if sender == "a" else [MS]
    call = pair.a.call("never")
    pair.network = lambda _sender, _content: [MS]
    pair.a.cancel(call)
    settle(pair)
    assert [request.method for request in pair.b.told] == ["hello"]


def stuck_there(pair: Pair) -> int:
    view = pair.a.view()
    assert 0 < view.stuck_since < pair.now
    return int(view.stuck)


def test_how_many_are_stuck_is_known_when_the_session_has_gone(engine: Engine) -> None:
    """C3: an application that reads `busy` late asks for the number then."""
    pair = Pair(engine, b={"call_slots_max": 4})
    keep(pair)
    for _ in range(4):
        pair.a.call(timeout_ms=300)
    later = pair.a.call(timeout_ms=9_000)
    pair.run_until(lambda: later.done)
    pair.b.close()
    pair.run(100 * MS)
    assert pair.a.view().path == NOWHERE
    assert stuck_there(pair) == 4


def test_handlers_that_ignore_cancel_never_exceed_the_slots(engine: Engine) -> None:
    """C3: when all are stuck, new calls are told so: busy, outcome no."""
    pair = Pair(engine, b={"call_slots_max": 4})
    keep(pair)
    stuck = [pair.a.call(timeout_ms=300) for _ in range(4)]
    later = [pair.a.call(timeout_ms=9_000) for _ in range(3)]
    pair.run_until(lambda: all(call.done for call in later))
    assert {call.outcome for call in stuck} == {"unknown"}
    assert {(call.status, call.outcome) for call in later} == {("BUSY", "no")}
    assert max(call.ended_at for call in later) < 3 * SECOND
    at_once = pair.a.call(timeout_ms=9_000)
    assert (at_once.status, at_once.outcome) == ("BUSY", "no")
    assert len(pair.b.told) == 4
    assert stuck_there(pair) == 4
    pair.b.requests[0].reply()
    pair.b.handler = lambda request: request.reply(b"room again")
    pair.run(100 * MS)
    call = pair.a.call()
    pair.run_until(lambda: call.done)
    assert call.body == b"room again"
    for request in pair.b.requests:
        request.reply()
    settle(pair)


def test_a_request_that_lay_too_long_is_not_started(engine: Engine) -> None:
    """C8, Q14: at hand-over its deadline has passed."""
    pair = Pair(engine)
    pair.connect()
    pair.b.taking = False
    call = pair.a.call(timeout_ms=200)
    pair.run(50 * MS)
    pair.network = lambda sender, _content: [] if sender == "a" else [MS]  # no CANCEL comes
    pair.run(350 * MS)
    pair.network = lambda _sender, _content: [MS]
    pair.b.taking = True
    settle(pair)
    assert call.status == "DEADLINE"
    assert [request.method for request in pair.b.told] == ["hello"]
    assert pair.b.counter("requests_expired") == 1


def test_a_datagram_that_lay_ten_seconds_is_old(engine: Engine) -> None:
    """C8: its age counts against the deadline, though it says "900 ms left"."""
    pair = Pair(engine)
    pair.connect()
    pair.network = lambda sender, _content: [1_500 * MS] if sender == "a" else [MS]
    pair.a.call("late", timeout_ms=900)
    pair.run(2 * SECOND)
    pair.network = lambda _sender, _content: [MS]
    settle(pair)
    assert [request.method for request in pair.b.told] == ["hello"]


# ---- room ----


def test_a_busy_peer_is_asked_again(engine: Engine) -> None:
    """Rule 10: BUSY is soft; nobody sees it as long as the deadline allows."""
    pair = Pair(engine)
    refusals = iter(["BUSY"] * 3)

    def busy_at_first(request: Request) -> None:
        why = next(refusals, None)
        request.reply(request.body) if why is None else request.refuse(why)

    pair.b.handler = busy_at_first
    call = pair.a.call("echo", b"again")
    pair.run_until(lambda: call.done)
    assert (call.status, call.body) == ("OK", b"again")
    assert pair.a.counter("busy_retries") == 3
    assert len({request.id for request in pair.b.told}) == 4
    settle(pair)


def test_only_the_deadline_makes_busy_an_error(engine: Engine) -> None:
    pair = Pair(engine)
    pair.b.handler = lambda request: request.refuse("BUSY")
    call = pair.a.call(timeout_ms=700)
    began = pair.now
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("BUSY", "no")
    assert call.ended_at == began + 700 * MS
    assert 3 <= pair.a.counter("busy_retries") <= 12
    settle(pair)


def test_a_full_answerer_is_only_slow(engine: Engine) -> None:
    """A5, C4, P2: tables of three records, many calls; all come through."""
    pair = Pair(engine, b={"serves": 3})
    calls = [pair.a.call("echo", bytes([n]), timeout_ms=15_000) for n in range(16)]
    pair.run_until(lambda: all(call.done for call in calls))
    assert {call.status for call in calls} == {"OK"}
    settle(pair)


def test_an_application_that_sleeps_loses_nothing(engine: Engine) -> None:
    """E4: events are states; 2 s without taking them, then all is there."""
    pair = Pair(engine)
    pair.connect()
    pair.a.taking = pair.b.taking = False
    calls = [pair.a.call("echo", bytes([n]), timeout_ms=9_000) for n in range(10)]
    pair.run(2 * SECOND)
    pair.a.taking = pair.b.taking = True
    pair.run_until(lambda: all(call.done for call in calls))
    assert {call.status for call in calls} == {"OK"}
    settle(pair)


def test_kept_replies_survive_lost_acknowledgements(engine: Engine) -> None:
    """C5: all replies are lost for a second and a half, and then come."""
    pair = Pair(engine)
    pair.connect()
    pair.network = lambda sender, _content: [] if sender == "b" else [MS]
    calls = [pair.a.call("echo", bytes([n]), timeout_ms=9_000) for n in range(8)]
    pair.run(1_500 * MS)
    pair.network = lambda _sender, _content: [MS]
    pair.run_until(lambda: all(call.done for call in calls))
    assert [call.body for call in calls] == [bytes([n]) for n in range(8)]
    assert len(pair.b.told) == 1 + 8
    settle(pair)


# ---- sessions that end ----


def test_a_lost_peer(engine: Engine) -> None:
    """O1, O3: what left is unknown; the answerer drops what it had not started."""
    pair = Pair(engine, b={"call_slots_max": 4})
    pair.connect()
    keep(pair)
    open_calls = [pair.a.call(timeout_ms=30_000) for _ in range(4)]
    waiting = pair.a.call(timeout_ms=8_000)
    pair.run(100 * MS)
    assert len(pair.b.requests) == 4
    pair.network = lambda _sender, _content: []
    pair.run(7 * SECOND)
    assert {(call.status, call.outcome) for call in open_calls} == {("LOST", "unknown")}
    pair.run_until(lambda: waiting.done)
    assert waiting.outcome == "no"
    assert all(request.cancelled for request in pair.b.requests)
    for request in pair.b.requests:
        request.reply(b"nobody hears it")
    pair.run(SECOND)
    assert pair.b.all_free


def test_a_waiting_call_moves_to_the_next_session(engine: Engine) -> None:
    """O2: it never left, so the next session may take it."""
    pair = Pair(engine, b={"call_slots_max": 4})
    pair.connect()
    keep(pair)
    for _ in range(4):
        pair.a.call(timeout_ms=60_000)
    waiting = pair.a.call("moved", timeout_ms=60_000)
    pair.run(100 * MS)
    pair.network = lambda _sender, _content: []
    pair.run(8 * SECOND)
    pair.network = lambda _sender, _content: [MS]
    pair.b.handler = lambda request: request.reply(b"here")
    pair.run_until(lambda: waiting.done)
    assert (waiting.status, waiting.body) == ("OK", b"here")


def test_closing_ends_every_call_once(engine: Engine) -> None:
    pair = Pair(engine)
    pair.connect()
    keep(pair)
    calls = [pair.a.call(timeout_ms=9_000) for _ in range(8)]
    pair.run(50 * MS)
    pair.a.close()
    assert {call.status for call in calls} == {"NODE_CLOSED"}
    assert {call.events for call in calls} == {1}
    assert {call.outcome for call in calls} == {"unknown", "no"}
    pair.run(50 * MS)
    assert all(request.cancelled for request in pair.b.requests)
    assert pair.a.all_free


def test_the_peer_closes(engine: Engine) -> None:
    pair = Pair(engine)
    pair.connect()
    keep(pair)
    call = pair.a.call(timeout_ms=9_000)
    pair.run(50 * MS)
    pair.b.close()
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("CLOSED", "unknown")


def test_a_handle_in_use_is_a_mistake(engine: Engine) -> None:
    pair = Pair(engine)
    call = pair.a.call()
    command = engine.ffi.new("call_command *", {"handle": call.handle})
    assert not engine.lib.engine_call(pair.a.at, pair.now, command)
    command.handle = 0xFFFFFF
    assert not engine.lib.engine_call(pair.a.at, pair.now, command)
