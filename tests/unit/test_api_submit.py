"""api/submit.c: what reaches the engine, by which way, and what happens to memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rudp._native import ffi, lib
from tests.native_node import RawNode, answer, drive, lend

OK = 0


@pytest.fixture(params=[None, bytes(range(32))], ids=["plain", "sealed"])
def nodes(request: pytest.FixtureRequest) -> Iterator[tuple[RawNode, RawNode]]:
    options = {} if request.param is None else {"key": request.param}
    a, b = RawNode(options), RawNode(options)
    yield a, b
    a.close()
    b.close()


def generation(index: int, count: int) -> int:
    return index | count << 24


def test_small_calls_are_echoed(nodes: tuple[RawNode, RawNode]) -> None:
    a, b = nodes
    peer = a.peer(b)
    for size in (0, 1, 64, lib.RUDP_PACKET_BODY - 4):
        body = bytes(size)
        assert a.call(peer, generation(5, size + 1), b"echo", body) == 0
        drive(a, b, until=lambda: answer(b) or any(e.kind == lib.RUDP_DONE for e in a.events))
        [done] = a.take(lib.RUDP_DONE)
        assert (done.status, done.body, done.id) == (OK, body, generation(5, size + 1))


def test_big_messages_both_ways(nodes: tuple[RawNode, RawNode]) -> None:
    a, b = nodes
    peer = a.peer(b)
    parts = [bytes([i]) * (70_000 + i * 1001) for i in range(9)]
    memory = lend(*[ffi.from_buffer(p) for p in parts], token=77)
    assert lib.rudp_call_memory(a.handle, 3, peer, 0, 9_000_000, b"big", 3, memory) == 0
    drive(
        a,
        b,
        until=lambda: answer(b) or {lib.RUDP_DONE, lib.RUDP_RELEASED} <= {e.kind for e in a.events},
    )
    [done] = a.take(lib.RUDP_DONE)
    assert done.status == OK
    assert done.body == b"".join(parts)
    assert [e.id for e in a.take(lib.RUDP_RELEASED)] == [77]


def test_an_index_may_be_used_again_at_once(nodes: tuple[RawNode, RawNode]) -> None:
    """The engine has not heard yet that the result was taken: the call waits for the turn."""
    a, b = nodes
    peer = a.peer(b)
    for count in range(1, 20):
        assert a.call(peer, generation(9, count), b"echo", b"%d" % count) == 0
        drive(a, b, until=lambda: answer(b) or any(e.kind == lib.RUDP_DONE for e in a.events))
        [done] = a.take(lib.RUDP_DONE)
        assert (done.status, done.body) == (OK, b"%d" % count)


def test_cancelling_ends_the_call_and_the_handler_hears_it(
    nodes: tuple[RawNode, RawNode],
) -> None:
    a, b = nodes
    peer = a.peer(b)
    assert a.call(peer, 1, b"slow", b"") == 0
    drive(a, b, until=lambda: any(e.kind == lib.RUDP_REQUEST for e in b.events))
    assert lib.rudp_cancel(a.handle, 1) == 0
    drive(a, b, until=lambda: any(e.kind == lib.RUDP_CANCEL for e in b.events))
    [done] = a.take(lib.RUDP_DONE)
    assert ffi.string(lib.rudp_status_name(done.status)) == b"CANCELLED"


@pytest.mark.parametrize(
    ("handle", "method", "size"),
    [(0xFFFFFF, b"m", 0), (1, b"m" * 256, 0), (1, b"m", lib.RUDP_PACKET_BODY), (1, b"", 1 << 20)],
)
def test_arguments_out_of_range_take_nothing(handle: int, method: bytes, size: int) -> None:
    a = RawNode()
    peer = a.peer(a)
    assert a.call(peer, handle, method, bytes(size)) == lib.RUDP_INVALID
    a.turn()
    assert a.take(lib.RUDP_DONE) == []
    assert a.close() == 0


def test_memory_comes_back_whatever_the_answer() -> None:
    a = RawNode()
    peer = a.peer(a)
    part = ffi.from_buffer(b"x" * 5000)
    code = lib.rudp_call_memory(a.handle, 0xFFFFFF, peer, 0, 1, b"m", 1, lend(part, token=1))
    assert code == lib.RUDP_INVALID
    # A request nobody has made: the reply is for nothing, the memory is released all the same.
    assert lib.rudp_reply_memory(a.handle, 12345, 0, lend(part, token=2)) == 0
    drive(a, until=lambda: len([e for e in a.events if e.kind == lib.RUDP_RELEASED]) == 2)
    assert sorted(e.id for e in a.take(lib.RUDP_RELEASED)) == [1, 2]
    assert a.close() == 0


def test_a_blocking_result_waits_in_its_cell(nodes: tuple[RawNode, RawNode]) -> None:
    """Owner 1 (E9): no event in the ring, the caller asks for it."""
    a, b = nodes
    peer = a.peer(b)
    done = ffi.new("rudp_event *")
    assert lib.rudp_call(a.handle, 4, peer, 1, 5_000_000, b"echo", 4, b"hi", 2) == 0
    assert lib.rudp_call_wait(a.handle, 4, done, 1000) == lib.RUDP_TIMEOUT
    drive(a, b, until=lambda: answer(b) or a.counters()["calls_done"] == 1)
    assert lib.rudp_call_wait(a.handle, 4, done, 0) == 0
    assert ffi.buffer(a.arena + done.offset, done.size)[:] == b"hi"
    assert lib.rudp_taken(a.handle, 4) == 0
    assert a.take(lib.RUDP_DONE) == []
