"""What does the demo show while it runs, and at its end?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

GB = 1e9
MIB = 1 << 20
PLAIN_SECONDS = 2.0  # between lines where there is no terminal


class Display:
    """A live table on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._shown = 0.0
        self._last: dict[int, tuple[float, int, int]] = {}
        self._rates: dict[int, tuple[float, float]] = {}
        self.title = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, highlight=False)

    def update(self, members: Sequence[Mapping[str, Any]], relay: Mapping[str, Any]) -> None:
        """Show the last reports."""
        for number, said in enumerate(members):
            self._rate(number, said)
        if self._console.is_terminal:
            self._live.update(Group(self._table(members), _faults(relay)), refresh=True)
        elif time.monotonic() - self._shown >= PLAIN_SECONDS:
            self._shown = time.monotonic()
            self.say(self._line(members, relay))

    def _rate(self, number: int, said: Mapping[str, Any]) -> None:
        """Calls and bytes per second since the member's last report."""
        seconds, calls, sent = (
            said.get("seconds", 0.0),
            said.get("calls", 0),
            said.get("bytes_done", 0),
        )
        before = self._last.get(number, (0.0, 0, 0))
        if seconds < before[0] or calls < before[1]:
            before = (0.0, 0, 0)  # a new phase
        passed = seconds - before[0]
        if passed > 0:
            self._rates[number] = ((calls - before[1]) / passed, (sent - before[2]) / passed)
            self._last[number] = (seconds, calls, sent)

    def _table(self, members: Sequence[Mapping[str, Any]]) -> Table:
        table = Table(title=self.title, title_justify="left", expand=False)
        for name in ("node", "calls/s", "p50", "p99", "calls", "GB/s"):
            table.add_column(name, justify="right", min_width=7)
        table.add_column("sent", width=30)
        for number, said in enumerate(members):
            calls, sent = self._rates.get(number, (0.0, 0.0))
            total = said.get("bytes_total", 0)
            bar = ProgressBar(total=total or 1, completed=said.get("bytes_done", 0), width=28)
            table.add_row(
                str(number),
                f"{calls:,.0f}",
                duration(said.get("p50")),
                duration(said.get("p99")),
                f"{said.get('calls', 0):,}",
                f"{sent / GB:.2f}" if total else "",
                bar if total else "",
            )
        return table

    def _line(self, members: Sequence[Mapping[str, Any]], relay: Mapping[str, Any]) -> str:
        calls = sum(rate[0] for rate in self._rates.values())
        sent = sum(said.get("bytes_done", 0) for said in members) / MIB
        faults = ""
        if relay:
            faults = f", {relay['dropped']:,} datagrams dropped, {relay['cuts']} connections cut"
        return f"{self.title}: {calls:,.0f} calls/s, {sent:,.0f} MiB sent{faults}"


def _faults(relay: Mapping[str, Any]) -> Text:
    if not relay:
        return Text("no faults, no relay")
    every = relay["forwarded"] + relay["dropped"]
    share = relay["dropped"] / every if every else 0.0
    return Text(
        f"relay: {every:,} datagrams, {relay['dropped']:,} dropped ({share:.1%}); "
        f"{relay['connections']} connections, {relay['cuts']} cut",
        style="yellow",
    )


def duration(seconds: float | None) -> str:
    """A latency, readable."""
    if seconds is None:
        return "-"
    return f"{seconds * 1e6:,.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:,.1f} ms"


def summary(rows: Sequence[tuple[str, Sequence[str]]], members: int) -> Table:
    """The table at the end: one column per node and one for all of them."""
    table = Table(title="What the nodes counted", title_justify="left")
    table.add_column("", no_wrap=True)
    for number in range(members):
        table.add_column(f"node {number}", justify="right", no_wrap=True)
    table.add_column("all", justify="right", no_wrap=True)
    for name, cells in rows:
        table.add_row(name, *cells)
    return table
