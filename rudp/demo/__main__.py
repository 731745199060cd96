"""The demo's command line: arguments, Ctrl-C, the verdict as exit status."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

INTERRUPTED = 130
MIB = 1 << 20
CHUNK_MIB = 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rudp.demo", description=__doc__)
    parser.add_argument("--clean", action="store_true", help="no faults, and no relay")
    parser.add_argument("--plain", action="store_true", help="without a key: nothing is sealed")
    parser.add_argument("--seconds", type=float, default=4.0, help="of small calls (4)")
    parser.add_argument("--outstanding", type=int, default=16, help="calls open per pair (16)")
    parser.add_argument("--size", type=int, default=1024, help="MiB from each node (1024)")
    parser.add_argument("--seed", type=int, default=1, help="of the data and the faults (1)")
    return parser


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    if not 0.1 <= given.seconds <= 3600:
        parser.error("--seconds must be between 0.1 and 3600")
    if not 1 <= given.outstanding <= 4096:
        parser.error("--outstanding must be between 1 and 4096")
    if given.size < CHUNK_MIB or given.size % CHUNK_MIB:
        parser.error(f"--size must be a multiple of {CHUNK_MIB} (MiB)")
    if given.seed < 0:
        parser.error("--seed must not be negative")


async def _run(given: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415  wrong arguments come first

    from rudp.cli.session import first_error  # noqa: PLC0415
    from rudp.demo.children import ChildFailed, Children  # noqa: PLC0415
    from rudp.demo.cluster import Cluster, Plan  # noqa: PLC0415
    from rudp.demo.display import Display, summary  # noqa: PLC0415
    from rudp.demo.results import judge, rows_of  # noqa: PLC0415

    plan = Plan(
        seconds=given.seconds,
        outstanding=given.outstanding,
        size=given.size * MIB,
        clean=given.clean,
        plain=given.plain,
        seed=given.seed,
    )
    console, failed = Console(), list[BaseException]()
    try:
        with Display(console) as display:
            async with Children() as children:
                cluster = Cluster(plan, children, display)
                outcome = await cluster.run()
    except* (ChildFailed, OSError) as group:
        failed.append(first_error(group))
    if failed:
        print(f"demo: {failed[0]}", file=sys.stderr)
        return 1
    console.print(summary(rows_of(outcome), plan.members))
    return judge(console, outcome)


async def _interruptible(given: argparse.Namespace) -> int:
    """The demo as a task that Ctrl-C, SIGTERM and SIGHUP cancel."""
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(_run(given))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)
    return await running


def main() -> int:
    """Run the demo; the exit status is its verdict."""
    parser = _parser()
    given = parser.parse_args()
    _check(parser, given)
    try:
        return asyncio.run(_interruptible(given))
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("demo: interrupted; its processes have ended and nothing is left", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
