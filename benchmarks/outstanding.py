"""Many tasks, each with one ordinary ``await peer.call`` after the other.

The C program sends one datagram per call. rudp may do better: what is ready in the same tick shares
a datagram. C with 64 datagrams per system call stands beside it once, as the limit of batching.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Comparison, Placement, Target, rudp_program, yardstick

QUESTION = "How many calls per second, with many outstanding?"
SHAPES = ((64, 64), (256, 64), (256, 1024))  # outstanding, bytes
LONGER = (2048, 16384)  # bytes
PLACEMENTS: tuple[Placement, ...] = ("one", "two")


def measure(seconds: float) -> Iterator[Comparison]:
    """Calls per second over two CPUs."""
    for outstanding, payload in SHAPES:
        shape = {"outstanding": outstanding, "payload": payload}
        c = yardstick("udp_echo", placement="two", seconds=seconds, **shape)
        first = outstanding == 64
        target = Target("at least", 0.5) if first else None
        goal = Target("at least", 0.8) if first else None
        for kind, method in {"coroutine": "echo", "inline": "echo-inline"}.items():
            ours = rudp_program("echo", placement="two", seconds=seconds, method=method, **shape)
            what = f"{outstanding} of {payload} bytes, {kind}"
            rates = ours["calls_per_second"], c["calls_per_second"]
            yield Comparison(what, "/s", "two", *rates, target, goal)
    shape = {"outstanding": 64, "payload": 64}
    ours = rudp_program("echo", placement="two", seconds=seconds, method="echo", **shape)
    rate = ours["calls_per_second"]
    batch = yardstick("udp_echo", placement="two", seconds=seconds, outstanding=64, batch=64)
    limit = batch["calls_per_second"]
    yield Comparison("64 of 64 bytes, coroutine", "/s", "two", rate, limit, beside="C batches")
    bare = rudp_program("echo", placement="two", seconds=seconds, api="bare", **shape)
    floor = bare["calls_per_second"]
    above = Target("at least", 1.0)
    yield Comparison(
        "64 of 64 bytes, coroutine", "/s", "two", rate, floor, goal=above, beside="asyncio"
    )
    yield from by_lane(seconds)


def by_lane(seconds: float) -> Iterator[Comparison]:
    """Messages too long for a packet; their rival in Python are asyncio's streams."""
    for placement in PLACEMENTS:
        for payload in LONGER:
            shape = {"seconds": seconds, "outstanding": 64, "payload": payload}
            rates = [
                rudp_program("echo", placement=placement, method="echo", api=api, **shape)
                for api in ("asyncio", "streams")
            ]
            ours, streams = (float(rate["calls_per_second"]) for rate in rates)
            yield Comparison(
                f"64 of {payload} bytes, coroutine",
                "/s",
                placement,
                ours,
                streams,
                goal=Target("at least", 1.0),
                beside="asyncio, TCP",
            )
