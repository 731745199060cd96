"""Where do the demo's real bytes come from, and how much room do they need?

One file of random bytes, a little larger than what each node sends: node n starts n pages later, so
no two chunks of the demo are equal and none can be taken for another. The file has no name; it is
gone with the last process that holds it.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import IO

import numpy as np

MIB = 1 << 20
CHUNK = 4 * MIB
SHIFT = 4096  # bytes between the starts of two nodes
BLOCK = 16 * MIB  # random bytes drawn; the rest is made of them, much faster


def make_file(size: int, members: int, seed: int) -> IO[bytes]:
    """A file that holds ``size`` bytes for each member; raises ``OSError`` if it does not fit."""
    whole = size + members * SHIFT
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < whole + 64 * MIB:
        place = tempfile.gettempdir()
        raise OSError(
            f"the demo's file needs {whole // MIB} MiB in {place}, which has {free // MIB} MiB "
            "free: set TMPDIR to another folder"
        )
    chance = np.random.default_rng(seed)
    base = chance.integers(0, 1 << 64, BLOCK // 8, dtype=np.uint64)
    file = tempfile.TemporaryFile(prefix="rudp-demo-")
    written = 0
    while written < whole:
        factor = np.uint64(int(chance.integers(0, 1 << 62)) * 2 + 1)  # odd: all bits stay in use
        piece = (base * factor).view(np.uint8)[: whole - written]
        file.write(piece)
        written += len(piece)
    file.flush()
    return file
