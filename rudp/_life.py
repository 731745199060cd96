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

from rudp import _lib

EXIT_SECONDS = 2.0

_installed = False


def install() -> None:
    """Register both hooks, once."""
    global _installed  # noqa: PLW0603  once per process is what this remembers
    if not _installed:
        _installed = True
        os.register_at_fork(after_in_child=_forget_all)
        atexit.register(_close_all)


def _forget_all() -> None:
    for core in list(_lib.cores):
        if core.open:
            core.forget()


def _close_all() -> None:
    for core in list(_lib.cores):
        if core.seal():
            core.free(EXIT_SECONDS)
