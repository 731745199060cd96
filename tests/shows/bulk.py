"""Lanes: sizes over every line, and connections cut under a gigabyte and under many messages."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import AsyncIterator

import numpy as np

from tests.shows.bench import Measured, Relay, caller, keep_busy, server

MIB = 1 << 20
CHUNK = 4 * MIB
# What may be under way and not verified: two segments, and the kernel's buffers of both halves of
# the relayed connection. Who began anew would send half of the message again with each cut.
WINDOW = 16 * MIB


async def sizes(*, full: bool) -> AsyncIterator[Measured]:
    """Request and reply of the same size, from 1 MiB to over the 2 GiB line."""
    sizes = [MIB, 4 * MIB, 64 * MIB] + ([3 << 30] if full else [256 * MIB])
    with server() as far:
        async with caller() as node:
            peer = node.peer(far.address)
            for size in sizes:
                sent = np.arange(size // 8, dtype=np.uint64)
                began = time.monotonic()
                got = await peer.call("echo", sent, timeout=300)
                took = time.monotonic() - began
                yield Measured(
                    f"{size / MIB:g} MiB there and back",
                    f"{2 * size / took / 1e9:.2f} GB/s",
                    met=bool(np.array_equal(sent, got)),
                )
                del got


async def cuts(*, full: bool) -> AsyncIterator[Measured]:
    """One transfer while its lanes are reset again and again (T3)."""
    total, wanted = (1 << 30, 100) if full else (256 * MIB, 10)
    data = np.random.default_rng(1).integers(0, 256, total, dtype=np.uint8)
    with server() as far:
        async with caller() as node:
            relay = Relay(node.address, far.address)
            peer = node.peer(relay.far)
            await peer.call("echo", 0)
            began = time.monotonic()
            relay.streams.cut_bytes = total * 9 // (wanted * 10)  # some fall on an idle lane
            assert await peer.call("store", data, timeout=600) == total
            took = time.monotonic() - began
            relay.streams.cut_bytes = 0
            same = await peer.call("stored") == hashlib.blake2b(data).hexdigest()
            again = node.statistics().bulk_bytes_again
            cut = relay.streams.cuts
            yield Measured(
                f"{total / MIB:g} MiB while lanes are cut {cut} times",
                f"digest {'equal' if same else 'DIFFERS'}, {total / took / 1e9:.2f} GB/s",
                met=same and cut >= wanted,
            )
            yield Measured(
                "sent again per cut",
                f"{again / max(1, cut) / 1024:.0f} KiB",
                met=again < WINDOW * cut,
            )


async def messages(*, full: bool) -> AsyncIterator[Measured]:
    """Messages of 1 to 200 KB, 64 outstanding, with datagrams lost and lanes cut meanwhile."""
    count, every = (40_000, 8 * MIB) if full else (3_000, 4 * MIB)
    chance = random.Random(1)
    content = chance.randbytes(200_000)
    with server() as far:
        async with caller() as node:
            relay = Relay(node.address, far.address)
            peer = node.peer(relay.far)
            await peer.call("echo", 0)
            numbers, different = iter(range(count)), 0

            async def once() -> None:
                nonlocal different
                size = int(1_000 * 200 ** chance.random())  # as many of each order of magnitude
                at = chance.randrange(len(content) - size + 1)
                sent = content[at : at + size]
                different += await peer.call("once", next(numbers), sent, timeout=60) != sent

            relay.datagrams.drop, relay.streams.cut_bytes = 0.05, every
            began = time.monotonic()
            await keep_busy(once, count, 64)
            took = time.monotonic() - began
            relay.datagrams.drop, relay.streams.cut_bytes = 0.0, 0
            ran, wrong = await peer.call("journal")
            yield Measured(
                f"{count} messages of 1 to 200 KB, lanes cut {relay.streams.cuts} times",
                f"all answered in {took:.1f} s; {ran} ran, {wrong} of them not exactly once, "
                f"{different} came back different",
                met=ran == count and wrong == different == 0 and relay.streams.cuts > 10,
            )
