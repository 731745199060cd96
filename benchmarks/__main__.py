"""``make bench``: runs every benchmark module, or those named, and prints one table.

    python -m benchmarks [--seconds 2] [--smoke] [--list] [--json FILE] [name ...]

``--smoke`` only shows that everything runs: 0.2 s per stretch. Exit status 1 if a program failed;
a missed target is shown in red and is no failure, for a shared machine's minute is not a verdict.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

import benchmarks
from benchmarks import harness, report

SMOKE_SECONDS = 0.2
RESULTS = harness.ROOT / "build" / "benchmarks.json"


def modules() -> dict[str, ModuleType]:
    """Every module of this package that asks a question."""
    return {name: importlib.import_module(f"benchmarks.{name}") for name in benchmarks.QUESTIONS}


def main() -> int:
    """Measure and print; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="name")
    parser.add_argument("--seconds", type=float, default=2.0, help="per measured stretch")
    parser.add_argument("--smoke", action="store_true", help="show that everything runs")
    parser.add_argument("--list", action="store_true", help="print names and questions")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where all rows are written")
    given = parser.parse_args()
    found = modules()
    if unknown := set(given.names) - set(found):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; known: {', '.join(found)}")
    if given.list:
        print("\n".join(f"{name:12} {module.QUESTION}" for name, module in found.items()))
        return 0
    machine = harness.machine()
    print(machine)
    seconds = SMOKE_SECONDS if given.smoke else given.seconds
    answers: list[report.Answer] = []
    failed = 0
    for name in given.names or found:
        question = found[name].QUESTION
        print(f"{name}: {question}", file=sys.stderr)
        rows: list[harness.Comparison] = []
        try:
            rows.extend(found[name].measure(seconds))
        except harness.BenchmarkError as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
        answers.append(report.Answer(name, question, rows))
    report.show(answers)
    report.save(given.json, answers, machine=machine, seconds=seconds)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
