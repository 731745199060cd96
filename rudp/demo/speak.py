"""How do the demo's processes talk: one JSON object per line, commands in, reports out.

A child ends with its parent, whatever happens to that: the kernel kills it (``PR_SET_PDEATHSIG``),
and the end of its standard input says the same.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; at once if it has already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def report(**fields: Any) -> None:
    """Tell the parent; without a parent there is nobody left to work for."""
    line = json.dumps(fields) + "\n"
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)
