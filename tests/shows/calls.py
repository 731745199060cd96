"""Small calls: datagrams per call, and exactly once through loss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from tests.shows.bench import Measured, Relay, caller, keep_busy, server
from tests.shows.capture import Capture

EXTRA = 4  # datagrams each way that may be probes or the trailing acknowledgement


async def datagrams(*, full: bool) -> AsyncIterator[Measured]:
    """One datagram out and one back per call, also when the handler takes 20 ms (P3)."""
    for method, argument, count in (("echo", 1, 1000), ("slow", 0.02, 1000 if full else 100)):
        with server() as far:
            async with caller() as node:
                peer = node.peer(far.address)
                await peer.call("echo", 0)
                await asyncio.sleep(0.3)
                ports = int(node.address.rpartition(":")[2]), int(far.address.rpartition(":")[2])
                with Capture() as wire:
                    for _ in range(count):
                        await peer.call(method, argument)
                    await asyncio.sleep(0.2)
                out, back = wire.count[ports], wire.count[ports[::-1]]
                yield Measured(
                    f"{count} calls of {method}({argument})",
                    f"{out} datagrams out, {back} back",
                    met=count <= min(out, back) and max(out, back) <= count + EXTRA,
                )


async def loss(*, full: bool) -> AsyncIterator[Measured]:
    """20 % of the datagrams lost each way, 64 outstanding: all answered, each run once."""
    count = 100_000 if full else 5_000
    with server() as far:
        async with caller() as node:
            relay = Relay(node.address, far.address)
            peer = node.peer(relay.far)
            await peer.call("echo", 0)
            relay.datagrams.drop = 0.2
            numbers = iter(range(count))
            began = time.monotonic()
            await keep_busy(lambda: peer.call("once", next(numbers), timeout=60), count, 64)
            took = time.monotonic() - began
            relay.datagrams.drop = 0.0
            ran, wrong = await peer.call("journal")
            lost, seen = relay.datagrams.dropped, relay.datagrams.forwarded
            yield Measured(
                f"{count} calls, {lost / max(1, lost + seen):.1%} of the datagrams lost",
                f"all answered in {took:.1f} s; {ran} ran, {wrong} of them not exactly once",
                met=ran == count and wrong == 0,
            )
            statistics = node.statistics()
            yield Measured(
                "messages sent again by the caller", str(statistics.messages_resent), met=True
            )
