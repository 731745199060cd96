"""base/time.h: moments and durations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.engine_module import Engine

moments = st.integers(0, 2**64 - 1)


def test_constants(base: Engine) -> None:
    lib = base.lib
    assert lib.TIME_NEVER == 2**64 - 1
    assert (lib.NS_PER_US, lib.NS_PER_MS, lib.NS_PER_S) == (10**3, 10**6, 10**9)


@example(now=2**64 - 1, delay=1)
@given(now=moments, delay=moments)
def test_time_after_stops_at_never(base: Engine, now: int, delay: int) -> None:
    assert base.lib.time_after(now, delay) == min(now + delay, base.lib.TIME_NEVER)
