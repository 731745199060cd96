"""Where do received bytes go, and how does an interrupted file go on?

One ``Part`` per file that is being received: its ``NAME.part``, and a journal of 40-byte entries,
index and digest of each chunk that was verified and written. A journal that ends in the middle of
an entry, or belongs to a file of another size, is cut or dropped. All files are opened relative to
the folder's own descriptor and never through a symbolic link.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import threading

from rudp.cli.files import (
    CHUNK,
    DIGEST_SIZE,
    JOURNAL,
    NOTHING,
    PART,
    chunk_count,
    chunk_size,
    digest_of,
    read_chunk,
)

HEADER = struct.Struct("<8sQQ")  # magic, size of the file, size of a chunk
MAGIC = b"rudpart1"
ENTRY = struct.Struct("<Q32s")
SAFE = os.O_NOFOLLOW | os.O_CLOEXEC
MODE = 0o644


class Folder:
    """The folder that files are received into."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, name: str, flags: int) -> int:
        """A descriptor of a regular file in the folder."""
        found = os.open(name, flags | SAFE, MODE, dir_fd=self.descriptor)
        if not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            raise OSError(f"{name} is not a regular file")
        return found

    def finished(self, name: str) -> int | None:
        """A descriptor of the finished file, None if there is none."""
        try:
            return self.open(name, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def publish(self, name: str) -> None:
        """``NAME.part`` is complete: it becomes ``NAME``, in one step."""
        folder = self.descriptor
        os.replace(name + PART, name, src_dir_fd=folder, dst_dir_fd=folder)
        self.remove(name + JOURNAL)
        os.fsync(folder)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.descriptor)


class Part:
    """One file that is being received; safe for several threads."""

    def __init__(self, folder: Folder, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._lock = threading.Lock()
        self.present = 0  # bytes that are here and verified
        self.users = 0  # calls that are at work on it; the receiver counts
        self._digests = [NOTHING] * chunk_count(size)
        self._file = self._journal = -1
        try:
            self._file = folder.open(name + PART, os.O_RDWR | os.O_CREAT)
            self._journal = folder.open(name + JOURNAL, os.O_RDWR | os.O_CREAT)
            self._load()
            # Room for all of it now: a full disk is an error at once, not after an hour.
            if size:
                os.posix_fallocate(self._file, 0, size)
            os.ftruncate(self._file, size)
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        header = HEADER.pack(MAGIC, self.size, CHUNK)
        data = os.pread(self._journal, os.fstat(self._journal).st_size, 0)
        if not data.startswith(header):
            os.ftruncate(self._journal, 0)
            os.ftruncate(self._file, 0)
            os.pwrite(self._journal, header, 0)
            data = header
        whole = len(header) + (len(data) - len(header)) // ENTRY.size * ENTRY.size
        os.ftruncate(self._journal, whole)
        for index, digest in ENTRY.iter_unpack(data[len(header) : whole]):
            if index < len(self._digests):
                self._note(index, digest)
        os.lseek(self._journal, 0, os.SEEK_END)

    @property
    def digests(self) -> bytes:
        """The digest of every chunk, ``NOTHING`` for those that are missing."""
        return b"".join(self._digests)

    def _note(self, index: int, digest: bytes) -> None:
        """Remember what a chunk is now."""
        change = (digest != NOTHING) - (self._digests[index] != NOTHING)
        self.present += change * chunk_size(self.size, index)
        self._digests[index] = digest

    def put(self, index: int, digest: bytes, data: memoryview) -> None:
        """Verify and write one chunk, then note it."""
        if not 0 <= index < len(self._digests):
            raise ValueError(f"{self.name} has no chunk {index}")
        if len(data) != chunk_size(self.size, index) or digest_of(data) != digest:
            raise ValueError(f"chunk {index} of {self.name} arrived damaged")
        at, done = index * CHUNK, 0
        while done < len(data):
            done += os.pwrite(self._file, data[done:], at + done)
        with self._lock:
            os.write(self._journal, ENTRY.pack(index, digest))
            self._note(index, digest)

    def wrong(self, digests: bytes) -> list[int]:
        """The chunks that differ on the disk from these digests; they are missing from now on."""
        if len(digests) != len(self._digests) * DIGEST_SIZE:
            raise ValueError(f"{self.name} has {len(self._digests)} chunks")
        found = []
        for index in range(len(self._digests)):
            wanted = digests[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE]
            if digest_of(read_chunk(self._file, self.size, index)) != wanted:
                found.append(index)
                with self._lock:
                    os.write(self._journal, ENTRY.pack(index, NOTHING))
                    self._note(index, NOTHING)
        return found

    def sync(self) -> None:
        """Have the bytes on the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the files; what is there stays for the next time."""
        for descriptor in (self._file, self._journal):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._journal = -1


def digests_of(descriptor: int) -> bytes:
    """The digests of all chunks of a finished file."""
    size = os.fstat(descriptor).st_size
    count = chunk_count(size)
    return b"".join(digest_of(read_chunk(descriptor, size, n)) for n in range(count))
