"""Bodies are not summed where both ends are in one kernel and nobody is between them (K11)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

import rudp
from tests.wiretap import A, B, Tap

SIZES = [20_000, 1 << 20, 9 << 20]
KEY = "5e" * 32
OFF = rudp.Config(direct=False)
Echo = Callable[[bytes], Awaitable[bytes]]


@asynccontextmanager
async def two(
    at: str = "127.0.0.1:0",
    *,
    called: str = "",
    server: dict | None = None,
    client: dict | None = None,
) -> AsyncIterator[tuple[rudp.Node, rudp.Node, Echo]]:
    async with rudp.Node(at, **(server or {})) as b, rudp.Node(**(client or {})) as a:
        b.register("echo", lambda v: v, inline=True)
        port = b.address.rpartition(":")[2]
        peer = a.peer(called.format(port) if called else b.address)
        yield a, b, lambda body: peer.call("echo", body, timeout=20)


async def direct_lanes(a: rudp.Node, b: rudp.Node, echo: Echo) -> list[int]:
    for size in SIZES:
        body = os.urandom(size)
        assert await echo(body) == body
    return [node.statistics().lanes_direct for node in (a, b)]


@pytest.mark.parametrize(
    ("at", "called"),
    [("127.0.0.1:0", ""), ("0.0.0.0:0", "127.0.0.1:{}"), ("[::]:0", "127.0.0.1:{}")],
)
async def test_nobody_is_between(at: str, called: str) -> None:
    async with two(at, called=called, server={"insecure": True}) as nodes:
        assert await direct_lanes(*nodes) == [2, 2]


async def test_one_side_does_not_want_it() -> None:
    async with two(server={"config": OFF}) as nodes:
        assert await direct_lanes(*nodes) == [0, 0]
    async with two(client={"config": OFF}) as nodes:
        assert await direct_lanes(*nodes) == [0, 0]


async def test_what_is_sealed_stays_sealed() -> None:
    async with two(server={"key": KEY}, client={"key": KEY}) as nodes:
        assert await direct_lanes(*nodes) == [0, 0]


async def test_a_relay_on_loopback_that_spoils_bytes_is_found_out() -> None:
    """It ends our connection and makes another one: so there is a sum, and the sum is wrong."""
    spoilt: list[int] = []

    def spoil(speaker: int, data: bytes) -> bytes:
        if speaker == B or len(data) < 30_000 or spoilt:
            return data
        spoilt.append(len(data))
        return data[:20_000] + bytes([data[20_000] ^ 4]) + data[20_001:]

    async with rudp.Node() as b, rudp.Node() as a:
        b.register("echo", lambda v: v, inline=True)
        with Tap(a.address, b.address, spoil) as tap:
            peer = a.peer(tap.address(B))

            async def echo(body: bytes) -> bytes:
                return await peer.call("echo", body, timeout=20)

            assert await direct_lanes(a, b, echo) == [0, 0]
            assert spoilt
            assert tap.said[A].streams
            assert b.statistics().dropped["segment"] == 1
