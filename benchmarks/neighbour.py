"""64 outstanding, and a thread of the client that computes in pure Python all the time.

Whoever gives the GIL away to such a neighbour gets it back after 5 ms (Rule 1). The C client has a
computing thread as well; it has no GIL, so it only loses a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Comparison, Target, rudp_program, yardstick

QUESTION = "What does a thread that computes all the time do to the calls beside it?"


def measure(seconds: float) -> Iterator[Comparison]:
    """Calls per second."""
    shape = {"outstanding": 64, "neighbour": 1}
    c = yardstick("udp_echo", placement="two", seconds=seconds, **shape)
    ours = rudp_program("echo", placement="two", seconds=seconds, method="echo", **shape)
    yield Comparison(
        "64 outstanding, busy thread",
        "/s",
        "two",
        ours["calls_per_second"],
        c["calls_per_second"],
        Target("at least", 30_000, absolute=True),
        Target("at least", 50_000, absolute=True),
    )
