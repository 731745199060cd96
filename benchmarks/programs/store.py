"""How fast do big chunks move, each acknowledged by the receiving application?"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import numpy as np

import rudp
from benchmarks.programs.result import Stretch, bulk_result, quantiles
from benchmarks.programs.server import node_options

WARM_SECONDS = 0.2


class Bulk:
    """Keeps ``in_flight`` chunks under way until ``stop``; rotates as many buffers (Rule 28)."""

    def __init__(self, peer: rudp.Peer, chunk: int, in_flight: int) -> None:
        self.peer = peer
        self.durations: list[float] = []
        self.buffers = [np.full(chunk, i + 1, dtype=np.uint8) for i in range(in_flight)]
        self.going = True

    def stop(self) -> None:
        """No chunk begins from now on."""
        self.going = False

    async def run(self) -> int:
        """How many chunks were acknowledged."""
        self.going = True
        self.durations.clear()
        await asyncio.gather(*(self._sender(buffer) for buffer in self.buffers))
        return len(self.durations)

    async def _sender(self, buffer: Any) -> None:
        clock = time.perf_counter
        while self.going:
            before = clock()
            if await self.peer.call("store", buffer) != len(buffer):
                raise RuntimeError("the server has not got all of a chunk")
            self.durations.append(clock() - before)


async def stretch(bulk: Bulk, seconds: float) -> dict[str, float]:
    """Measure for so long."""
    work = Stretch(await bulk.peer.call("cpu"))
    asyncio.get_running_loop().call_later(seconds, bulk.stop)
    chunks = await bulk.run()
    ended = time.perf_counter()
    took = work.stop(await bulk.peer.call("cpu"), ended)
    return {**bulk_result(took, chunks, len(bulk.buffers[0])), **quantiles(bulk.durations)}


async def measure(given: argparse.Namespace) -> dict[str, float]:
    """Connect, warm up, measure."""
    async with rudp.Node("127.0.0.1:0", **node_options(given)) as node:
        bulk = Bulk(node.peer(given.address), given.chunk, given.in_flight)
        await stretch(bulk, WARM_SECONDS)
        return await stretch(bulk, given.seconds)
