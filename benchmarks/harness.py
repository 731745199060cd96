"""Runs rudp beside its yardstick: same machine, same minute, same CPUs, and prints the ratio.

A benchmark module answers one question. It has::

    QUESTION = "How long does one call at a time take?"

    def measure(seconds: float) -> Iterable[Comparison]: ...

``seconds`` is how long each measured stretch lasts. Absolute numbers of a shared machine mean
little; the ratio to a C program that ran right before in the same placement means much.

What is measured runs in two processes. A C yardstick forks its server; the roles of rudp are those
of ``benchmarks.programs``. A program that several questions ask about runs once.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
BOUND_SECONDS = 60.0
"""What a program may take beyond its measured time before it is ended, in seconds."""

Placement = Literal["one", "two", "free"]
"""``one``: both processes on the first CPU; ``two``: one each; ``free``: the kernel decides."""

Result = Mapping[str, Any]
"""What a program printed: names with their unit last, e.g. ``p50_us``."""

PROGRAMS = "benchmarks.programs"
SERVER_OPTIONS = frozenset({"api", "cipher", "direct"})


class BenchmarkError(RuntimeError):
    """A program failed; the message carries what it wrote."""


@dataclass(frozen=True)
class Target:
    """What a ratio (or, with ``absolute``, rudp's own value) is hoped to be."""

    sign: Literal["at most", "at least"]
    value: float
    absolute: bool = False

    def met(self, comparison: Comparison) -> bool:
        """True if the measured value is on the right side."""
        value = comparison.ours if self.absolute else comparison.ratio
        return value <= self.value if self.sign == "at most" else value >= self.value


@dataclass(frozen=True)
class Comparison:
    """One row: the same quantity of rudp and of its yardstick."""

    what: str
    unit: str
    placement: Placement
    ours: float
    yardstick: float | None
    target: Target | None = None
    """What a release must reach."""
    goal: Target | None = None
    """What the design is meant to reach in the end."""
    beside: str = "C"
    """What the yardstick is."""

    @property
    def ratio(self) -> float:
        """rudp divided by the yardstick; NaN where there is no yardstick."""
        return self.ours / self.yardstick if self.yardstick else float("nan")


def cpus(placement: Placement) -> tuple[set[int], set[int]]:
    """The CPUs of client and server, among those that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if placement == "free":
        return set(allowed), set(allowed)
    if placement == "two" and len(allowed) < 2:
        raise BenchmarkError("placement 'two' needs two CPUs")
    return {allowed[0]}, {allowed[1 if placement == "two" else 0]}


def options(values: Mapping[str, object]) -> list[str]:
    """Command line options for keyword arguments: ``in_flight=8`` is ``--in-flight 8``."""
    return [part for k, v in values.items() for part in (f"--{k.replace('_', '-')}", str(v))]


def parse(program: str, line: str) -> Result:
    """The JSON object on one line that a program printed."""
    try:
        result = json.loads(line)
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise BenchmarkError(f"{program} printed no JSON object but {line!r}")
    return result


def finish(command: Sequence[str], seconds: float, on: set[int]) -> Result:
    """Run a program to its end on these CPUs; the last line it prints is its result."""
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            os.sched_setaffinity(process.pid, on)
            out, _ = process.communicate(timeout=seconds + BOUND_SECONDS)
        except BaseException:
            process.kill()
            raise
    lines = out.strip().splitlines()
    if process.returncode != 0 or not lines:
        raise BenchmarkError(f"{' '.join(command)} ended with status {process.returncode}")
    return parse(command[0], lines[-1])


@functools.cache
def yardstick(name: str, *, placement: Placement, seconds: float, **values: Any) -> Result:
    """Run ``build/yardsticks/<name>``: client and server, which pin themselves."""
    return finish(yardstick_command(name, placement, seconds, values), seconds, everywhere())


def yardstick_command(
    name: str, placement: Placement, seconds: float, values: Mapping[str, object]
) -> list[str]:
    """How a yardstick is called."""
    program = ROOT / "build" / "yardsticks" / name
    if not program.exists():
        raise BenchmarkError(f"{program.relative_to(ROOT)} is missing; type: make programs")
    return [str(program), *options({"cpu": placement, "seconds": seconds, **values})]


def everywhere() -> set[int]:
    """All CPUs that this process may use."""
    return os.sched_getaffinity(0)


@contextmanager
def server(*, on: set[int], **values: Any) -> Iterator[str]:
    """Run the server role on these CPUs while the block runs; gives its address."""
    command = [sys.executable, "-m", PROGRAMS, "server", *options(values)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            os.sched_setaffinity(process.pid, on)
            assert process.stdin is not None
            assert process.stdout is not None
            yield str(parse("server", process.stdout.readline())["address"])
            process.stdin.close()
            process.wait(timeout=10)
        finally:
            process.kill()


@functools.cache
def rudp_program(role: str, *, placement: Placement, seconds: float, **values: Any) -> Result:
    """Run a server and one client role as two processes, placed like a yardstick."""
    client_cpus, server_cpus = cpus(placement)
    with server(on=server_cpus, **{k: v for k, v in values.items() if k in SERVER_OPTIONS}) as at:
        given = options({"seconds": seconds, **values})
        command = [sys.executable, "-m", PROGRAMS, role, at, *given]
        return finish(command, seconds, client_cpus)


def machine() -> str:
    """One line about where this ran: numbers without it say nothing."""
    kernel = os.uname()
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{model}, {os.cpu_count()} CPUs, Linux {kernel.release}, Python {python}"
