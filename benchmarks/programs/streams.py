"""What does asyncio over TCP take? Its streams, a length before each message, and msgpack.

What somebody writes who needs calls and takes no library: for messages that are too long for a
datagram it is the nearest rival in Python. No deadline, no error of a handler, no second try.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import struct
import sys
from typing import Any

from msgpack import Packer, unpackb  # type: ignore[import-untyped]  # it ships none

from benchmarks.programs import echo
from benchmarks.programs.bare import METHODS
from benchmarks.programs.server import announce

MOST_BUFFERED = 4 << 20
"""Bytes that a stream takes before its reader does."""

length = struct.Struct(">I")
pack = Packer(use_bin_type=True).pack


def write(stream: asyncio.StreamWriter, message: Any) -> None:
    """One message, at once if the socket takes it."""
    content = pack(message)
    stream.write(length.pack(len(content)) + content)


async def read(stream: asyncio.StreamReader) -> Any:
    """The next message."""
    (size,) = length.unpack(await stream.readexactly(length.size))
    return unpackb(await stream.readexactly(size))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All requests of one connection, in order."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            number, method, argument = await read(reader)
            write(writer, (number, METHODS[method](argument)))
    writer.close()


class Caller:
    """A future per call, found again by its number."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._writer = writer
        self._reading = self._loop.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            number, result = await read(reader)
            self._waiting.pop(number).set_result(result)

    def call(self, method: str, argument: Any = None) -> asyncio.Future[Any]:
        """Send it and wait."""
        number = self._last = self._last + 1
        future = self._waiting[number] = self._loop.create_future()
        write(self._writer, (number, method, argument))
        return future

    def close(self) -> None:
        """Nothing is read any more."""
        self._reading.cancel()
        self._writer.close()


async def serve(_given: argparse.Namespace) -> None:
    """Serve until stdin closes."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=MOST_BUFFERED)
    host, port = server.sockets[0].getsockname()
    announce(f"{host}:{port}")
    await asyncio.to_thread(sys.stdin.read)
    server.close()


async def measure(given: argparse.Namespace) -> dict[str, float]:
    """Warm up, measure."""
    host, _, port = given.address.rpartition(":")
    caller = Caller(*await asyncio.open_connection(host, int(port), limit=MOST_BUFFERED))
    await echo.stretch(caller, given, echo.WARM_SECONDS)
    result = await echo.stretch(caller, given, given.seconds)
    caller.close()
    return result
