"""One call at a time, both processes on one CPU, from nothing to 64 KiB.

What happens on the way, for a method with a name of four bytes:

    1117 bytes   the last request of one datagram      C: UDP, the same bytes there and back
    1118         the first by a lane                   C: TCP, acknowledged
    2049         the first that is no longer copied into the head of the message

Up to the switch the bytes come back; above it the receiving application acknowledges them.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Comparison, rudp_program, yardstick

QUESTION = "How does the time of one call grow with its payload?"
DATAGRAMS = (0, 64, 512, 1117)
CHUNKS = (1118, 2048, 2049, 8192, 16_384, 65_536)


def measure(seconds: float) -> Iterator[Comparison]:
    """p50 of each size."""
    for size in DATAGRAMS:
        c = yardstick("udp_echo", placement="one", seconds=seconds, payload=size)
        ours = rudp_program("echo", placement="one", seconds=seconds, method="echo", payload=size)
        yield Comparison(f"{size} bytes, datagram", "µs", "one", ours["p50_us"], c["p50_us"])
    for size in CHUNKS:
        alone = {"chunk": size, "in_flight": 1}
        c = yardstick("bulk_tcp", placement="one", seconds=seconds, **alone, buffers=1)
        ours = rudp_program("store", placement="one", seconds=seconds, **alone)
        yield Comparison(f"{size} bytes, lane", "µs", "one", ours["p50_us"], c["p50_us"])
