"""base/serial.h: order among numbers that wrap around (RFC 1982)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.engine_module import Engine

numbers = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("a", "b", "before"),
    [
        (0, 0, False),
        (0, 1, True),
        (1, 0, False),
        (2**32 - 1, 0, True),
        (0, 2**32 - 1, False),
        (0, 2**31 - 1, True),
        (0, 2**31, False),
        (2**31, 0, False),
        (5, 5 + 2**31 + 1, False),
    ],
)
def test_serial_before32(base: Engine, a: int, b: int, before: bool) -> None:
    assert base.lib.serial_before32(a, b) is before


@given(a=numbers, ahead=st.integers(1, 2**31 - 1))
def test_half_the_circle_lies_ahead(base: Engine, a: int, ahead: int) -> None:
    b = (a + ahead) % 2**32
    assert base.lib.serial_before32(a, b)
    assert not base.lib.serial_before32(b, a)
