"""64-byte calls, 1 ms of thinking between them, while 4 MiB chunks never cease on the same peer.

C is two programs at once, a socket and a process each: nothing of one can stand before the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.harness import Comparison, Result, Target, rudp_program, yardstick

QUESTION = "How long do small calls take while bulk saturates the same pair of nodes?"
BULK = {"chunk": 4 << 20, "in_flight": 8}
THINK_US = 1000


def two_sockets(seconds: float) -> tuple[Result, Result]:
    """The C programs for small calls and for bulk, at the same time; bulk lasts longer."""
    with ThreadPoolExecutor(2) as pool:
        bulk = pool.submit(
            yardstick, "bulk_tcp", placement="two", seconds=seconds + 0.2, buffers=8, **BULK
        )
        small = pool.submit(yardstick, "udp_echo", placement="two", seconds=seconds, think=THINK_US)
        return small.result(), bulk.result()


def measure(seconds: float) -> Iterator[Comparison]:
    """p50 and p99 of small calls, and what they cost the bulk."""
    small, bulk = two_sockets(seconds)
    ours = rudp_program("mixed", placement="two", seconds=seconds, method="echo", **BULK)
    limits = {"p50_us": (100, 60), "p99_us": (1000, 300)}
    for name, (must, may) in limits.items():
        yield Comparison(
            f"small calls, {name[:3]}",
            "µs",
            "two",
            ours[name],
            small[name],
            Target("at most", must, absolute=True),
            Target("at most", may, absolute=True),
        )
    rate, alone = ours["gigabytes_per_second"], ours["alone_gigabytes_per_second"]
    both = bulk["gigabytes_per_second"]
    yield Comparison("bulk meanwhile", "GB/s", "two", rate, both)
    goal = Target("at least", 0.9)
    yield Comparison("the same", "GB/s", "two", rate, alone, goal=goal, beside="without calls")
