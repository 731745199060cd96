"""What end-to-end tests share: pairs of nodes, servers in processes of their own, patient waits.

Nothing here is timed by an assertion: waits are bounded only so that a failure ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import rudp

SERVER = Path(__file__).parent / "server.py"
PATIENCE = 30.0  # seconds until a wait is given up


async def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until the condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        await asyncio.sleep(0.005)


@dataclass
class Server:
    """A node in a process of its own (``server.py``)."""

    process: subprocess.Popen[str]
    address: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


def run_python(source: str, *arguments: str, seconds: float = 60.0) -> subprocess.CompletedProcess:
    """Run a script in a new interpreter, from the root of the tree."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=SERVER.parents[2],
    )


@pytest.fixture
def script() -> Callable[..., subprocess.CompletedProcess]:
    """Run a script in a new interpreter and get what it printed."""
    return run_python


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT does what it does in a terminal, here and in programs that the test starts.

    A shell that starts us in the background has us ignore it, and whom we start inherits that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def wait() -> Callable[..., object]:
    """A coroutine function that waits until a condition holds."""
    return eventually


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Start servers; they are killed after the test."""
    started: list[Server] = []

    def start(address: str = "127.0.0.1:0", *options: str) -> Server:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), address, *options],
            stdout=subprocess.PIPE,
            text=True,
            cwd=SERVER.parents[2],
            env={**os.environ, "PYTHONPATH": str(SERVER.parents[2])},
        )
        assert process.stdout is not None
        line = process.stdout.readline().split()
        server = Server(process, line[1] if line else "")
        started.append(server)
        assert line, "the server did not start"
        return server

    yield start
    for server in started:
        server.end()


@pytest.fixture
async def pair() -> AsyncIterator[tuple[rudp.Node, rudp.Peer]]:
    """A node that serves, and a peer of another node to call it by."""
    async with rudp.Node() as server, rudp.Node() as client:
        yield server, client.peer(server.address)
