"""64 bytes there and back, one call after the other, asyncio.

On one CPU both processes take turns, and what is measured is work. Over two CPUs each direction
also wakes an idle CPU, which costs more than the network: C pays that as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks.harness import Comparison, Placement, Target, rudp_program, yardstick

QUESTION = "How long does one call at a time take?"
PLACEMENTS: Final[tuple[Placement, ...]] = ("one", "two")
HANDLERS = {"coroutine": "echo", "inline": "echo-inline"}
SPREAD_EXTRA_US = 15.0  # final goal: this much above C over two CPUs


def measure(seconds: float) -> Iterator[Comparison]:
    """p50 for both kinds of handler, p99 for the ordinary one."""
    for placement in PLACEMENTS:
        c = yardstick("udp_echo", placement=placement, seconds=seconds)
        at_most = 2.2 if placement == "one" else 1 + SPREAD_EXTRA_US / c["p50_us"]
        goal = Target("at most", at_most)
        target = Target("at most", 2.5) if placement == "one" else None
        for kind, method in HANDLERS.items():
            ours = rudp_program("echo", placement=placement, seconds=seconds, method=method)
            what = f"{kind} handler, p50"
            yield Comparison(what, "µs", placement, ours["p50_us"], c["p50_us"], target, goal)
            if kind == "coroutine":
                yield Comparison("its p99", "µs", placement, ours["p99_us"], c["p99_us"])
                bare = rudp_program("echo", placement=placement, seconds=seconds, api="bare")
                medians = ours["p50_us"], bare["p50_us"]
                yield Comparison("its p50", "µs", placement, *medians, beside="asyncio")
