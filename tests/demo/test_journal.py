"""The verdict: what is compared, and that it finds every kind of wrong."""

from __future__ import annotations

import numpy as np
import pytest

from rudp.demo.journal import (
    CHUNK_ENTRY,
    CHUNK_TYPE,
    CallJournal,
    ChunkJournal,
    call_id,
    compare,
    read_calls,
    read_chunks,
)


def ids(*numbers):
    return np.array([call_id(0, 1, n) for n in numbers], dtype="<u8")


def chunks(*entries):
    data = b"".join(CHUNK_ENTRY.pack(0, index, digest * 32) for index, digest in entries)
    return np.frombuffer(data, dtype=CHUNK_TYPE)


RIGHT = chunks((0, b"a"), (1, b"b"))


def test_all_right():
    verdict = compare([ids(1, 2), ids()], [ids(), ids(2, 1)], [RIGHT], [RIGHT[::-1]], 2)
    assert (verdict.calls, verdict.chunks, verdict.faults) == (2, 2, ())


@pytest.mark.parametrize(
    ("called", "handled", "sent", "stored", "words"),
    [
        (ids(1, 2), ids(1, 2, 2), RIGHT, RIGHT, "1 calls were handled more than once"),
        (ids(1, 2, 2), ids(1, 2), RIGHT, RIGHT, "1 calls were counted twice"),
        (ids(1, 2), ids(1), RIGHT, RIGHT, "1 calls returned although no handler ran"),
        (ids(1), ids(1, 2), RIGHT, RIGHT, "1 calls were handled but did not return"),
        (ids(), ids(), RIGHT, chunks((0, b"a"), (1, b"x")), "chunks differ in their digest"),
        (ids(), ids(), RIGHT, chunks((0, b"a")), "1 chunks differ"),
        (ids(), ids(), RIGHT, chunks((0, b"a"), (1, b"b"), (1, b"b")), "handled more than once"),
        (ids(), ids(), RIGHT, chunks((0, b"b"), (1, b"a")), "4 chunks differ"),
        (ids(), ids(), chunks((0, b"a")), chunks((0, b"a")), "1 chunks were sent instead of 2"),
    ],
)
def test_each_kind_of_wrong_is_found(called, handled, sent, stored, words):
    faults = compare([called], [handled], [sent], [stored], 2).faults
    assert any(words in fault for fault in faults), faults


def test_journals_come_back_as_they_were_written(tmp_path):
    with (tmp_path / "calls").open("w+b") as file:
        journal = CallJournal(file.fileno())
        for sequence in range(10):
            journal.append(call_id(2, 1, sequence))
            if sequence % 3 == 0:
                journal.flush()
        journal.flush()
        assert len(journal) == 10
        assert read_calls(file.fileno()).tolist() == [call_id(2, 1, n) for n in range(10)]
    with (tmp_path / "chunks").open("w+b") as file:
        ChunkJournal(file.fileno()).append(2, 7, b"d" * 32)
        (entry,) = read_chunks(file.fileno())
        assert (entry["sender"], entry["index"], entry["digest"].tobytes()) == (2, 7, b"d" * 32)
