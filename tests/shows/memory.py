"""Does a real node's memory stay flat?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from tests.shows.bench import Measured, caller, keep_busy, server

MIB = 1 << 20


async def memory(*, full: bool) -> AsyncIterator[Measured]:
    """The answering process over many calls, after a warm-up."""
    count = 1_000_000 if full else 50_000
    with server() as far:
        async with caller() as node:
            peer = node.peer(far.address)
            await keep_busy(lambda: peer.call("echo", b"x" * 64), count // 10, 64)
            before = far.resident()
            await keep_busy(lambda: peer.call("echo", b"x" * 64), count, 64)
            after = far.resident()
            yield Measured(
                f"resident size over {count} calls",
                f"{before / MIB:.1f} MiB, then {after / MIB:.1f} MiB",
                met=after - before < 4 * MIB,
            )
