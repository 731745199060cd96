"""io/doorbell.h: rings once however often it is rung, and never gets stuck."""

from __future__ import annotations

import os
import select

from tests.engine_module import load


def test_rings_until_it_is_answered() -> None:
    io = load("io")
    bell = io.ffi.new("doorbell *")
    assert io.lib.doorbell_open(bell)
    try:
        for _ in range(3):
            assert not io.lib.doorbell_rings(bell)
            assert select.select([bell.fd], [], [], 0)[0] == []
            for _ in range(5):
                io.lib.doorbell_ring(bell)
            assert io.lib.doorbell_rings(bell)
            assert select.select([bell.fd], [], [], 0)[0] == [bell.fd]
            io.lib.doorbell_answer(bell)
    finally:
        os.close(bell.fd)


def test_a_ring_that_was_answered_before_it_was_written_is_answered_again() -> None:
    """A ringer may lose the CPU between its flag and its write, and the reader be quicker."""
    io = load("io")
    bell = io.ffi.new("doorbell *")
    assert io.lib.doorbell_open(bell)
    try:
        io.lib.doorbell_ring(bell)
        written = os.read(bell.fd, 8)
        io.lib.doorbell_answer(bell)
        assert io.lib.doorbell_rings(bell), "whoever sees it looks again, and the write wakes him"
        os.write(bell.fd, written)
        io.lib.doorbell_answer(bell)
        assert not io.lib.doorbell_rings(bell)
        assert select.select([bell.fd], [], [], 0)[0] == []
    finally:
        os.close(bell.fd)
