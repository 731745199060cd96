"""io/lane.h: what a lane waits for (Rule 26). Bytes and threads: tests/stress/lane_pair.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine_module import load

if TYPE_CHECKING:
    from tests.engine_module import Engine


@pytest.fixture(scope="module")
def io() -> Engine:
    return load("io")


@given(length=st.integers(1, 2**32 - 1), data=st.data())
def test_never_more_than_what_will_still_come(io: Engine, length: int, data: st.DataObject) -> None:
    reading = io.ffi.new("lane_reading *")
    command = io.ffi.new("lane_command *")
    command.segment.length = length
    reading.phase, reading.command = io.lib.LANE_BODY, command
    reading.have = data.draw(st.integers(0, length))
    whole = reading.have == length
    reading.trailer_have = data.draw(st.integers(0, 15)) if whole else 0
    rest = length - reading.have + io.lib.SEGMENT_TRAILER - reading.trailer_have
    assert 1 <= io.lib.lane_lowat(reading) == min(rest, io.lib.LANE_STEP)


def test_one_byte_where_nothing_is_known(io: Engine) -> None:
    """Heads: the sender may have nothing more to say. Waiting for the engine: nothing is read."""
    reading = io.ffi.new("lane_reading *")
    for phase in (io.lib.LANE_HEAD, io.lib.LANE_WAIT):
        for have in (0, 1, 47):
            reading.phase, reading.head_have = phase, have
            assert io.lib.lane_lowat(reading) == 1
