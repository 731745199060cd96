"""What do ``rudp send`` and ``rudp receive`` agree on?

    open(name, size)           -> transfer, and the digests of the chunks that are there already
    put(transfer, index, digest, chunk)     as often as needed, in any order, several at once
    finish(transfer, digests)  -> the chunks whose bytes on the disk are wrong; none: renamed

The receiver writes ``NAME.part`` and notes each verified chunk in ``NAME.part.journal``. Whatever
interrupts either side, the next ``open`` goes on from there. Digests decide, never sizes or times:
a chunk is skipped only if its digest here and there is the same, and at the end the receiver reads
the whole file back from its disk.
"""

from __future__ import annotations

import hashlib
import os

CHUNK = 4 << 20  # bytes
DIGEST_SIZE = 32
NOTHING = bytes(DIGEST_SIZE)  # in the place of a digest: this chunk is missing
PART, JOURNAL = ".part", ".part.journal"
NAME_MAX = 200  # bytes, so that the endings fit a file system's 255

OPEN, PUT, FINISH = "rudp.file.open", "rudp.file.put", "rudp.file.finish"

Data = bytes | bytearray | memoryview


def digest_of(data: Data) -> bytes:
    """SHA-256 of one chunk."""
    return hashlib.sha256(data).digest()


def digest_of_all(digests: bytes) -> str:
    """One text for a whole file: SHA-256 over the digests of its chunks."""
    return hashlib.sha256(digests).hexdigest()


def chunk_count(size: int) -> int:
    """How many chunks a file of ``size`` bytes has."""
    return -(-size // CHUNK)


def chunk_size(size: int, index: int) -> int:
    """Bytes of the chunk ``index``; the last one may be short."""
    return min(CHUNK, size - index * CHUNK)


def read_chunk(descriptor: int, size: int, index: int) -> bytearray:
    """One chunk of a file; shorter if the file is."""
    data = bytearray(chunk_size(size, index))
    view, at = memoryview(data), index * CHUNK
    done = 0
    while done < len(data):
        count = os.preadv(descriptor, [view[done:]], at + done)
        if count == 0:
            break
        done += count
    view.release()
    del data[done:]
    return data


def checked_name(name: object) -> str:
    """``name`` if it may be a file in the receiver's folder; raises ``ValueError``.

    A peer may be anybody who has the key, so nothing in it is believed: no path, nothing hidden,
    nothing that our own files are called, no control characters for the operator's terminal.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("a file's name must be a text")
    if "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"the name {name!r} is refused: no path, and nothing hidden")
    if not name.isprintable() or name != name.strip():
        raise ValueError(f"the name {name!r} is refused: it has unprintable characters")
    if name.endswith((PART, JOURNAL)):
        raise ValueError(f"the name {name!r} is refused: {PART} marks unfinished files")
    if len(os.fsencode(name)) > NAME_MAX:
        raise ValueError(f"the name {name[:40]!r}... is refused: over {NAME_MAX} bytes")
    return name
