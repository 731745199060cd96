"""How long do small calls take while bulk saturates the same pair of nodes?"""

from __future__ import annotations

import argparse
import asyncio
import time

import rudp
from benchmarks.programs.result import quantiles
from benchmarks.programs.server import node_options
from benchmarks.programs.store import Bulk, stretch

THINK_SECONDS = 0.001


async def small_calls(peer: rudp.Peer, given: argparse.Namespace, durations: list[float]) -> None:
    """One call after the other, a pause of 1 ms between them, until cancelled."""
    data, clock = bytes(given.payload), time.perf_counter
    while True:
        await asyncio.sleep(THINK_SECONDS)
        before = clock()
        await peer.call(given.method, data)
        durations.append(clock() - before)


async def measure(given: argparse.Namespace) -> dict[str, float]:
    """Bulk alone, then bulk with the small calls; ``alone`` is the rate of the former."""
    async with rudp.Node("127.0.0.1:0", **node_options(given)) as node:
        peer = node.peer(given.address)
        bulk = Bulk(peer, given.chunk, given.in_flight)
        await stretch(bulk, given.seconds / 2)
        alone = await stretch(bulk, given.seconds)
        durations: list[float] = []
        small = asyncio.create_task(small_calls(peer, given, durations))
        together = await stretch(bulk, given.seconds)
        small.cancel()
        await asyncio.wait([small])
        return {
            **quantiles(durations),
            "calls": len(durations),
            "gigabytes_per_second": together["gigabytes_per_second"],
            "alone_gigabytes_per_second": alone["gigabytes_per_second"],
        }
