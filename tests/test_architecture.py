"""Are the state tables and folders in docs/architecture.md those of the code?

The tables are read from the text of native/engine, so that a reader of the page sees what runs. A
failure prints the table that belongs there; with ``RUDP_UPDATE=1`` the page is rewritten instead.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "native" / "engine"
PAGE = ROOT / "docs" / "architecture.md"

SPECIAL = {"STAY": "-", "NEVER": "!"}


@dataclass(frozen=True)
class Machine:
    """Where a table stands, where its events are named, and what to leave out of the names."""

    file: str
    table: str
    header: str
    events: str
    states: str
    prefix: str


MACHINES = {
    "Call, as the application sees it": Machine(
        "call.c", "call_app_table", "call_parts.h", "call_app_event", "APP_", "CALL_"
    ),
    "Call, on the wire": Machine(
        "call.c", "call_wire_table", "call_parts.h", "call_wire_event", "WIRE_", "WIRE_"
    ),
    "Request served": Machine(
        "serve.c", "serve_table", "serve_parts.h", "serve_event", "SERVE_", "SERVE_"
    ),
    "Transfer": Machine("transfer.c", "table", "transfer.h", "transfer_input", "TRANSFER_", ""),
    "Connection": Machine("lane.c", "table", "lane.h", "connection_input", "CONNECTION_", ""),
}


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def events_of(machine: Machine) -> list[str]:
    text = without_comments((ENGINE / machine.header).read_text())
    body = re.search(rf"typedef enum \{{([^}}]*)\}} {machine.events};", text)
    assert body is not None
    names = [name.strip() for name in body.group(1).split(",") if name.strip()]
    return names[:-1]  # the last one counts them


def cells_of(body: str, events: list[str]) -> list[str]:
    cells = [cell.strip() for cell in body.split(",") if cell.strip()]
    if not cells[0].startswith("["):
        return cells
    named = dict(re.findall(r"\[(\w+)\] = (\w+)", body))
    return [named[event] for event in events]


def rows_of(machine: Machine, events: list[str]) -> dict[str, list[str]]:
    """State to next state for each event, in full names."""
    text = without_comments((ENGINE / machine.file).read_text())
    aliases = dict(re.findall(r"^#define (\w+) +(\w+)$", text, re.MULTILINE))
    start = text.index("= {", text.index(f" {machine.table}["))
    body = text[start : text.index("\n};", start)]
    rows = {}
    for state, cells in re.findall(r"\[(\w+)\] =\s*\{([^}]*)\}", body):
        names = cells_of(cells, events)
        assert len(names) == len(events), state
        rows[state] = [aliases.get(name, name) for name in names]
    return rows


def drawn(title: str) -> list[str]:
    """The table in Markdown: events down, states across."""
    machine = MACHINES[title]
    events = events_of(machine)
    rows = rows_of(machine, events)

    def short(name: str) -> str:
        return SPECIAL.get(name, name.removeprefix(machine.states).lower())

    head = ["fed by", "event", *(f"**{short(state)}**" for state in rows)]
    lines = [head, ["---"] * len(head)]
    for i, event in enumerate(events):
        cells = [row[i] for row in rows.values()]
        fed = "us" if "NEVER" in cells else "peer"
        lines.append([fed, event.removeprefix(machine.prefix).lower(), *map(short, cells)])
    return [f"| {' | '.join(line)} |" for line in lines]


@pytest.mark.parametrize("title", MACHINES)
def test_state_tables_are_those_of_the_code(title: str) -> None:
    text = PAGE.read_text()
    section = text.split(f"\n### {title}\n", 1)[1].split("\n#", 1)[0]
    shown = [line for line in section.splitlines() if line.startswith("|")]
    if shown != drawn(title) and os.environ.get("RUDP_UPDATE"):
        PAGE.write_text(text.replace("\n".join(shown), "\n".join(drawn(title))))
    elif shown != drawn(title):
        pytest.fail("\n".join(["this belongs there:", *drawn(title)]), pytrace=False)


@pytest.mark.parametrize("title", MACHINES)
def test_columns_obey_the_two_laws(title: str) -> None:
    """No packet can stop us, and no mistake of ours is silent (engine/machine.h)."""
    machine = MACHINES[title]
    events = events_of(machine)
    rows = rows_of(machine, events)
    for i, event in enumerate(events):
        cells = {row[i] for row in rows.values()}
        assert not {"STAY", "NEVER"} <= cells, event
        assert cells - {"STAY", "NEVER"} <= set(rows), event


def test_files_that_documents_name_exist() -> None:
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    missing = [
        f"{document.name}: {name}"
        for document in documents
        for name in re.findall(
            r"`((?:native|rudp|tests|docs|examples|benchmarks)/[\w./-]+)`", document.read_text()
        )
        if not (ROOT / name).exists()
    ]
    assert missing == []


def test_tests_that_promises_name_exist() -> None:
    """docs/security.md: a promise is worth what shows it."""
    text = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", text)
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text()
    ]
    assert named
    assert missing == []
