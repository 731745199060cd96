"""The C surface as Python uses it, on a node whose peer is itself: calls and turns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rudp
from rudp._lib import rudp_turn

BATCH = 64


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that a benchmark may run step by step."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def test_idle_turn(benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop) -> None:
    """A turn that finds nothing: a few system calls and the look around."""
    node = loop.run_until_complete(rudp.Node(insecure=True).open())
    try:
        benchmark(rudp_turn, node._handle, 0, 0)  # noqa: SLF001  below the public surface
    finally:
        loop.run_until_complete(node.close())


@pytest.mark.parametrize("handler", ["echo", "inline"])
def test_batch_of_64_calls(
    benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop, handler: str
) -> None:
    """64 calls in one tick, from the first submit to the last result, both ends in one loop."""

    async def echo(data: bytes) -> bytes:
        return data

    async def opened() -> tuple[rudp.Node, rudp.Node, rudp.Peer]:
        caller, server = (
            await rudp.Node(insecure=True).open(),
            await rudp.Node(insecure=True).open(),
        )
        server.register("echo", echo)
        server.register("inline", lambda data: data, inline=True)
        return caller, server, caller.peer(server.address)

    caller, server, peer = loop.run_until_complete(opened())
    data = bytes(64)

    async def batch() -> int:
        return len(await asyncio.gather(*(peer.call(handler, data) for _ in range(BATCH))))

    try:
        assert benchmark(lambda: loop.run_until_complete(batch())) == BATCH
    finally:
        loop.run_until_complete(caller.close())
        loop.run_until_complete(server.close())


def test_submit_alone(benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop) -> None:
    """``peer.call`` to an address where nobody answers: encode, future, submit; ended by close."""

    async def opened() -> rudp.Node:
        return await rudp.Node(insecure=True).open()

    node = loop.run_until_complete(opened())
    peer = node.peer("127.0.0.1:9")
    data = bytes(64)

    async def submit() -> None:
        tasks = [asyncio.ensure_future(peer.call("echo", data, timeout=1)) for _ in range(BATCH)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        benchmark(lambda: loop.run_until_complete(submit()))
    finally:
        loop.run_until_complete(node.close())
