"""What the shows share: nodes in processes of their own, a relay between them, a verdict."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import rudp
from rudp.demo.datagrams import Datagrams
from rudp.demo.links import links_between, seen_by
from rudp.demo.streams import Streams

SERVER = Path(__file__).with_name("server.py")
ROOT = SERVER.parents[2]
PATIENCE = 60.0  # seconds until something is given up


@dataclasses.dataclass
class Measured:
    """One line of what a show found."""

    what: str
    value: str
    met: bool


@dataclasses.dataclass
class Server:
    """A node in a process of its own (``server.py``)."""

    process: subprocess.Popen[str]
    address: str

    def kill(self) -> float:
        """End it without a word; the moment it was done."""
        now = time.monotonic()
        os.kill(self.process.pid, signal.SIGKILL)
        return now

    def resident(self) -> int:
        """Bytes of memory it holds now."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(address: str = "127.0.0.1:0", *options: str) -> Server:
    """A new server; it prints its address when it serves."""
    process = subprocess.Popen(
        [sys.executable, str(SERVER), address, *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    line = process.stdout.readline().split()
    if len(line) != 2:
        raise RuntimeError("the server did not start")
    return Server(process, line[1])


@contextlib.contextmanager
def server(*options: str) -> Iterator[Server]:
    """A server that is gone afterwards."""
    started = start("127.0.0.1:0", *options)
    try:
        yield started
    finally:
        started.end()


class Faulty(Streams):
    """A proxy that can also fall silent without a word, and cut by the amount carried."""

    frozen = False
    cut_bytes = 0  # cut the busy connection each time so much more was carried; 0: never
    _cut_at = 0

    def _accept(self, *where: Any) -> None:
        if self.frozen:
            time.sleep(0.005)  # it stays in the backlog: no answer, no refusal
        else:
            super()._accept(*where)

    def _pump(self, pair: Any) -> None:
        if self.frozen:
            time.sleep(0.005)
            if pair not in self._due:
                self._due.append(pair)
            return
        super()._pump(pair)
        if self.cut_bytes and pair.open and self.carried - self._cut_at >= self.cut_bytes:
            self._cut_at = self.carried
            self.cuts += 1
            self._end(pair, reset=self.cuts % 2 == 0)


class Relay:
    """Carries everything between two nodes, and does what networks do to it."""

    def __init__(self, near: str, far: str, seed: int = 1) -> None:
        addresses = [near, far]
        links = links_between(addresses, 1)
        self.far = seen_by(addresses, links, 0)[1]  # where the near node finds the far one
        self.datagrams = Datagrams(links, seed)
        self.streams = Faulty(links, seed + 1)
        for work in (self.datagrams.run, self.streams.run):
            threading.Thread(target=work, daemon=True).start()

    def vanish(self, *, gone: bool) -> None:
        """Swallow everything, or let it pass again."""
        self.datagrams.drop = 1.0 if gone else 0.0
        self.streams.frozen = gone


@contextlib.asynccontextmanager
async def caller() -> AsyncIterator[rudp.Node]:
    """A node to call from."""
    async with rudp.Node() as node:
        yield node


async def keep_busy(call: Callable[[], asyncio.Future[object]], count: int, width: int) -> None:
    """``count`` calls, ``width`` of them outstanding at any time."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(worker() for _ in range(width)))
