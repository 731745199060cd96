"""Runs the shows and prints what they measured."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable

from tests.shows import bulk, calls, fate, memory, secure
from tests.shows.bench import Measured

Show = Callable[..., AsyncIterator[Measured]]

SHOWS: dict[str, Show] = {
    show.__name__: show
    for show in (
        calls.datagrams,
        calls.loss,
        bulk.sizes,
        bulk.cuts,
        bulk.messages,
        fate.killed,
        fate.replaced,
        fate.vanished,
        fate.stalled,
        memory.memory,
        secure.flood,
        secure.replay,
        secure.rotation,
        secure.wrong_key,
    )
}


async def run(name: str, *, full: bool) -> bool:
    """Run one show; whether every bar was met."""
    show = SHOWS[name]
    print(f"\n{name}: {(show.__doc__ or '').strip()}")
    began = time.monotonic()
    met = True
    async for measured in show(full=full):
        met = met and measured.met
        print(f"  {'ok  ' if measured.met else 'MISS'}  {measured.what}: {measured.value}")
    print(f"  ({time.monotonic() - began:.1f} s)", flush=True)
    return met


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.shows", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SHOWS))
    parser.add_argument("--full", action="store_true", help="the numbers of the project's bar")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in SHOWS]
    if unknown:
        parser.error(f"no show is called {unknown[0]!r}; there are {', '.join(SHOWS)}")
    results = [asyncio.run(run(name, full=options.full)) for name in options.names or list(SHOWS)]
    print(f"\n{sum(results)} of {len(results)} shows met their bars")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
