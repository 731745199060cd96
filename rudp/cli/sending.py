"""How does ``rudp send`` bring files to a receiver?"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import rudp
from rudp.cli.files import (
    CHUNK,
    DIGEST_SIZE,
    FINISH,
    NOTHING,
    OPEN,
    PUT,
    chunk_count,
    digest_of,
    digest_of_all,
    read_chunk,
)
from rudp.cli.progress import Bars
from rudp.cli.session import Access, Failure, connected, first_error, one_line

WINDOW = 8  # chunks on their way, of all files together
FILES = 4  # files at a time
ROUNDS = 3  # attempts to repair chunks that the receiver's disk has changed
CALL_SECONDS = 60.0
READ_RATE = 20e6  # bytes/s that a receiver reads its disk with, at least


async def send_files(access: Access, files: Sequence[Path], address: str) -> None:
    """Send all; the first failure ends it, and what was sent stays at the receiver."""
    with Bars() as bars:
        async with connected(access, address) as peer:
            sender = _Sender(peer, bars)
            gate = asyncio.Semaphore(FILES)

            async def send(path: Path) -> None:
                async with gate:
                    await sender.send(path)

            results = await asyncio.gather(*map(send, files), return_exceptions=True)
    failures = [error for error in results if isinstance(error, BaseException)]
    for error in failures:
        if not isinstance(error, Failure):
            raise error
    if failures:
        raise Failure("; ".join(map(str, failures)))


class _Sender:
    """The files' way to one receiver."""

    def __init__(self, peer: rudp.Peer, bars: Bars) -> None:
        self._peer = peer
        self._bars = bars
        self._window = asyncio.Semaphore(WINDOW)

    async def send(self, path: Path) -> None:
        """One file, whole and checked; raises ``Failure``."""
        try:
            descriptor = _opened(path)
            try:
                await self._send(path, descriptor)
            except BaseExceptionGroup as several:  # of chunks; the first one says enough
                raise first_error(several) from None
            finally:
                os.close(descriptor)
        except rudp.NoSuchMethod as error:
            raise Failure(f"{self._peer.address} is no `rudp receive`") from error
        except rudp.RemoteError as error:
            raise Failure(f"{path}: {' '.join(error.remote_message.split())}") from error
        except rudp.RudpError as error:
            text = f"{path}: {one_line(error)}"
            raise Failure(f"{text}; send it again to resume") from error
        except OSError as error:
            raise Failure(f"{path}: {error.strerror or error}") from error

    async def _send(self, path: Path, descriptor: int) -> None:
        before = os.fstat(descriptor)
        size, name = before.st_size, path.name
        there = await self._open(name, size, differs=False)
        mine = _Mine(descriptor, size, there["digests"])
        if there["transfer"] is None:
            if await mine.all_same():
                self._bars.say(f"{name}: is there already, with the same content")
                return
            there = await self._open(name, size, differs=True)
            mine = _Mine(descriptor, size, there["digests"])
        self._bars.begin(name, size, 0)
        sent = await self._send_chunks(there["transfer"], name, mine, range(mine.count))
        after = os.fstat(descriptor)
        if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
            raise Failure(f"{path} changed while it was sent: send it again")
        for _ in range(ROUNDS):
            wrong = await self._peer.call(
                FINISH, there["transfer"], mine.joined(), timeout=_long(size)
            )
            if not wrong:
                break
            sent += await self._send_chunks(there["transfer"], name, mine, wrong)
        else:
            raise Failure(f"{path}: {len(wrong)} chunks do not stay on the receiver's disk")
        self._bars.end(name)
        kept = f", {size - sent:,} of them were there" if sent < size else ""
        self._bars.say(f"{name}: {size:,} bytes{kept}, digest {digest_of_all(mine.joined())[:16]}")

    async def _open(self, name: str, size: int, *, differs: bool) -> dict[str, Any]:
        answer: dict[str, Any] = await self._peer.call(
            OPEN, name, size, differs=differs, timeout=_long(size)
        )
        if len(answer["digests"]) != chunk_count(size) * DIGEST_SIZE:
            raise Failure(f"{name}: the receiver speaks another version")
        return answer

    async def _send_chunks(
        self, transfer: str, name: str, mine: _Mine, indices: Sequence[int]
    ) -> int:
        """Send those that differ; returns how many bytes were sent."""
        sent = done = 0

        left = iter(indices)

        async def worker() -> None:
            nonlocal sent, done
            for index in left:
                async with self._window:
                    data, same = await asyncio.to_thread(mine.read, index)
                    if not same:
                        digest = mine.digests[index]
                        timeout = CALL_SECONDS
                        await self._peer.call(PUT, transfer, index, digest, data, timeout=timeout)
                        sent += len(data)
                done += len(data)
                self._bars.update(name, done)

        async with asyncio.TaskGroup() as group:
            for _ in range(WINDOW):
                group.create_task(worker())
        return sent


class _Mine:
    """The file on this side: its chunks, and how they compare with what is there."""

    def __init__(self, descriptor: int, size: int, theirs: bytes) -> None:
        self.count = chunk_count(size)
        self.digests = [NOTHING] * self.count
        self._descriptor = descriptor
        self._size = size
        self._theirs = theirs

    def read(self, index: int) -> tuple[bytearray, bool]:
        """A chunk, and whether it is there already; reads the disk."""
        data = read_chunk(self._descriptor, self._size, index)
        wanted = min(CHUNK, self._size - index * CHUNK)
        if len(data) != wanted:
            raise OSError("the file became shorter while it was sent")
        digest = digest_of(data)
        # A chunk is skipped once; if the receiver says later that it is wrong, it is sent.
        same = self.digests[index] == NOTHING and digest == self._their(index)
        self.digests[index] = digest
        return data, same

    def _their(self, index: int) -> bytes:
        return self._theirs[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE]

    async def all_same(self) -> bool:
        """Whether every chunk is there already."""
        for index in range(self.count):
            if not (await asyncio.to_thread(self.read, index))[1]:
                return False
        return True

    def joined(self) -> bytes:
        """All digests, in order."""
        return b"".join(self.digests)


def _opened(path: Path) -> int:
    """A descriptor of a file whose size is what can be read of it; a pipe is not waited for."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        name = click.format_filename(path)
        raise Failure(f"{name}: a name that is not UTF-8 cannot be sent: rename it") from None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Failure(f"{path}: is not a regular file")
        if found.st_size == 0 and os.pread(descriptor, 1, 0):  # the kernel makes it: /proc
            raise Failure(f"{path}: is not a regular file: it has bytes and no size")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _long(size: int) -> float:
    """Seconds for a call in which the receiver reads the whole file."""
    return CALL_SECONDS + size / READ_RATE
