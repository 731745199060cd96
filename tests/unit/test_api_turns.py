"""api/turns.c, waiters.c, spin.c, standby.c: who runs turns, who is woken, and by what."""

from __future__ import annotations

import select
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from rudp._native import ffi, lib
from tests.native_node import RawNode, answer, drive, lend

UP = 2


@pytest.fixture
def nodes() -> Iterator[tuple[RawNode, RawNode]]:
    """Two nodes that know each other already."""
    a, b = RawNode(), RawNode()
    assert a.call(a.peer(b), 0, b"hello", b"") == 0
    drive(a, b, until=lambda: answer(b) or any(e.kind == lib.RUDP_DONE for e in a.events))
    drive(a, b, until=lambda: a.taken == b.taken == 0)
    a.events.clear()
    b.events.clear()
    yield a, b
    a.close()
    b.close()


def readable(node: RawNode, seconds: float) -> bool:
    return bool(select.select([node.descriptor], [], [], seconds)[0])


def test_the_standby_thread_takes_over_from_a_stalled_reader(
    nodes: tuple[RawNode, RawNode],
) -> None:
    """Rule 4: b's Python does nothing, and a's request is accepted and acknowledged."""
    a, b = nodes
    assert a.call(a.peer(b), 1, b"wait", b"") == 0
    a.turn()
    end = time.monotonic() + 10
    while b.counters()["requests"] < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert b.counters()["requests"] == 2
    drive(a, until=lambda: a.counters()["packets_received"] >= 2)
    # Rule 8: the event rang the bell, and one turn silences it.
    assert readable(b, 5)
    assert [e.method for e in b.turn()] == [b"wait"]
    answer(b)
    drive(a, b, until=lambda: any(e.kind == lib.RUDP_DONE for e in a.events))
    assert a.counters()["messages_resent"] == 0


def test_a_quiet_node_does_not_keep_its_loop_awake(nodes: tuple[RawNode, RawNode]) -> None:
    """Level-triggered: whatever made the descriptor readable is gone after a turn or two."""
    a, b = nodes
    turns = 0
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        if readable(a, 0.05):
            a.turn()
            turns += 1
        if readable(b, 0):
            b.turn()
    assert turns < 50


def test_a_blocking_caller_drives_by_itself(nodes: tuple[RawNode, RawNode]) -> None:
    """Rules 5 and 16: nobody runs a's loop; b answers from a thread of its own."""
    a, b = nodes
    lib.rudp_driver(a.handle, 0)
    peer = a.peer(b)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            if readable(b, 0.05):
                b.turn()
                answer(b)
                b.turn()

    server = threading.Thread(target=serve)
    server.start()
    done = ffi.new("rudp_event *")
    for i in range(1, 30):
        handle = 2 | i << 24
        assert lib.rudp_call(a.handle, handle, peer, 1, 5_000_000, b"echo", 4, b"x" * i, i) == 0
        assert lib.rudp_call_wait(a.handle, handle, done, 5_000_000) == 0
        assert (done.status, done.size) == (0, i)
        assert lib.rudp_taken(a.handle, handle) == 0
    over.set()
    server.join()


def test_a_signal_ends_a_wait(nodes: tuple[RawNode, RawNode]) -> None:
    """Rule 17: Python must get to look at its signals."""
    a, b = nodes
    lib.rudp_driver(a.handle, 0)
    done = ffi.new("rudp_event *")
    peer = a.peer(b)
    assert lib.rudp_call(a.handle, 6, peer, 1, 30_000_000, b"never", 5, b"", 0) == 0
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        began = time.monotonic()
        assert lib.rudp_call_wait(a.handle, 6, done, 20_000_000) == lib.RUDP_SIGNAL
        assert lib.rudp_events_wait(a.handle, 0, 0, 20_000_000) in (lib.RUDP_SIGNAL, 0, 1)
        assert time.monotonic() - began < 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_taking_more_than_there_is_is_refused(nodes: tuple[RawNode, RawNode]) -> None:
    a, _ = nodes
    assert lib.rudp_turn(a.handle, 1, 0) == lib.RUDP_INVALID
    assert lib.rudp_events_wait(a.handle, 2000, 0, 0) == lib.RUDP_INVALID


