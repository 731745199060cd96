#!/usr/bin/env python3
"""Everything that must hold before a change lands, stage by stage; the first failure ends it.

Standard library only: it runs before anything is installed. Each stage is one command of the
Makefile, so what fails here can be repeated by hand. `.ci/run types lint` runs only those stages.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOTAL_SECONDS = 20 * 60
GRACE_SECONDS = 10


@dataclass(frozen=True)
class Stage:
    """A name, the command, and how long it may take in seconds."""

    name: str
    command: tuple[str, ...]
    limit: float


STAGES = (
    Stage("test", ("make", "test"), 8 * 60),
    Stage("other", ("make", "other"), 6 * 60),
    Stage("lint", ("make", "lint"), 120),
    Stage("types", ("make", "types"), 180),
    Stage("sim", ("make", "sim", "SEEDS=200"), 6 * 60),
    Stage("exhaustive", ("make", "exhaustive"), 4 * 60),
    Stage("stress", ("make", "stress"), 4 * 60),
    Stage("asan", ("make", "asan"), 5 * 60),
    Stage("replay", ("make", "replay"), 120),
    Stage("bench", ("make", "bench", "ARGS=--smoke"), 120),
)


def end(process: subprocess.Popen[bytes]) -> None:
    """End the stage's whole process group: asked first, then told."""
    for number, patience in ((signal.SIGINT, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def run(stage: Stage, deadline: float) -> bool:
    """Run one stage in a process group of its own; print how it went and how long it took."""
    print(f"=== {stage.name}: {' '.join(stage.command)}", flush=True)
    started = time.monotonic()
    limit = max(1.0, min(stage.limit, deadline - started))
    # Its own group, so that nothing it started outlives it; no stdin, so that nothing waits for it.
    process = subprocess.Popen(
        stage.command, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        status: int | None = process.wait(limit)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        end(process)
    took = time.monotonic() - started
    if status is None:
        print(f"=== {stage.name}: FAILED, not done after {took:.0f} s", flush=True)
    elif status != 0:
        print(f"=== {stage.name}: FAILED with status {status} after {took:.1f} s", flush=True)
    else:
        print(f"=== {stage.name}: passed in {took:.1f} s", flush=True)
    return status == 0


def main(names: list[str]) -> int:
    unknown = set(names) - {stage.name for stage in STAGES}
    if unknown:
        print(f"no such stage: {', '.join(sorted(unknown))}", file=sys.stderr)
        print(f"stages: {' '.join(stage.name for stage in STAGES)}", file=sys.stderr)
        return 2
    started = time.monotonic()
    chosen = [stage for stage in STAGES if not names or stage.name in names]
    for stage in chosen:
        if not run(stage, started + TOTAL_SECONDS):
            print(f"ci: stopped at {stage.name}; repeat it with: {' '.join(stage.command)}")
            return 1
    print(f"ci: all {len(chosen)} stages passed in {time.monotonic() - started:.0f} s")
    return 0


def interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nci: interrupted", file=sys.stderr)
        sys.exit(130)
