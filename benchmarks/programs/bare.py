"""What does asyncio alone take? Its datagrams and msgpack: no reliability, no task per request.

A floor in Python beside the floor in C: the two move apart on a busy machine, where caches are
shared, and on another interpreter. rudp does more than this and is to stay near it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any

from msgpack import Packer, unpackb  # type: ignore[import-untyped]  # it ships none

from benchmarks.programs import echo
from benchmarks.programs.server import announce

METHODS: dict[str, Any] = {"echo": lambda data: data, "cpu": lambda _: time.process_time()}

pack = Packer(use_bin_type=True).pack


class Server(asyncio.DatagramProtocol):
    """Answers each datagram with one."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        """Asyncio's."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Asyncio's."""
        number, method, argument = unpackb(data)
        self.transport.sendto(pack((number, METHODS[method](argument))), addr)


class Caller(asyncio.DatagramProtocol):
    """A future per call, found again by its number."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0

    def connection_made(self, transport: Any) -> None:
        """Asyncio's."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002  asyncio's
        """Asyncio's."""
        number, result = unpackb(data)
        self._waiting.pop(number).set_result(result)

    def call(self, method: str, argument: Any = None) -> asyncio.Future[Any]:
        """Send it and wait; a lost datagram would be waited for until the harness ends us."""
        number = self._last = self._last + 1
        future = self._waiting[number] = self._loop.create_future()
        self.transport.sendto(pack((number, method, argument)))
        return future


async def serve(_given: argparse.Namespace) -> None:
    """Serve until stdin closes."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    announce(f"{host}:{port}")
    await asyncio.to_thread(sys.stdin.read)
    transport.close()


async def measure(given: argparse.Namespace) -> dict[str, float]:
    """Warm up, measure."""
    host, _, port = given.address.rpartition(":")
    loop = asyncio.get_running_loop()
    transport, caller = await loop.create_datagram_endpoint(Caller, remote_addr=(host, int(port)))
    await echo.stretch(caller, given, echo.WARM_SECONDS)
    result = await echo.stretch(caller, given, given.seconds)
    transport.close()
    return result
