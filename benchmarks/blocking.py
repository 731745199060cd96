"""64 bytes there and back, one call after the other, ``rudp.sync`` on both sides.

Who waits runs the turns itself and spins a little before it sleeps (Rule 15), so over two CPUs it
can answer before a sleeping C program has been woken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks.harness import Comparison, Placement, Target, rudp_program, yardstick

QUESTION = "How long does one blocking call at a time take?"
TARGETS: Final[dict[Placement, tuple[Target | None, Target]]] = {
    "one": (None, Target("at most", 1.4)),
    "two": (Target("at most", 1.0), Target("at most", 0.5)),
}


def measure(seconds: float) -> Iterator[Comparison]:
    """p50 and p99, handler inline and in a thread of the pool."""
    for placement, (target, goal) in TARGETS.items():
        c = yardstick("udp_echo", placement=placement, seconds=seconds)
        for kind, method in {"inline": "echo-inline", "thread": "echo"}.items():
            ours = rudp_program(
                "echo", placement=placement, seconds=seconds, api="sync", method=method
            )
            judged = (target, goal) if kind == "inline" else (None, None)
            what = f"{kind} handler, p50"
            yield Comparison(what, "µs", placement, ours["p50_us"], c["p50_us"], *judged)
            if kind == "inline":
                yield Comparison("its p99", "µs", placement, ours["p99_us"], c["p99_us"])
