"""How does ``rudp receive`` answer senders?"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import rudp
from rudp.cli.files import FINISH, OPEN, PUT, checked_name, digest_of_all
from rudp.cli.progress import Bars
from rudp.cli.session import Access, stopping
from rudp.cli.store import Folder, Part, digests_of

SIZE_MAX = 1 << 50  # bytes of one file: above it a size is a mistake
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


async def receive_files(access: Access, directory: Path, listen: str, *, overwrite: bool) -> None:
    """Receive until Ctrl-C."""
    with Bars() as bars, stopping() as stopped:
        receiver = Receiver(directory, overwrite=overwrite, bars=bars)
        try:
            async with access.node(listen) as node:
                receiver.register(node)
                bars.say(f"listening on {node.address}, writing to {directory}")
                await stopped.wait()
        finally:
            unfinished = receiver.close()
    for name in unfinished:
        click.echo(f"{name} is unfinished: send it again to resume", err=True)


class Receiver:
    """The three methods, and the files that are being received."""

    def __init__(self, directory: Path, *, overwrite: bool, bars: Bars) -> None:
        self._folder = Folder(directory)
        self._overwrite = overwrite
        self._bars = bars
        self._lock = threading.Lock()
        self._users = threading.Condition(self._lock)
        self._parts: dict[str, Part] = {}  # by transfer
        self._transfers: dict[str, str] = {}  # by name: the latest sender has it

    def register(self, node: rudp.Node) -> None:
        """Offer the methods; they run in threads, since they read and write files."""
        node.register(OPEN, self.open)
        node.register(PUT, self.put)
        node.register(FINISH, self.finish)

    # ---- what senders call ----

    def open(self, name: Any, size: Any, *, differs: bool = False) -> dict[str, Any]:
        """Begin or resume a file: a transfer, and the digests of what is here.

        Without a transfer the file itself is here with the same size; a sender whose digests differ
        says so and asks again.
        """
        name = checked_name(name)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= SIZE_MAX:
            raise ValueError(f"the size {size!r} is refused")
        there = self._folder.finished(name)
        if there is not None:
            try:
                if not differs and os.fstat(there).st_size == size:
                    return {"transfer": None, "digests": digests_of(there)}
            finally:
                os.close(there)
            if not self._overwrite:
                raise FileExistsError(f"{name} exists at the receiver with another content")
        return self._begin(name, size)

    def _begin(self, name: str, size: int) -> dict[str, Any]:
        with self._users:
            before = self._transfers.pop(name, None)
            if before is not None:  # a sender that came back: its old chunks are refused from now
                old = self._parts.pop(before)
                self._users.wait_for(lambda: old.users == 0)
                old.close()
            try:
                part = Part(self._folder, name, size)
            except OSError as error:
                raise self._told(name, error) from error
            transfer = secrets.token_hex(8)
            self._parts[transfer] = part
            self._transfers[name] = transfer
        self._bars.begin(name, size, part.present)
        return {"transfer": transfer, "digests": part.digests}

    def put(self, transfer: str, index: int, digest: bytes, data: Any) -> None:
        """One chunk."""
        view = memoryview(data)
        self._with_part(transfer, lambda part: part.put(index, digest, view))

    def finish(self, transfer: str, digests: bytes) -> list[int]:
        """Check what is on the disk; without a fault the file gets its name."""
        wrong: list[int] = self._with_part(
            transfer, lambda part: self._finish(transfer, part, digests)
        )
        return wrong

    def _finish(self, transfer: str, part: Part, digests: bytes) -> list[int]:
        wrong = part.wrong(digests)
        if wrong:
            return wrong
        part.sync()
        self._folder.publish(part.name)
        with self._lock:
            self._parts.pop(transfer, None)
            if self._transfers.get(part.name) == transfer:
                del self._transfers[part.name]
        part.close()
        self._bars.end(part.name)
        self._bars.say(f"{part.name}: {part.size:,} bytes, digest {digest_of_all(digests)[:16]}")
        return []

    def _with_part(self, transfer: str, work: Callable[[Part], Any]) -> Any:
        with self._lock:
            part = self._parts.get(transfer)
            if part is None:
                raise ValueError("this transfer is over: another sender of the file took it")
            part.users += 1
        try:
            result = work(part)
        except OSError as error:
            raise self._told(part.name, error) from error
        finally:
            with self._users:
                part.users -= 1
                self._users.notify_all()
        self._bars.update(part.name, part.present)
        return result

    def _told(self, name: str, error: OSError) -> OSError:
        """The error for the sender; the operator of this side reads it, too."""
        reason = error.strerror or str(error)
        if error.errno in FULL:
            reason = f"{reason}: the receiver's disk is full"
        self._bars.say(f"{name}: {reason}")
        return OSError(f"cannot write {name}: {reason}")

    def close(self) -> list[str]:
        """Close all files; returns the names of those that are unfinished."""
        with self._users:
            parts, self._parts = list(self._parts.values()), {}
            self._transfers.clear()
            self._users.wait_for(lambda: not any(part.users for part in parts), 5.0)
        for part in parts:
            part.close()
        self._folder.close()
        return [part.name for part in parts]
