"""Long runs for tests that compare code with a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Step = TypeVar("Step")


def runs_of(step: SearchStrategy[Step], *, most: int = 150) -> SearchStrategy[list[Step]]:
    """Lists of steps, short ones and long ones.

    Left to itself hypothesis draws lists of about five: a heap, a map or an arena never fills,
    and whole branches stay unseen. The short ones are there for failures to shrink into.
    """
    return st.lists(step, max_size=10) | st.lists(step, min_size=most // 2, max_size=most)
