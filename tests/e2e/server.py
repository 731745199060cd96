"""A node for tests that need a process of its own: to kill, to stop, to restart.

usage: server.py ADDRESS [--key HEX] [--key-late HEX]
Prints ``listening ADDRESS`` when it serves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time

import rudp


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--key")
    options = parser.parse_args()
    ran: dict[str, int] = {}
    async with rudp.Node(options.address, key=options.key) as node:

        @node.method
        async def echo(*values):
            return list(values)

        @node.method
        async def sleep(seconds):
            await asyncio.sleep(seconds)
            return seconds

        @node.method(inline=True)
        def pid():
            return os.getpid()

        @node.method(inline=True)
        def hold(seconds):
            time.sleep(seconds)  # holds the loop, as a long computation does

        @node.method(inline=True)
        def count(name):
            ran[name] = ran.get(name, 0) + 1
            return ran[name]

        print("listening", node.address, flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
