"""Is the blocking twin the same node for threads?"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import rudp
import rudp.sync

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def both():
    with rudp.sync.Node() as server, rudp.sync.Node() as client:
        server.register("echo", lambda v: v, inline=True)
        server.register("slow", _slow)
        yield server, client.peer(server.address)


def _slow(seconds):
    time.sleep(seconds)
    return seconds


def test_calls_return_results(both):
    server, peer = both

    @server.method
    def add(a, b, *, scale=1):
        return (a + b) * scale

    assert peer.call("add", 2, 3) == 5
    assert peer.call("add", 2, 3, scale=10) == 50
    assert peer.call("echo", {"a": [1, None]}) == {"a": [1, None]}
    for n in range(300):
        assert peer.call("echo", n) == n


@pytest.mark.parametrize("size", [0, 1000, 1100, 1125, 1126, 1200, 70_000, 4 << 20])
def test_sizes(both, size):
    _, peer = both
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert peer.call("echo", data, timeout=60) == data
    array = np.frombuffer(data, dtype=np.uint8)
    found = peer.call("echo", array, timeout=60)
    assert np.array_equal(found, array)
    assert found.flags.writeable


def test_many_threads_share_a_node(both):
    _, peer = both

    def run(n):
        return [peer.call("echo", [n, i]) for i in range(50)]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(run, range(16)))
    assert found == [[[n, i] for i in range(50)] for n in range(16)]


def test_slow_calls_run_at_the_same_time(both):
    _, peer = both
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: peer.call("slow", 0.1), range(8))) == [0.1] * 8


def test_errors_are_those_of_the_asyncio_node(both):
    server, peer = both

    @server.method
    def fail():
        raise KeyError("gone")

    with pytest.raises(rudp.RemoteError, match="gone") as caught:
        peer.call("fail")
    assert caught.value.outcome is rudp.Outcome.YES
    with pytest.raises(rudp.NoSuchMethod):
        peer.call("nope")
    with pytest.raises(rudp.DeadlineExceeded):
        peer.call("slow", 1, timeout=0.1)
    with pytest.raises(rudp.SerializationError):
        peer.call("echo", {1})
    with pytest.raises(rudp.AddressError):
        peer._node.peer("no-such-host.invalid:1").call("x")
    with pytest.raises(rudp.DeadlineExceeded):
        peer.call("echo", 1, timeout=0)
    with pytest.raises(rudp.BindError):
        rudp.sync.Node(server.address).open()
    assert peer.call("echo", 1) == 1


def test_coroutine_functions_belong_to_the_other_node(both):
    server, _ = both

    async def co():
        pass

    with pytest.raises(rudp.ConfigError, match="coroutine"):
        server.register("co", co)


def test_closing_ends_calls_of_other_threads(both):
    _, peer = both
    caught = []

    def run():
        try:
            peer.call("slow", 3, timeout=30)
        except rudp.NodeClosed as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not peer._node._open_handles():
        time.sleep(0.005)
    time.sleep(0.1)
    peer._node.close()
    thread.join(30)
    assert len(caught) == 1
    with pytest.raises(rudp.NodeClosed):
        peer.call("echo", 1)
    peer._node.close()


def test_handlers_know_their_request_and_calls_may_nest(both):
    server, peer = both

    @server.method
    def outer():
        request = rudp.current_request()
        inner = server.peer(server.address).call("echo", request.method)
        return [inner, request.remaining]

    name, remaining = peer.call("outer", timeout=20)
    assert name == "outer"
    assert 0 < remaining <= 20


async def test_the_two_kinds_of_nodes_talk_to_each_other(both):
    server, peer = both
    async with rudp.Node() as node:

        @node.method
        async def add(a, b):
            return a + b

        assert await node.peer(server.address).call("echo", [1]) == [1]
        import asyncio

        blocking = peer._node.peer(node.address)
        assert await asyncio.to_thread(blocking.call, "add", 1, 2) == 3


def test_reprs_and_statistics(both):
    server, peer = both
    assert repr(server) == f"<rudp.sync.Node {server.address} methods=2>"
    assert repr(peer) == f"<Peer {server.address}>"
    peer.call("echo", 1)
    assert peer._node.statistics().calls_ok == 1
    assert peer.state is rudp.PeerState.UP


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_a_blocking_call_and_leaves_the_node_usable(start_server):
    server = start_server()
    source = f"""
import rudp.sync, time
with rudp.sync.Node() as node:
    peer = node.peer({server.address!r})
    assert peer.call("echo", 1) == [1]
    print("waiting", flush=True)
    try:
        peer.call("sleep", 50, timeout=60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(peer.call("echo", 2), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "interrupted\n[2]\n"
        assert process.wait(30) == 0


def test_an_interrupt_between_any_two_steps_of_a_call_costs_only_that_call(both, caplog):
    """Rule 17: a handler raises wherever the signal comes; the node stays whole and closes."""
    _, peer = both
    assert peer.call("echo", "first") == "first"

    def call_for_ever(n, seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again, if a destructor swallows it
        while True:
            assert peer.call("echo", n) == n

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for n in range(300):
            with pytest.raises(KeyboardInterrupt):
                call_for_ever(n, random.uniform(1e-5, 2e-3))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert peer.call("echo", "still") == "still"
    assert peer._node._open_handles() == []
    peer._node.close()
    assert not caplog.records


def test_threads_that_never_stop_calling_do_not_hold_up_a_close(both, caplog):
    """However far a call has come when the node closes, its thread leaves."""
    server, _ = both
    for _ in range(20):
        node = rudp.sync.Node().open()
        peer = node.peer(server.address)
        ends = []

        def run(peer=peer, ends=ends):
            try:
                while True:
                    peer.call("echo", 1)
            except rudp.NodeClosed:
                ends.append("closed")

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        peer.call("echo", 2)
        node.close()
        for thread in threads:
            thread.join(30)
        assert ends == ["closed"] * 4
    assert not caplog.records
