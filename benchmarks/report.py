"""How do people and programs read the results? One table, and one JSON file of the same rows."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.harness import Comparison, Target

SIGNS = {"at most": "≤", "at least": "≥"}
NARROWEST = 132  # columns: below, a row would be broken into several lines


@dataclass(frozen=True)
class Answer:
    """One question with its rows."""

    name: str
    question: str
    rows: Sequence[Comparison]


def number(value: float) -> str:
    """Three significant digits, thousands grouped."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def judged(target: Target | None, row: Comparison) -> Text:
    """A target with its verdict; empty if there is none."""
    if target is None:
        return Text("")
    met = target.met(row)
    unit = f" {row.unit}" if target.absolute else " x"
    text = f"{SIGNS[target.sign]} {number(target.value)}{unit} {'yes' if met else 'NO'}"
    return Text(text, style="green" if met else "red")


def table(answers: Sequence[Answer]) -> Table:
    """All rows, a section for each question."""
    out = Table(title="rudp beside its yardsticks", title_justify="left", title_style="bold")
    out.add_column("what", min_width=36)
    out.add_column("CPUs")
    for heading in ("rudp", "beside", "ratio", "target, met?", "final goal, met?"):
        out.add_column(heading, justify="right", no_wrap=True)
    for answer in answers:
        out.add_section()
        out.add_row(Text(answer.question, style="bold"))
        for row in answer.rows:
            beside = "" if row.yardstick is None else f"{row.beside} {number(row.yardstick)}"
            out.add_row(
                f"  {row.what}",
                row.placement,
                f"{number(row.ours)} {row.unit}",
                beside,
                "" if row.yardstick is None else number(row.ratio),
                judged(row.target, row),
                judged(row.goal, row),
            )
    return out


def show(answers: Sequence[Answer]) -> None:
    """Print the table, wide enough even where no terminal is."""
    console = Console()
    console.width = max(console.width, NARROWEST)
    console.print(table(answers))
    rows = [row for answer in answers for row in answer.rows if row.target is not None]
    met = sum(row.target is not None and row.target.met(row) for row in rows)
    console.print(f"{met} of {len(rows)} targets met")


def record(row: Comparison) -> dict[str, Any]:
    """A row as plain data, with its verdicts."""
    plain = asdict(row)
    plain["ratio"] = row.ratio if row.yardstick else None
    plain["met"] = row.target.met(row) if row.target is not None else None
    plain["goal_met"] = row.goal.met(row) if row.goal is not None else None
    return plain


def save(path: Path, answers: Sequence[Answer], *, machine: str, seconds: float) -> None:
    """Write all rows as JSON, for a later comparison."""
    rows = [{"benchmark": a.name, **record(row)} for a in answers for row in a.rows]
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    about = {"made": made, "machine": machine, "seconds": seconds}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
