"""CPU time of both processes, all threads and the kernel's part included, divided by the calls."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Comparison, Target, rudp_program, yardstick

QUESTION = "How much CPU does a call take, both sides together?"


def measure(seconds: float) -> Iterator[Comparison]:
    """Microseconds per call, alone and among 64."""
    c = yardstick("udp_echo", placement="one", seconds=seconds)
    for kind, method in {"coroutine": "echo", "inline": "echo-inline"}.items():
        ours = rudp_program("echo", placement="one", seconds=seconds, method=method)
        spent = ours["cpu_us_per_call"], c["cpu_us_per_call"]
        yield Comparison(f"one at a time, {kind}", "µs", "one", *spent)
    shape = {"outstanding": 64, "payload": 64}
    c = yardstick("udp_echo", placement="two", seconds=seconds, **shape)
    goal = Target("at most", 5.0, absolute=True)
    for kind, method in {"coroutine": "echo", "inline": "echo-inline"}.items():
        ours = rudp_program("echo", placement="two", seconds=seconds, method=method, **shape)
        spent = ours["cpu_us_per_call"], c["cpu_us_per_call"]
        yield Comparison(f"64 outstanding, {kind}", "µs", "two", *spent, goal=goal)
