"""Several loops, threads and nodes in one process: does each get what is its own?

No assertion looks at a clock; waits are bounded so that a failure ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import rudp
import rudp.sync

PATIENCE = 60.0  # seconds
ECHO = 30  # calls of one caller to one node


class LoopThread:
    """An event loop in a thread of its own, with a node that answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.node = self.run(self._open())

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def stop(self) -> None:
        self.run(self.node.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)
        self.loop.close()

    async def _open(self) -> rudp.Node:
        return await serve(rudp.Node(), self.name).open()

    async def call_all(self, addresses: list[str]) -> list[Any]:
        peers = [self.node.peer(address) for address in addresses]
        calls = [p.call("who", [self.name, n]) for n in range(ECHO) for p in peers]
        big = [p.call("sum", np.full(50_000, i, np.uint32)) for i, p in enumerate(peers)]
        return [await asyncio.gather(*calls), await asyncio.gather(*big)]


def serve(node: Any, name: str) -> Any:
    node.register("who", lambda value: [name, value], inline=True)
    node.register("sum", lambda array: int(array.sum()))
    return node


def call_all(node: rudp.sync.Node, name: str, addresses: list[str]) -> list[Any]:
    peers = [node.peer(address) for address in addresses]
    calls = [p.call("who", [name, n]) for n in range(ECHO) for p in peers]
    big = [p.call("sum", np.full(50_000, i, np.uint32)) for i, p in enumerate(peers)]
    return [calls, big]


def expected(caller: str, names: list[str]) -> list[Any]:
    calls = [[name, [caller, n]] for n in range(ECHO) for name in names]
    return [calls, [50_000 * i for i in range(len(names))]]


def test_many_loops_and_threads_and_both_kinds_of_nodes():
    """E9: three loops and two blocking nodes, four threads on each of those, all calling all."""
    loops = [LoopThread(f"loop {i}") for i in range(3)]
    blocking = [serve(rudp.sync.Node(), f"blocking {i}").open() for i in range(2)]
    try:
        names = [loop.name for loop in loops] + [f"blocking {i}" for i in range(2)]
        addresses = [loop.node.address for loop in loops] + [n.address for n in blocking]
        with ThreadPoolExecutor(8) as pool:
            from_loops = [
                asyncio.run_coroutine_threadsafe(loop.call_all(addresses), loop.loop)
                for loop in loops
            ]
            threads = [
                (f"{i} of {n}", pool.submit(call_all, blocking[n], f"{i} of {n}", addresses))
                for i in range(4)
                for n in range(2)
            ]
            for loop, found in zip(loops, from_loops, strict=True):
                assert found.result(PATIENCE) == expected(loop.name, names)
            for caller, future in threads:
                assert future.result(PATIENCE) == expected(caller, names)
    finally:
        for loop in loops:
            loop.stop()
        for node in blocking:
            node.close()


@pytest.fixture
def both():
    over = threading.Event()
    with serve(rudp.sync.Node(), "server") as server, rudp.sync.Node() as client:
        server.register("wait", time.sleep)
        server.register("hang", lambda: over.wait(PATIENCE))
        yield server, client.peer(server.address)
        over.set()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_the_main_threads_alone(both):
    """Rule 17: the main thread's call ends, those of the others go on and end as they should."""
    _, peer = both
    peer.call("wait", 0)
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(peer.call, "wait", 1.0) for _ in range(4)]
        echoes = pool.submit(lambda: [peer.call("who", n) for n in range(50)])

        def interrupt() -> None:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            peer.call("hang", timeout=PATIENCE)
        assert [o.result(PATIENCE) for o in others] == [None] * 4
        assert echoes.result(PATIENCE) == [["server", n] for n in range(50)]
    assert peer.call("who", "still") == ["server", "still"]


def test_signals_that_interrupt_nobody_cost_no_call(both):
    """Any signal ends a wait in the core; Python looks at it and waits on."""
    _, peer = both
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    over = threading.Event()

    def disturb() -> None:
        for _ in range(2000):
            if over.is_set():
                return
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.001)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for n in range(200):
            assert peer.call("who", n) == ["server", n]
        assert peer.call("wait", 0.2) is None
    finally:
        over.set()
        disturber.join(PATIENCE)
        signal.signal(signal.SIGUSR1, before)
    assert seen


def hold_the_gil(size: int) -> int:
    """One C function that does not let go: the square of a number of so many bits."""
    number = (1 << size) - 1
    return (number * number).bit_length()


