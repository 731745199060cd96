"""How fast does a node answer? A small load generator against any method."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import click

import rudp
from rudp.cli.calling import milliseconds, percentile
from rudp.cli.serving import BENCH_METHOD
from rudp.cli.session import Access, Failure, connected


@dataclasses.dataclass(frozen=True)
class Load:
    """What to send: each call carries ``size`` bytes as its only argument."""

    method: str | None
    size: int
    outstanding: int
    seconds: float


async def bench_peer(access: Access, address: str, load: Load) -> None:
    """Run the load and print the result."""
    method = load.method or BENCH_METHOD
    data = bytearray(load.size) if load.size > 1024 else bytes(load.size)
    async with connected(access, address) as peer:
        try:
            await peer.call(method, data, timeout=10.0)  # the session is made before it counts
        except rudp.NoSuchMethod as error:
            if load.method is None:
                hint = "start the other side with `rudp serve --bench`, or name a --method"
                raise Failure(f"{address} has no {method!r}: {hint}") from error
            raise
        latencies: list[float] = []
        began, used = time.perf_counter(), time.process_time()
        until = began + load.seconds
        callers = (_calls(peer, method, data, until, latencies) for _ in range(load.outstanding))
        await asyncio.gather(*callers)
        wall, used = time.perf_counter() - began, time.process_time() - used
    _show(load, sorted(latencies), wall, used)


async def _calls(
    peer: rudp.Peer, method: str, data: bytes | bytearray, until: float, latencies: list[float]
) -> None:
    now = time.perf_counter()
    while now < until:
        await peer.call(method, data)
        then, now = now, time.perf_counter()
        latencies.append(now - then)


def _show(load: Load, ordered: list[float], wall: float, used: float) -> None:
    calls = len(ordered)
    click.echo(
        f"{calls:,} calls in {wall:.2f} s, {load.outstanding} outstanding, {load.size} bytes"
    )
    click.echo(f"rate     {calls / wall:,.0f} calls/s")
    click.echo(f"latency  p50 {milliseconds(percentile(ordered, 50))}")
    click.echo(f"         p99 {milliseconds(percentile(ordered, 99))}")
    click.echo(f"bytes    {calls * load.size / wall / 1e6:,.1f} MB/s each way")
    click.echo(f"CPU      {used / calls * 1e6:.1f} µs per call in this process")
