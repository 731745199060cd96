"""What does the serving process offer? The methods that all the measurements call."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

import rudp

CLUSTER_KEY = bytes(range(32))  # measured on loopback, guards nothing


def node_options(given: argparse.Namespace) -> dict[str, Any]:
    """Key and configuration for a cipher; plaintext without one. Both sides ask here."""
    if given.cipher == "none":
        return {"insecure": True, "config": rudp.Config(direct=given.direct == "yes")}
    return {"key": CLUSTER_KEY, "config": rudp.Config(cipher=given.cipher)}


def echo(data: Any) -> Any:
    """The argument comes back."""
    return data


def store(data: Any) -> int:
    """The application acknowledges a chunk that it has in memory."""
    return len(data)


async def echo_coroutine(data: Any) -> Any:
    """The same as a coroutine: a task per request."""
    return data


async def store_coroutine(data: Any) -> int:
    """The same as a coroutine."""
    return len(data)


def announce(address: str) -> None:
    """The line that the harness waits for."""
    print(json.dumps({"address": address}), flush=True)


async def serve(given: argparse.Namespace) -> None:
    """Serve until stdin closes."""
    async with rudp.Node("127.0.0.1:0", **node_options(given)) as node:
        node.register("echo", echo_coroutine)
        node.register("echo-inline", echo, inline=True)
        node.register("store", store_coroutine)
        node.register("cpu", time.process_time, inline=True)
        announce(node.address)
        await asyncio.to_thread(sys.stdin.read)
