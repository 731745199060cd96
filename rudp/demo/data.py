"""Where do the demo's real bytes come from, and how much room do they need?

One file of random bytes, a little larger than what each node sends: node n starts n pages later, so
no two chunks of the demo are equal and none can be taken for another. The file has no name; it is
gone with the last process that holds it.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from typing import IO

import numpy as np

MIB = 1 << 20
CHUNK = 4 * MIB
SHIFT = 4096  # bytes between the starts of two nodes
BLOCK = 16 * MIB  # random bytes drawn; the rest is made of them, much faster


def open_file(size: int, members: int) -> IO[bytes]:
    """An empty file without a name; raises ``OSError`` if what ``fill`` writes will not fit."""
    whole = size + members * SHIFT
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    if free < whole + 64 * MIB:
        raise OSError(
            f"the demo's file needs {whole // MIB} MiB in {place}, which has {free // MIB} MiB "
            "free: set TMPDIR to another folder"
        )
    return tempfile.TemporaryFile(prefix="rudp-demo-")


def fill(file: IO[bytes], size: int, members: int, seed: int, stopped: threading.Event) -> None:
    """Write ``size`` bytes for each member, and the shifts; less if ``stopped``."""
    whole = size + members * SHIFT
    chance = np.random.default_rng(seed)
    base = chance.integers(0, 1 << 64, BLOCK // 8, dtype=np.uint64)
    written = 0
    while written < whole and not stopped.is_set():
        factor = np.uint64(int(chance.integers(0, 1 << 62)) * 2 + 1)  # odd: all bits stay in use
        piece = (base * factor).view(np.uint8)[: whole - written]
        file.write(piece.data)
        written += len(piece)
    file.flush()
