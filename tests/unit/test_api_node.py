"""api/node.c: opening, closing, and what a fork leaves of a node (K2)."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path
from typing import Any

import pytest

from rudp._native import ffi, lib
from tests.native_node import RawNode, answer, drive, lend, open_raw


def descriptors() -> set[int]:
    entries = list(Path("/proc/self/fd").iterdir())  # one is the listing's own, and gone
    return {int(entry.name) for entry in entries if entry.is_symlink()}


def test_udp_and_tcp_listen_on_the_same_port() -> None:
    node = RawNode()
    with (
        socket.create_connection(("127.0.0.1", node.address.port)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        pytest.raises(OSError, match="in use"),
    ):
        other.bind(("127.0.0.1", node.address.port))
    assert node.close() == 0


def test_a_closed_node_leaves_nothing_open() -> None:
    before = descriptors()
    node = RawNode({"key": bytes(range(32))})
    opened = descriptors() - before
    assert opened
    assert not any(os.get_inheritable(fd) for fd in opened)
    assert node.close() == 0
    assert descriptors() == before


def big_request(reader: RawNode, caller: RawNode, byte: int, kept: list[Any]) -> Any:
    """The reader's event of a request of 300,000 bytes, read and not yet told as taken."""
    kept.append(ffi.new("char[]", bytes([byte]) * 300_000))
    memory = lend(kept[-1])
    peer = caller.peer(reader)
    assert lib.rudp_call_memory(caller.handle, 0, peer, 0, 5_000_000, b"m", 1, memory) == 0
    for _ in range(10_000):
        caller.turn()
        count = lib.rudp_turn(reader.handle, reader.taken, 0)
        came = [reader.memory[(reader.position + i) % 1024] for i in range(count)]
        reader.position, reader.taken = reader.position + count, count
        for event in came:  # one turn may bring news of the peer and its request
            if event.kind == lib.RUDP_REQUEST:
                return ffi.cast("char *", event.memory)
        select.select([reader.descriptor, caller.descriptor], [], [], 0.001)
    raise AssertionError("the request did not come")


@pytest.mark.parametrize("unknown", [False, True])
def test_memory_that_was_read_is_not_given_back_by_a_close(unknown: bool) -> None:
    """Events read since the last turn are the reader's: their memory was given out twice."""
    kept: list[Any] = []
    reader, caller = RawNode(), RawNode()
    mine = big_request(reader, caller, 1, kept)
    reader.taken = lib.RUDP_UNKNOWN if unknown else reader.taken
    reader.close()
    caller.close()
    reader, caller = RawNode(), RawNode()
    others = big_request(reader, caller, 2, kept)
    assert mine != others
    assert ffi.buffer(mine, 300_000)[:] == bytes([1]) * 300_000
    for memory in mine, others:
        lib.rudp_release(memory)
    reader.close()
    caller.close()


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"family": 0}, lib.RUDP_INVALID, "neither IPv4 nor IPv6"),
        ({"no_udp": 1, "no_tcp": 1}, lib.RUDP_INVALID, "both be off"),
        ({"cipher": 9}, lib.RUDP_INVALID, "cipher"),
    ],
)
def test_options_that_make_no_node(options: dict[str, Any], code: int, text: str) -> None:
    before = descriptors()
    result, node, error = open_raw(**options)
    assert (result, node) == (code, ffi.NULL)
    assert text in error
    assert descriptors() == before


def test_a_port_in_use_is_said_so() -> None:
    node = RawNode()
    code, _, error = open_raw(port=node.address.port)
    assert code == lib.RUDP_SYSTEM
    assert error == "bind: Address already in use"
    assert node.close() == 0


def test_closing_ends_what_is_open() -> None:
    """Memory lent to the core is free when close has returned, whatever its fate."""
    a, b = RawNode(), RawNode()
    peer = a.peer(b)
    body = ffi.from_buffer(bytes(300_000))
    assert a.call(peer, 1, b"never", b"answered") == 0
    memory = lend(body)
    assert lib.rudp_call_memory(a.handle, 2, peer, 0, 5_000_000, b"big", 3, memory) == 0
    drive(a, b, until=lambda: any(e.kind == lib.RUDP_REQUEST for e in b.events))
    assert a.close(0.05) == lib.RUDP_TIMEOUT
    drive(b, until=lambda: any(e.kind == lib.RUDP_CANCEL for e in b.events))
    answer(b)  # results for nobody: dropped, and the handlers count as ended
    assert b.close() == 0


def test_a_forked_child_is_told_and_touches_nothing() -> None:
    a, b = RawNode({"key": bytes(32)}), RawNode({"key": bytes(32)})
    peer = a.peer(b)
    assert a.call(peer, 1, b"before", b"") == 0
    drive(a, b, until=lambda: answer(b) or a.take(lib.RUDP_DONE))
    before = descriptors()
    child = os.fork()
    if child == 0:
        os._exit(_in_child(a, peer, before))
    assert os.waitpid(child, 0)[1] == 0
    assert a.call(peer, 2, b"after", b"") == 0
    drive(a, b, until=lambda: answer(b) or a.take(lib.RUDP_DONE))
    assert (a.close(), b.close()) == (0, 0)


def _in_child(a: RawNode, peer: int, before: set[int]) -> int:
    """The number of things that were wrong."""
    n, view = a.handle, ffi.new("rudp_peer_view *")
    done, address = ffi.new("rudp_event *"), a.address
    codes = [
        lib.rudp_turn(n, 0, 0),
        lib.rudp_events_wait(n, 0, 0, 0),
        lib.rudp_call(n, 3, peer, 0, 1, b"m", 1, b"", 0),
        lib.rudp_cancel(n, 1),
        lib.rudp_call_wait(n, 1, done, 0),
        lib.rudp_taken(n, 1),
        lib.rudp_reply(n, 1, 0, b"", 0),
        lib.rudp_refuse(n, 1, 4),
        lib.rudp_watch(n, peer, 1),
        lib.rudp_driver(n, 0),
        lib.rudp_peer_wait(n, address),
        lib.rudp_peer_view_wait(n, peer, view),
        lib.rudp_counters_wait(n, ffi.NULL, 0),
        lib.rudp_trace_wait(n, ffi.NULL, 0),
        lib.rudp_rotate_wait(n, ffi.NULL, ffi.NULL),
        lib.rudp_close_wait(n, 0, 0),
    ]
    wrong = sum(code != lib.RUDP_FORKED for code in codes)
    wrong += lib.rudp_forget(n) != 0
    wrong += a.descriptor in descriptors() or not descriptors() < before
    return wrong


def test_only_a_child_forgets() -> None:
    node = RawNode()
    assert lib.rudp_forget(node.handle) == lib.RUDP_INVALID
    assert node.close() == 0
