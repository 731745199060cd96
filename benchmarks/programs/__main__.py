"""One role of a measurement, in a process of its own.

    python -m benchmarks.programs server [options]           prints {"address": ...}, serves
    python -m benchmarks.programs echo ADDRESS [options]     prints its result as one JSON object

The server ends when its stdin closes, so it never outlives the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys

APIS = {"asyncio": None, "sync": "blocking", "bare": "bare", "streams": "streams"}
"""Which module plays all roles of this kind; None: each has its own."""


def arguments() -> argparse.Namespace:
    """What one role is told."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.programs")
    roles = parser.add_subparsers(dest="role", required=True)
    for role in ("server", "echo", "store", "mixed"):
        one = roles.add_parser(role)
        one.add_argument("--api", default="asyncio", choices=APIS)
        one.add_argument("--direct", default="yes", choices=["yes", "no"], help="Config.direct")
        one.add_argument("--cipher", default="none", help="none, aes-256-gcm, chacha20-poly1305")
        if role == "server":
            continue
        one.add_argument("address")
        one.add_argument("--method", default="echo")
        one.add_argument("--seconds", type=float, default=2.0)
        one.add_argument("--payload", type=int, default=64, help="bytes of each call")
        one.add_argument("--outstanding", type=int, default=1, help="calls in flight")
        one.add_argument("--chunk", type=int, default=4 << 20, help="bytes of each chunk")
        one.add_argument("--in-flight", type=int, default=8, help="chunks in flight")
        one.add_argument("--neighbour", type=int, default=0, help="threads computing all the time")
    return parser.parse_args()


def main() -> None:
    """Play the role."""
    given = arguments()
    name = APIS[given.api] or given.role
    module = importlib.import_module(f"{__package__}.{name}")  # only what this role needs
    work = module.serve if given.role == "server" else module.measure
    done = work(given)
    result = asyncio.run(done) if asyncio.iscoroutine(done) else done
    if result is not None:
        print(json.dumps(result))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