async def test_nobody_is_judged_while_the_gil_is_held():
    """Rule 4: Python stands still for longer than the silence after which a peer is lost."""
    config = rudp.Config(lost_after=1.0)
    news: list[rudp.PeerEvent] = []
    async with rudp.Node(config=config) as server, rudp.Node(config=config) as client:
        serve(server, "server")
        client.on_peer(news.append)
        server.on_peer(news.append)
        peer = client.peer(server.address)
        peer.watch()
        assert await peer.call("who", 0) == ["server", 0]
        size, held = 1 << 20, 0.0
        while held < 2.0:  # until it takes longer than that
            began = time.monotonic()
            hold_the_gil(size)
            held = time.monotonic() - began
            size *= 2
        assert await peer.call("who", 1) == ["server", 1]
        assert peer.state is rudp.PeerState.UP
        assert rudp.PeerState.LOST not in [event.state for event in news]


def test_calls_beside_a_thread_that_computes(both):
    """The neighbour takes the GIL wherever it can; every call still gets its own answer."""
    _, peer = both
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(10_000))

    neighbour = threading.Thread(target=compute)
    neighbour.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda n: peer.call("who", n), range(100)))
    finally:
        over.set()
        neighbour.join(PATIENCE)
    assert found == [["server", n] for n in range(100)]


LOOKS: list[Callable[[rudp.sync.Node], Any]] = [
    lambda node: node.statistics(),
    lambda node: [peer.view() for peer in node.peers.values()],
    lambda node: node.address,
]


def test_looking_in_while_the_node_closes():
    """Who looks gets numbers or hears that the node is closed, and never at freed memory."""
    with serve(rudp.sync.Node(), "server") as server:
        for _ in range(25):
            node = rudp.sync.Node().open()
            assert node.peer(server.address).call("who", 1) == ["server", 1]
            begun, looked = threading.Barrier(len(LOOKS) + 1), []

            def look(
                what: Callable[[rudp.sync.Node], Any],
                node: rudp.sync.Node = node,
                begun: threading.Barrier = begun,
                looked: list[int] = looked,
            ) -> None:
                begun.wait(PATIENCE)
                try:
                    for _ in range(1_000_000):
                        what(node)
                except rudp.NodeClosed:
                    looked.append(1)

            threads = [threading.Thread(target=look, args=(what,)) for what in LOOKS]
            for thread in threads:
                thread.start()
            begun.wait(PATIENCE)
            time.sleep(0.002)
            node.close()
            for thread in threads:
                thread.join(PATIENCE)
            assert len(looked) == len(LOOKS)


async def test_a_dead_peer_spoils_nothing_for_the_others():
    """P11: what the kernel says of one address must not eat packets for others, under load."""
    servers = [await serve(rudp.Node(), f"server {n}").open() for n in range(20)]
    dead = await rudp.Node().open()
    nowhere = dead.address
    await dead.close()
    try:
        async with rudp.Node() as client:
            peers = [client.peer(server.address) for server in servers]
            lost = client.peer(nowhere)
            failing = [asyncio.ensure_future(lost.call("who", n)) for n in range(3)]
            turn = 0
            while turn < 30 or (turn < 3000 and not all(f.done() for f in failing)):
                found = await asyncio.gather(*[peer.call("who", turn) for peer in peers])
                assert found == [[f"server {n}", turn] for n in range(20)]
                turn += 1
            for failure in await asyncio.gather(*failing, return_exceptions=True):
                assert isinstance(failure, rudp.CallError)
                assert failure.outcome is rudp.Outcome.NO
            assert all(peer.state is rudp.PeerState.UP for peer in peers)
    finally:
        for server in servers:
            await server.close()


async def test_a_call_leaves_at_once_if_the_loop_has_nothing_else_to_do(pair):
    """Rule 12 shares packets among the calls of a tick: this one has nobody to wait for."""
    server, peer = pair
    server.register("echo", lambda value: value, inline=True)
    await peer.call("echo", 0)
    left = 0
    for n in range(10):
        await asyncio.sleep(0.02)
        before = peer._node.statistics().packets_sent
        call = peer.call("echo", n)
        left += peer._node.statistics().packets_sent > before
        assert await call == n
    assert left >= 5  # not all: a packet may come in the same tick, and then a turn is due


async def test_calls_of_one_tick_share_packets(pair):
    """Rule 12: what is started together leaves together, but for the first."""
    server, peer = pair
    server.register("echo", lambda value: value, inline=True)
    await peer.call("echo", 0)
    sent = peer._node.statistics().packets_sent
    assert await asyncio.gather(*(peer.call("echo", n) for n in range(50))) == list(range(50))
    assert peer._node.statistics().packets_sent - sent < 25
