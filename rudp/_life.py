"""What happens to open nodes when the process forks or the interpreter exits?

fork   The child has the parent's sockets but not its threads. It closes its copies, and each use
       of a node raises ``ForkedError`` (section 7).
exit   What was accepted is delivered for a bounded time, then the C thread is stopped, and only
       then may buffers go: otherwise the interpreter frees arrays that are still read from.

Registered with the first node that is opened, so importing the package changes nothing.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol

from rudp import _lib
from rudp._log import logger

EXIT_SECONDS = 2.0


class Exiting(Protocol):
    """A node as the exit of the interpreter sees it."""

    def _exit(self) -> None: ...


_installed = False
_open: weakref.WeakSet[Exiting] = weakref.WeakSet()


def watch_over(node: Exiting) -> None:
    """Treat this node at fork and exit; registers both hooks with the first one."""
    global _installed  # noqa: PLW0603  once per process is what this remembers
    _open.add(node)
    if not _installed:
        _installed = True
        os.register_at_fork(after_in_child=_forget_all)
        atexit.register(_close_all)


def _forget_all() -> None:
    for core in list(_lib.cores):
        if core.open:
            core.forget()


def _close_all() -> None:
    for node in list(_open):
        try:
            node._exit()
        except Exception:  # noqa: BLE001  the others are to be closed as well
            logger.exception("%r could not be closed at exit", node)
