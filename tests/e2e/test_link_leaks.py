"""Does anything stay behind of calls that ended? Counted by object, never by time."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from collections import Counter

import numpy as np

import rudp

CALLS = 20_000
AT_ONCE = 100
KINDS = (
    *("Call", "Service", "Request", "Task", "SpareTask", "Context", "coroutine", "StopIteration"),
    *("Lent", "memoryview"),
)
GROWTH = 24 * 1024  # KiB: what an allocator may do; a leak of 20,000 calls of any kind is more
ARRAY = np.zeros(1000)
LARGE = bytes(5000)
SHARED = (rudp.Node, ARRAY, LARGE, b"some bytes", "some text")
SPARE = 60  # references to what is shared: caches and frames come and go


class Marker(Exception):
    """What the failing method raises: all of it must go."""


async def cancelled(peer):
    task = asyncio.create_task(peer.call("forever"))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return


async def failing(peer, name):
    try:
        await peer.call(name)
    except rudp.CallError:
        return


def register(node):
    word = "a text that is in no cache"

    async def coroutine(value):
        return value

    async def later(value):
        await asyncio.sleep(0)
        return value

    async def looked(value):
        assert asyncio.current_task().cancelling() == 0
        return value

    async def looked_later(value):
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
            return value

    async def fail():
        raise Marker(word)

    async def forever():
        await asyncio.Event().wait()

    node.register("inline", lambda v: v, inline=True)
    for function in (coroutine, later, looked, looked_later, fail, forever):
        node.register(function.__name__, function)


WAYS = {
    "inline": lambda peer: peer.call("inline", b"some bytes"),
    "coroutine": lambda peer: peer.call("coroutine", None),
    "later": lambda peer: peer.call("later", "some text"),
    "looked at": lambda peer: peer.call("looked", "some text"),
    "looked at, later": lambda peer: peer.call("looked_later", "some text"),
    "array": lambda peer: peer.call("inline", ARRAY),
    "bytes and more": lambda peer: peer.call("coroutine", (LARGE, None, "some text")),
    "small buffers": lambda peer: peer.call("later", bytearray(b"some bytes")),
    "not simple": lambda peer: peer.call("inline", [1, 2]),
    "failing": lambda peer: failing(peer, "fail"),
    "unknown": lambda peer: failing(peer, "unknown"),
    "cancelled": cancelled,
}


def objects():
    gc.collect()
    found = Counter(type(thing).__name__ for thing in gc.get_objects())
    return {name: found[name] for name in (*KINDS, Marker.__name__)}


def references():
    return [sys.getrefcount(thing) for thing in (Marker, *SHARED)]


async def many(peers, way, count):
    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(way(peers[n % 2]) for n in range(AT_ONCE)))


async def still(nodes, peers, wait):
    for peer in peers:
        await peer.call("coroutine", None)  # so that each node has an idle task
    await wait(lambda: not any(n._running or n._link.open() or n._core.lent for n in nodes))
    await asyncio.sleep(0.05)


async def test_nothing_stays_behind(wait):
    async with rudp.Node() as one, rudp.Node() as other:
        nodes = (one, other)
        for node in nodes:
            register(node)
        peers = one.peer(other.address), other.peer(one.address)
        for way in WAYS.values():
            await many(peers, way, 10 * AT_ONCE)
        for name, way in WAYS.items():
            await still(nodes, peers, wait)
            before, counts = objects(), references()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await many(peers, way, CALLS)
            await still(nodes, peers, wait)
            assert objects() == before, name
            grown = [now - was for was, now in zip(counts, references(), strict=True)]
            assert max(grown) < SPARE, (name, grown)
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < GROWTH, name
        assert all(node._link.places <= 2 * AT_ONCE for node in nodes)
