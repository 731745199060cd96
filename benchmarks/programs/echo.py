"""How fast are ordinary awaited calls, one at a time or many outstanding?"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections.abc import Awaitable
from typing import Any, Protocol

import rudp
from benchmarks.programs.result import Stretch, calls_result, quantiles
from benchmarks.programs.server import node_options

WARM_SECONDS = 0.2


class Callable(Protocol):
    """What can be called: a peer of rudp, or what stands beside it."""

    def call(self, method: str, /, *args: Any) -> Awaitable[Any]:
        """Call a method there."""


def compute(stop: threading.Event) -> None:
    """A neighbour that never waits: pure Python, so it lets go of the GIL only when asked."""
    number = 0
    while not stop.is_set():
        for _ in range(1000):
            number = (number * 1103515245 + 12345) % 2147483648


async def timed(
    peer: Callable, method: str, data: bytes, durations: list[float], seconds: float
) -> None:
    """One call at a time, each with its duration."""
    clock, call = time.perf_counter, peer.call
    now = clock()
    until = now + seconds
    while now < until:
        before = now
        await call(method, data)
        now = clock()
        durations.append(now - before)


async def counted(
    peer: Callable, method: str, data: bytes, outstanding: int, seconds: float
) -> int:
    """As many tasks as calls in flight, each one call after the other; how many in all."""
    going = True

    def stop() -> None:
        nonlocal going
        going = False

    async def worker() -> int:
        calls, call = 0, peer.call
        while going:
            await call(method, data)
            calls += 1
        return calls

    asyncio.get_running_loop().call_later(seconds, stop)
    return sum(await asyncio.gather(*(worker() for _ in range(outstanding))))


async def stretch(peer: Callable, given: argparse.Namespace, seconds: float) -> dict[str, float]:
    """Measure for so long."""
    data = bytes(given.payload)
    durations: list[float] = []
    work = Stretch(await peer.call("cpu"))
    if given.outstanding == 1:
        await timed(peer, given.method, data, durations, seconds)
        calls = len(durations)
    else:
        calls = await counted(peer, given.method, data, given.outstanding, seconds)
    ended = time.perf_counter()
    result = calls_result(work.stop(await peer.call("cpu"), ended), calls)
    return {**result, **quantiles(durations)} if durations else result


async def measure(given: argparse.Namespace) -> dict[str, float]:
    """Connect, warm up, measure."""
    over = threading.Event()
    for _ in range(given.neighbour):
        threading.Thread(target=compute, args=(over,), daemon=True).start()
    try:
        async with rudp.Node("127.0.0.1:0", **node_options(given)) as node:
            peer = node.peer(given.address)
            await stretch(peer, given, WARM_SECONDS)
            return await stretch(peer, given, given.seconds)
    finally:
        over.set()
