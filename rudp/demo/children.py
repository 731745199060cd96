"""How are the demo's processes started, listened to and ended?

Each child runs in a session of its own, so that Ctrl-C in the terminal reaches the parent alone,
which ends the children in order: closed standard input, then SIGTERM, then SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import IO, Any, Self

LEAVE_SECONDS = 3.0  # a child's own time to end, before each stronger request
ERROR_TAIL = 4000  # characters of a failed child's standard error that are shown


class ChildFailed(Exception):
    """A child of the demo ended or reported that it cannot go on."""


class Child:
    """One process, and the last thing it said."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        errors: IO[str],
        on_report: Callable[[], None],
    ) -> None:
        if process.stdin is None or process.stdout is None:
            raise ChildFailed(f"{name} has no pipes to talk through")
        self.latest: dict[str, Any] = {}
        self._name = name
        self._process = process
        self._into, self._out = process.stdin, process.stdout
        self._errors = errors
        self._on_report = on_report
        self._said: asyncio.Queue[dict[str, Any] | ChildFailed] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while line := await self._out.readline():
            said = json.loads(line)
            if said["event"] == "tick":
                self.latest = said
                self._on_report()
            elif said["event"] == "failed":
                self._said.put_nowait(ChildFailed(said["text"]))
            else:
                self._said.put_nowait(said)
        status = await self._process.wait()
        self._said.put_nowait(ChildFailed(f"{self._name} ended with status {status}"))

    def tell(self, command: dict[str, Any]) -> None:
        """Send a command; what becomes of it is told by ``answer``."""
        self._into.write(json.dumps(command).encode() + b"\n")

    async def answer(self) -> dict[str, Any]:
        """The next answer to a command; raises ``ChildFailed``."""
        said = await self._said.get()
        if isinstance(said, ChildFailed):
            raise ChildFailed(f"{said}{self._error_text()}")
        return said

    def _error_text(self) -> str:
        self._errors.seek(0)
        text = self._errors.read()[-ERROR_TAIL:].strip()
        return f"\n{text}" if text else ""

    async def stop(self) -> None:
        """End it, politely first; returns when it is gone."""
        self._into.close()
        for stronger in (self._process.terminate, self._process.kill):
            try:
                await asyncio.wait_for(self._process.wait(), LEAVE_SECONDS)
                break
            except TimeoutError:
                stronger()
        await self._process.wait()
        await self._reading
        self._errors.close()


class Children:
    """All of them; ``async with`` leaves none behind."""

    def __init__(self) -> None:
        self._starting: list[asyncio.Future[Child]] = []

    async def start(
        self, name: str, module: str, keep: Sequence[int], on_report: Callable[[], None]
    ) -> Child:
        """Start ``python -m module`` with the descriptors ``keep`` inherited."""
        # Shielded: a Ctrl-C in between must not lose a process that was just started.
        starting = asyncio.ensure_future(self._start(name, module, keep, on_report))
        self._starting.append(starting)
        return await asyncio.shield(starting)

    async def _start(
        self, name: str, module: str, keep: Sequence[int], on_report: Callable[[], None]
    ) -> Child:
        errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            pass_fds=keep,
            start_new_session=True,
        )
        return Child(name, process, errors, on_report)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # A second Ctrl-C must not interrupt this: everything here is bounded.
        await asyncio.shield(asyncio.ensure_future(self._stop()))

    async def _stop(self) -> None:
        started = await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(child.stop() for child in started if isinstance(child, Child)))
