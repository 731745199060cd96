"""The unfinished file and its journal: resumed, damaged, on a full disk."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from rudp.cli.files import CHUNK, NOTHING, chunk_count, digest_of
from rudp.cli.store import ENTRY, HEADER, Folder, Part

SIZE = 2 * CHUNK + 1000


@pytest.fixture(scope="module")
def data():
    return random.Random(5).randbytes(SIZE)


@pytest.fixture
def folder(tmp_path):
    found = Folder(tmp_path)
    yield found
    found.close()


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def chunk(data, index):
    return memoryview(data)[index * CHUNK : (index + 1) * CHUNK]


def fill(part, data, indices):
    for index in indices:
        part.put(index, digest_of(chunk(data, index)), chunk(data, index))


def digests(data):
    return b"".join(digest_of(chunk(data, n)) for n in range(chunk_count(len(data))))


def test_what_was_put_is_there_the_next_time(folder, data):
    part = Part(folder, "f", SIZE)
    fill(part, data, [2, 0])
    part.close()
    part = Part(folder, "f", SIZE)
    assert part.present == CHUNK + 1000
    assert part.digests == digest_of(chunk(data, 0)) + NOTHING + digest_of(chunk(data, 2))
    fill(part, data, [1])
    assert part.wrong(digests(data)) == []
    part.close()


def test_a_damaged_chunk_is_not_written(folder, data):
    part = Part(folder, "f", SIZE)
    for index, digest, piece in (
        (0, bytes(32), chunk(data, 0)),
        (0, digest_of(chunk(data, 1)), chunk(data, 0)),
        (1, digest_of(b"x"), memoryview(b"x")),
        (3, digest_of(b"x"), memoryview(b"x")),
        (-1, digest_of(b"x"), memoryview(b"x")),
    ):
        with pytest.raises(ValueError, match="chunk"):
            part.put(index, digest, piece)
    assert part.present == 0
    part.close()


def test_bytes_that_the_disk_lost_are_found_at_the_end(folder, data, tmp_path):
    part = Part(folder, "f", SIZE)
    fill(part, data, [0, 1, 2])
    with (tmp_path / "f.part").open("r+b") as file:
        file.seek(CHUNK + 17)
        file.write(b"flipped")
    assert part.wrong(digests(data)) == [1]
    assert part.present == CHUNK + 1000
    fill(part, data, [1])
    assert part.wrong(digests(data)) == []
    part.close()


@pytest.mark.parametrize("cut", [1, ENTRY.size - 1, ENTRY.size, ENTRY.size + 1])
def test_a_journal_cut_in_the_middle_of_an_entry(folder, data, tmp_path, cut):
    part = Part(folder, "f", SIZE)
    fill(part, data, [0, 1])
    part.close()
    journal = tmp_path / "f.part.journal"
    os.truncate(journal, journal.stat().st_size - cut)
    part = Part(folder, "f", SIZE)
    left = 1 if cut <= ENTRY.size else 0
    assert part.present == left * CHUNK
    fill(part, data, range(left, 3))
    part.close()
    part = Part(folder, "f", SIZE)
    assert part.present == SIZE
    part.close()


def test_a_journal_of_another_file_is_dropped(folder, data, tmp_path):
    part = Part(folder, "f", SIZE)
    fill(part, data, [0])
    part.close()
    part = Part(folder, "f", SIZE + 1)
    assert part.present == 0
    part.close()
    (tmp_path / "f.part.journal").write_bytes(random.Random(6).randbytes(HEADER.size + 999))
    part = Part(folder, "f", SIZE)
    assert part.present == 0
    part.close()


def test_a_full_disk_is_an_error_before_the_first_byte(folder, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = names("/proc/self/fd")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        Part(folder, "f", SIZE)
    assert names("/proc/self/fd") == before


def test_an_empty_file(folder, tmp_path):
    part = Part(folder, "f", 0)
    assert part.wrong(b"") == []
    part.close()
    folder.publish("f")
    assert names(tmp_path) == ["f"]