def test_a_full_ring_loses_nothing(nodes: tuple[RawNode, RawNode]) -> None:
    """E4: 3,000 results for a reader who looks away; they wait in the engine."""
    a, b = nodes
    peer = a.peer(b)
    for index in range(3000):
        assert a.call(peer, index | 2 << 24, b"echo", b"%d" % index, timeout=60) == 0
        if index % 32 == 31:
            lib.rudp_turn(a.handle, 0, 0)
    end = time.monotonic() + 10
    while a.counters()["calls_ok"] < 1000 and time.monotonic() < end:
        b.turn()
        answer(b)
        lib.rudp_turn(a.handle, 0, 0)
    drive(
        a,
        b,
        until=lambda: answer(b) or len([e for e in a.events if e.kind == lib.RUDP_DONE]) >= 3000,
    )
    results = {e.id & 0xFFFFFF: e.body for e in a.take(lib.RUDP_DONE)}
    assert results == {index: b"%d" % index for index in range(3000)}


# ---- Rule 15: looking again for a moment ----

MOMENT = 200  # microseconds


def offer(a: RawNode, b: RawNode, handle: int) -> None:
    """A packet of b lies in a's socket."""
    assert b.call(b.peer(a), handle, b"hello", b"") == 0
    b.turn()


def settle(a: RawNode, b: RawNode) -> None:
    """a's requests are answered and b's calls have ended."""
    drive(a, b, until=lambda: answer(a) or any(e.kind == lib.RUDP_DONE for e in b.events))
    drive(a, b, until=lambda: a.taken == b.taken == 0)
    a.events.clear()
    b.events.clear()


def test_lingering_finds_what_is_in_the_socket(nodes: tuple[RawNode, RawNode]) -> None:
    a, b = nodes
    offer(a, b, 3)
    assert lib.rudp_linger(a.handle, MOMENT) == 1
    assert [e.method for e in a.turn()] == [b"hello"]
    settle(a, b)


def test_lingering_finds_what_comes_while_it_looks(nodes: tuple[RawNode, RawNode]) -> None:
    """The end of a call's time: nothing is there at the first look, and no packet ever comes."""
    a, b = nodes
    assert a.call(a.peer(b), 3, b"never", b"", timeout=0.02) == 0
    a.turn()
    end = time.monotonic() + 10
    # More than once, since a busy machine lets it rest.
    while lib.rudp_linger(a.handle, 50_000) == 0:
        assert time.monotonic() < end
    assert [(e.kind, e.id) for e in a.turn()] == [(lib.RUDP_DONE, 3)]


def test_lingering_in_vain_ends_it_for_a_while(nodes: tuple[RawNode, RawNode]) -> None:
    """While it rests it does not even look: what lies in the socket stays there."""
    a, b = nodes
    rested = 0
    for handle in (3 | generation << 24 for generation in range(1, 200)):
        for _ in range(4):
            assert lib.rudp_linger(a.handle, MOMENT) == 0
        offer(a, b, handle)
        # A slow machine may be through with the rest by now, so one of many tries will do.
        rested += lib.rudp_linger(a.handle, MOMENT) == 0
        settle(a, b)
        if rested:
            break
    assert rested
    offer(a, b, 4)
    end = time.monotonic() + 10
    while lib.rudp_linger(a.handle, MOMENT) == 0:  # rests end
        assert time.monotonic() < end
    settle(a, b)


def test_a_message_by_lane_comes_in_the_turn_of_its_announcement(
    nodes: tuple[RawNode, RawNode],
) -> None:
    """A1: OFFER and bytes left together; no turn, and no change of process, lies between them."""
    a, b = nodes
    peer, body, at_once, tries = a.peer(b), ffi.from_buffer(bytes(8192)), 0, 20
    for handle in (5 | generation << 24 for generation in range(1, tries + 1)):
        memory = lend(body)
        assert lib.rudp_call_memory(a.handle, handle, peer, 0, 5_000_000, b"m", 1, memory) == 0
        a.turn()
        select.select([b.descriptor], [], [], 5)
        at_once += any(e.kind == lib.RUDP_REQUEST for e in b.turn())
        settle(b, a)
    assert at_once >= tries // 2  # the lane is made meanwhile, and the machine may be busy
