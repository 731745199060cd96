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
