"""numpy chunks of 4 MiB, 8 in flight, each acknowledged by the receiving application.

The C loop rotates as many buffers on both sides, with the same congestion control: with one buffer
it would measure the cache. Between processes of one machine rudp leaves out the checksum, as the
kernel does; what it takes where there is one stands beside a C loop that sums as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Comparison, Target, rudp_program, yardstick

QUESTION = "How fast do big chunks move?"
IN_FLIGHT = 8


def measure(seconds: float) -> Iterator[Comparison]:
    """GB/s and CPU seconds per GB."""
    shape = {"chunk": 4 << 20, "in_flight": IN_FLIGHT}
    same = {"placement": "two", "seconds": seconds, "buffers": IN_FLIGHT, **shape}
    c = yardstick("bulk_tcp", **same)
    summed = yardstick("bulk_tcp", guard="crc32c", **same)
    ours = rudp_program("store", placement="two", seconds=seconds, **shape)
    with_sum = rudp_program("store", placement="two", seconds=seconds, direct="no", **shape)
    yield Comparison(
        "4 MiB, 8 in flight",
        "GB/s",
        "two",
        ours["gigabytes_per_second"],
        c["gigabytes_per_second"],
        Target("at least", 0.75),
        Target("at least", 0.9),
    )
    yield Comparison(
        "the same, with CRC32C",
        "GB/s",
        "two",
        with_sum["gigabytes_per_second"],
        summed["gigabytes_per_second"],
        beside="C that sums too",
    )
    yield Comparison("from call to result, p50", "µs", "two", ours["p50_us"], c["p50_us"])
    yield Comparison(
        "CPU, both sides",
        "s/GB",
        "two",
        ours["cpu_seconds_per_gigabyte"],
        c["cpu_seconds_per_gigabyte"],
        goal=Target("at most", 1.2),
    )
