"""A node for the shows: counts what runs, stores chunks, stalls on request.

usage: server.py ADDRESS    prints ``listening ADDRESS`` when it serves
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import sys
import time
from collections import Counter
from typing import Any

import rudp


async def main() -> None:
    """Serve until killed."""
    ran: Counter[int] = Counter()
    digest = hashlib.blake2b()
    async with rudp.Node(sys.argv[1]) as node:

        @node.method(inline=True)
        def echo(value: Any) -> Any:
            return value

        @node.method
        async def slow(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        @node.method(inline=True)
        def once(number: int, data: Any = None) -> Any:
            ran[number] += 1
            return number if data is None else data

        @node.method(inline=True)
        def journal() -> list[int]:
            """How many numbers ran, and how many of them not exactly once."""
            return [len(ran), sum(1 for count in ran.values() if count != 1)]

        @node.method(inline=True)
        def dropped() -> dict[str, int]:
            """What came and was not used, by reason."""
            return {why: count for why, count in node.statistics().dropped.items() if count}

        @node.method
        def store(chunk: Any) -> int:
            digest.update(chunk)
            return len(chunk)

        @node.method(inline=True)
        def stored() -> str:
            return digest.hexdigest()

        @node.method(inline=True)
        def hold_gil(seconds: float) -> float:
            """A C call that keeps the GIL: nothing of Python runs meanwhile, in any thread."""
            began = time.monotonic()
            ctypes.PyDLL(None).usleep(int(seconds * 1e6))
            return time.monotonic() - began

        print("listening", node.address, flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
