"""How do handlers and callers write down what they did, and how is that compared?

A handler writes the id of every call that reaches it; a caller the id of every call that returned.
The journals are files without a name, made by the parent and inherited by the members: nothing has
to be removed, however the demo ends.

    call id    caller's number (8 bits), called node's number (8 bits), sequence (48 bits)
    chunk      sender (u32), index (u32), SHA-256: 40 bytes
"""

from __future__ import annotations

import dataclasses
import os
import struct
from array import array

import numpy as np
from numpy.typing import NDArray

CHUNK_ENTRY = struct.Struct("<II32s")
CHUNK_TYPE = np.dtype([("sender", "<u4"), ("index", "<u4"), ("digest", "V32")])


def call_id(caller: int, called: int, sequence: int) -> int:
    """The number that names one call in both journals."""
    return caller << 56 | called << 48 | sequence


class CallJournal:
    """Call ids, appended in memory and written out now and then."""

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor
        self._ids = array("Q")
        self.append = self._ids.append
        self.written = 0

    def __len__(self) -> int:
        return self.written + len(self._ids)

    def flush(self) -> None:
        """Write what is new; of the loop's own thread, like every append."""
        data = self._ids.tobytes()
        self.written += len(self._ids)
        del self._ids[:]
        _append(self._file, data)


class ChunkJournal:
    """Chunks and their digests; one write per entry, so any thread may append."""

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor

    def append(self, sender: int, index: int, digest: bytes) -> None:
        """Write one entry."""
        _append(self._file, CHUNK_ENTRY.pack(sender, index, digest))


def _append(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:  # the file's own position is where the last write ended, in every thread
        view = view[os.write(descriptor, view) :]


def read_calls(descriptor: int) -> NDArray[np.uint64]:
    """All ids of a journal."""
    return np.frombuffer(_read(descriptor), dtype="<u8")


def read_chunks(descriptor: int) -> NDArray[np.void]:
    """All entries of a journal of chunks."""
    return np.frombuffer(_read(descriptor), dtype=CHUNK_TYPE)


def _read(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    pieces, at = [], 0
    while at < size:
        piece = os.pread(descriptor, size - at, at)
        if not piece:
            break
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the journals say; ``faults`` is empty if all is right."""

    calls: int
    chunks: int
    faults: tuple[str, ...]


def compare(
    called: list[NDArray[np.uint64]],
    handled: list[NDArray[np.uint64]],
    sent: list[NDArray[np.void]],
    stored: list[NDArray[np.void]],
    expected_chunks: int,
) -> Verdict:
    """Compare what callers wrote with what handlers wrote."""
    faults: list[str] = []
    returned, ran = _joined(called), _joined(handled)
    _once(returned, "calls were counted twice by their caller", faults)
    _once(ran, "calls were handled more than once", faults)
    _same(returned, ran, "calls", faults)
    given, taken = _chunk_keys(sent), _chunk_keys(stored)
    _once(taken["place"], "chunks were handled more than once", faults)
    if len(given) != expected_chunks:
        faults.append(f"{len(given)} chunks were sent instead of {expected_chunks}")
    if not np.array_equal(np.unique(given), np.unique(taken)):
        wrong = len(np.setxor1d(given, taken))
        faults.append(f"{wrong} chunks differ in their digest between sender and receiver")
    return Verdict(len(ran), len(taken), tuple(faults))


def _joined(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.concatenate([*parts, np.empty(0, "<u8")])


def _once(ids: NDArray[np.uint64], what: str, faults: list[str]) -> None:
    counts = np.unique(ids, return_counts=True)[1]
    again = int(np.count_nonzero(counts > 1))
    if again:
        faults.append(f"{again} {what}")


def _same(
    returned: NDArray[np.uint64], ran: NDArray[np.uint64], what: str, faults: list[str]
) -> None:
    unhandled, unreturned = len(np.setdiff1d(returned, ran)), len(np.setdiff1d(ran, returned))
    if unhandled:
        faults.append(f"{unhandled} {what} returned although no handler ran")
    if unreturned:
        faults.append(f"{unreturned} {what} were handled but did not return")


def _chunk_keys(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    """Place (sender and index in one number) and digest (as bytes that can be sorted)."""
    entries = np.concatenate([*parts, np.empty(0, CHUNK_TYPE)])
    keys = np.empty(len(entries), [("place", "<u8"), ("digest", "<u8", 4)])
    keys["place"] = entries["sender"].astype("<u8") << np.uint64(32) | entries["index"]
    keys["digest"] = entries["digest"].copy().view("<u8").reshape(-1, 4)
    return keys.view([("place", "<u8"), ("d0", "<u8"), ("d1", "<u8"), ("d2", "<u8"), ("d3", "<u8")])
