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
from typing import IO, Any

LEAVE_SECONDS = 3.0  # a child's own time to end, before each stronger request
START_SECONDS = 20.0
ERROR_TAIL = 4000  # characters of a failed child's standard error that are shown


class ChildFailed(Exception):
    """A child of the demo ended or reported that it cannot go on."""


class Child:
    """One process, and the last thing it said."""

    def __init__(self, name: str, on_report: Callable[[], None]) -> None:
        self.name = name
        self.latest: dict[str, Any] = {}
        self._on_report = on_report
        self._done: asyncio.Queue[dict[str, Any] | ChildFailed] = asyncio.Queue()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._errors: IO[str] | None = None

    async def start(self, module: str, keep: Sequence[int] = ()) -> None:
        """Start ``python -m module`` with the descriptors ``keep`` inherited."""
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._errors,
            pass_fds=keep,
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        while line := await process.stdout.readline():
            said = json.loads(line)
            if said["event"] == "tick":
                self.latest = said
                self._on_report()
            elif said["event"] == "failed":
                self._done.put_nowait(ChildFailed(said["text"]))
            else:
                self._done.put_nowait(said)
        status = await process.wait()
        self._done.put_nowait(ChildFailed(f"{self.name} ended with status {status}"))

    def tell(self, command: dict[str, Any]) -> None:
        """Send a command; what becomes of it is told by ``answer``."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def answer(self) -> dict[str, Any]:
        """The next answer to a command; raises ``ChildFailed``."""
        said = await self._done.get()
        if isinstance(said, ChildFailed):
            raise ChildFailed(f"{said}{self._error_text()}")
        return said

    def _error_text(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        text = self._errors.read()[-ERROR_TAIL:].strip()
        return f"\n{text}" if text else ""

    async def stop(self) -> None:
        """End it, politely first; returns when it is gone."""
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        for stronger in (process.terminate, process.kill):
            try:
                await asyncio.wait_for(process.wait(), LEAVE_SECONDS)
                break
            except TimeoutError:
                stronger()
        await process.wait()
        if self._reading is not None:
            await self._reading
        if self._errors is not None:
            self._errors.close()


class Children:
    """All of them; ``async with`` leaves none behind."""

    def __init__(self) -> None:
        self._all: list[Child] = []

    async def start(
        self, name: str, module: str, keep: Sequence[int], on_report: Callable[[], None]
    ) -> Child:
        """Start one more."""
        child = Child(name, on_report)
        self._all.append(child)
        await child.start(module, keep)
        return child

    async def __aenter__(self) -> Children:
        return self

    async def __aexit__(self, *_: object) -> None:
        # A second Ctrl-C must not interrupt this: everything here is bounded.
        await asyncio.shield(asyncio.gather(*(child.stop() for child in self._all)))
