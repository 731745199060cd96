"""Does every size arrive equal, in both directions, around each point where the way changes?"""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np
import pytest

PACKET = range(1050, 1160)  # one packet, or a message over TCP
EDGES = [n + d for n in (255, 256, 2048, 4096, 16384, 65535, 65536, 70000) for d in (-1, 0, 1)]
THREAD = range((256 << 10) - 90, (256 << 10) + 4)  # in the turn, or by the C thread
WAYS = {"small": range(70), "packet": PACKET, "edges": EDGES, "thread": THREAD}
BIG = [1 << 20, (1 << 22) + 1, 64 << 20]


def pattern(size: int) -> bytes:
    """Bytes that show where they belong."""
    return (
        (np.arange(size, dtype=np.uint32) * np.uint32(2654435761) >> np.uint32(24))
        .astype(np.uint8)
        .tobytes()
    )


@pytest.fixture
def echo(pair):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    server.register("make", pattern, inline=True)
    server.register("digest", lambda v: hashlib.sha256(v).hexdigest(), inline=True)
    return peer


@pytest.mark.parametrize("sizes", WAYS.values(), ids=WAYS)
async def test_bytes_of_every_size_around_the_switch_points(echo, sizes):
    for size in sizes:
        data = pattern(size)
        assert await echo.call("echo", data) == data


@pytest.mark.parametrize("sizes", WAYS.values(), ids=WAYS)
async def test_replies_alone_may_be_big(echo, sizes):
    for size in sizes:
        assert await echo.call("make", size) == pattern(size)


@pytest.mark.parametrize("size", BIG)
async def test_big_messages_in_request_and_reply_independently(echo, size):
    data = pattern(size)
    assert await echo.call("digest", data, timeout=60) == hashlib.sha256(data).hexdigest()
    assert await echo.call("make", size, timeout=60) == data


async def test_text_and_nested_lists_of_many_sizes(echo):
    for size in (100, 1000, 5000, 100_000):
        value = {"text": "x" * size, "numbers": list(range(size // 10))}
        assert await echo.call("echo", value) == value


async def test_many_big_messages_at_once(echo):
    arrays = [np.full(1 << 18, n, dtype=np.uint8) for n in range(24)]
    found = await asyncio.gather(*(echo.call("echo", a, timeout=60) for a in arrays))
    assert all(np.array_equal(a, b) for a, b in zip(arrays, found, strict=True))


async def test_small_calls_pass_between_big_ones(echo):
    big = [echo.call("echo", np.zeros(8 << 20, np.uint8), timeout=60) for _ in range(4)]
    assert await asyncio.gather(*(echo.call("echo", n) for n in range(100))) == list(range(100))
    assert all(len(found) == 8 << 20 for found in await asyncio.gather(*big))


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 100_000])
@pytest.mark.parametrize("depth", [0, 1, 3])
async def test_buffers_at_any_depth(echo, size, depth):
    value = bytearray(pattern(size))
    sent = value
    for _ in range(depth):
        sent = [{"at": sent}]
    found = await echo.call("echo", sent)
    for _ in range(depth):
        found = found[0]["at"]
    assert type(found) is memoryview
    assert found == value
    assert not found.readonly


async def test_many_buffers_in_one_message(echo):
    arrays = [np.arange(n * 100, dtype=np.int64) for n in range(50)]
    found = await echo.call("echo", arrays)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, found, strict=True))
