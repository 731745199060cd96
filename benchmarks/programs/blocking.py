"""How fast are calls of ``rudp.sync``, one at a time, no event loop on either side?"""

from __future__ import annotations

import argparse
import sys
import time

import rudp.sync
from benchmarks.programs.result import Stretch, calls_result, quantiles
from benchmarks.programs.server import announce, echo, node_options

WARM_SECONDS = 0.2


def serve(given: argparse.Namespace) -> None:
    """Serve until stdin closes."""
    with rudp.sync.Node("127.0.0.1:0", **node_options(given)) as node:
        node.register("echo-inline", echo, inline=True)
        node.register("echo", echo)
        node.register("cpu", time.process_time, inline=True)
        announce(node.address)
        sys.stdin.read()


def stretch(peer: rudp.sync.Peer, given: argparse.Namespace, seconds: float) -> dict[str, float]:
    """Measure for so long."""
    data, clock, call, method = bytes(given.payload), time.perf_counter, peer.call, given.method
    durations: list[float] = []
    work = Stretch(call("cpu"))
    now = clock()
    until = now + seconds
    while now < until:
        before = now
        call(method, data)
        now = clock()
        durations.append(now - before)
    took = work.stop(call("cpu"), now)
    return {**calls_result(took, len(durations)), **quantiles(durations)}


def measure(given: argparse.Namespace) -> dict[str, float]:
    """Connect, warm up, measure."""
    with rudp.sync.Node("127.0.0.1:0", **node_options(given)) as node:
        peer = node.peer(given.address)
        stretch(peer, given, WARM_SECONDS)
        return stretch(peer, given, given.seconds)
