"""How is the progress of files shown?"""

from __future__ import annotations

import threading
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class Bars:
    """One bar per file with rate and remaining time on a terminal; lines only, elsewhere.

    Any thread may call it.
    """

    def __init__(self) -> None:
        self._console = Console(highlight=False, emoji=False)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        if self._progress is not None:
            self._console.print(text, markup=False, soft_wrap=True)
        else:
            click.echo(text)

    def begin(self, name: str, size: int, done: int) -> None:
        """A file begins, or goes on where it was."""
        self.end(name)
        if self._progress is not None:
            with self._lock:
                self._tasks[name] = self._progress.add_task(name, total=size, completed=done)

    def update(self, name: str, done: int) -> None:
        """So many bytes of a file are there."""
        task = self._tasks.get(name)
        if self._progress is not None and task is not None:
            self._progress.update(task, completed=done)

    def end(self, name: str) -> None:
        """A file's bar goes away."""
        with self._lock:
            task = self._tasks.pop(name, None)
        if self._progress is not None and task is not None:
            self._progress.remove_task(task)
