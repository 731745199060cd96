"""What does a stretch of work tell? The same names as the C programs print."""

from __future__ import annotations

import time
from collections.abc import Sequence

QUANTILES = {"p50_us": 0.5, "p99_us": 0.99}
SECOND_US = 1e6


class Stretch:
    """Wall clock and CPU of both processes, from ``start`` to ``stop``; ``server`` is its CPU."""

    def __init__(self, server: float) -> None:
        self._server = server
        self._client = time.process_time()
        self._wall = time.perf_counter()

    def stop(self, server: float, ended: float) -> dict[str, float]:
        """What it took until now. ``ended``: when the work did, by ``perf_counter``."""
        return {
            "seconds": ended - self._wall,
            "client_cpu_seconds": time.process_time() - self._client,
            "server_cpu_seconds": server - self._server,
        }


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99 % of durations, in microseconds."""
    ordered = sorted(seconds)
    most = len(ordered) - 1
    return {name: ordered[round(most * q)] * SECOND_US for name, q in QUANTILES.items()}


def calls_result(took: dict[str, float], calls: int) -> dict[str, float]:
    """Rate and CPU of small calls."""
    cpu = took["client_cpu_seconds"] + took["server_cpu_seconds"]
    return {
        **took,
        "calls": calls,
        "calls_per_second": calls / took["seconds"],
        "cpu_us_per_call": cpu * SECOND_US / calls,
    }


def bulk_result(took: dict[str, float], chunks: int, chunk: int) -> dict[str, float]:
    """Rate and CPU of big chunks."""
    gigabytes = chunks * chunk / 1e9
    cpu = took["client_cpu_seconds"] + took["server_cpu_seconds"]
    return {
        **took,
        "chunks": chunks,
        "gigabytes_per_second": gigabytes / took["seconds"],
        "cpu_seconds_per_gigabyte": cpu / gigabytes,
    }
