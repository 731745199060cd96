"""How does a command get its node, and how does it fail?"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import rudp
from rudp._keys import environment_key
from rudp._resolve import parse, resolve


class Failure(Exception):
    """A command cannot go on: its text is the one line that is printed, the exit status is 1."""


@dataclasses.dataclass(frozen=True)
class Access:
    """The options every command shares: which key, or none on purpose."""

    key: Path | bytes | None = None
    insecure: bool = False

    def node(self, address: str, named: str = "") -> rudp.Node:
        """A node at ``address``, not yet open; ``named`` is what the user wrote, if not that."""
        numeric = parse(address)
        near = numeric is None or numeric.is_loopback
        if not near and not self.insecure and self.load() is None:
            far = named or address
            raise rudp.ConfigError(f"{far} is not loopback: use --key FILE, or --insecure")
        return rudp.Node(address, key=self.key, insecure=self.insecure)

    def load(self) -> bytes | None:
        """The key's bytes, as the node would find them; None without one."""
        if self.insecure:
            return None
        return rudp.load_key(self.key) if self.key is not None else environment_key()


@contextlib.asynccontextmanager
async def connected(access: Access, address: str) -> AsyncIterator[rudp.Peer]:
    """A node of our own that listens where it can reach ``address``, and that peer."""
    found = await asyncio.to_thread(resolve, address)
    if found.is_loopback:
        own = "127.0.0.1:0" if found.family == 4 else "[::1]:0"
    else:
        own = "0.0.0.0:0" if found.family == 4 else "[::]:0"
    async with access.node(own, address) as node:
        yield node.peer(str(found))


@contextlib.contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C interrupts what then still runs."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        stopped.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield stopped
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def one_line(error: BaseException) -> str:
    """What went wrong, without traceback or line ends."""
    if isinstance(error, rudp.RemoteError):
        text = f"{error.method} at {error.peer} raised {error}"
    elif isinstance(error, rudp.CallError):
        text = f"{error} (the handler {RAN[error.outcome]})"
    elif isinstance(error, OSError) and not isinstance(error, rudp.RudpError):
        text = str(error) if error.strerror is None else f"{error.filename}: {error.strerror}"
        if error.filename is None:
            text = str(error.strerror or error)
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())


def first_error(group: BaseException) -> BaseException:
    """A group's first error, out of however many groups inside each other."""
    error = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


RAN = {
    rudp.Outcome.NO: "did not run",
    rudp.Outcome.UNKNOWN: "may have run",
    rudp.Outcome.YES: "ran",
}
