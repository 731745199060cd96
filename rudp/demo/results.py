"""What has the demo found: which rows has its last table, and is all right?"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from rudp.demo.cluster import Outcome
from rudp.demo.display import GB, MIB, duration

Row = tuple[str, list[str]]


def rows_of(outcome: Outcome) -> list[Row]:
    """The rows: name, one cell per node, one for all."""
    small, bulk = outcome.small, outcome.bulk
    calls = [said["calls"] for said in small]
    rates = [said["calls"] / said["seconds"] for said in small]
    packets = _grown("packets_sent", outcome.meet, small)
    sent = [said["bytes_done"] for said in bulk]
    slowest = max(said["seconds"] for said in bulk)
    rows = [
        _row("calls", calls, "{:,}"),
        _row("  per second", rates, "{:,.0f}"),
        _latency("  p50", small, "p50"),
        _latency("  p99", small, "p99"),
        # A node's packets carry its own requests and its replies to the others' calls; packets
        # are shared, so this can be far below one there and one back.
        ("  datagrams per call", [*_blank(calls), _ratio(sum(packets), sum(calls))]),
        _row("MiB in chunks", [n / MIB for n in sent], "{:,.0f}"),
        ("  GB/s", [_ratio(n / GB, s["seconds"]) for n, s in zip(sent, bulk, strict=True)]),
        _row("  calls beside them", [said["calls"] for said in bulk], "{:,}"),
        _latency("  p50", bulk, "p50"),
        _latency("  p99", bulk, "p99"),
        _counter("packets lost", "packets_lost", bulk),
        _counter("messages resent", "messages_resent", bulk),
        _counter("lanes lost", "lanes_dropped", bulk),
        _row("MiB sent again", [s["counters"]["bulk_bytes_again"] / MIB for s in bulk], "{:,.1f}"),
        _row("failures", [said["failures"] for said in bulk], "{:,}"),
    ]
    rows[6][1].append(_ratio(sum(sent) / GB, slowest))
    if outcome.relay:
        relay = outcome.relay
        share = relay["dropped"] / ((relay["forwarded"] + relay["dropped"]) or 1)
        rows.append(("datagrams dropped", [*_blank(calls), f"{relay['dropped']:,} ({share:.1%})"]))
        rows.append(("connections cut", [*_blank(calls), f"{relay['cuts']:,}"]))
    return rows


def judge(console: Console, outcome: Outcome) -> int:
    """Say what is right or wrong; the exit status."""
    failures = [text for said in outcome.bulk for text in said["first_failures"]]
    verdict = outcome.verdict
    for text in (*verdict.faults, *failures):
        console.print(f"[red]wrong:[/red] {escape(text)}", highlight=False)
    if verdict.faults or failures:
        return 1
    console.print(
        f"[green]right:[/green] {verdict.calls:,} calls, each handled exactly once; "
        f"{verdict.chunks:,} chunks, every digest equal",
        highlight=False,
    )
    return 0


def _blank(numbers: list[Any]) -> list[str]:
    return [""] * len(numbers)


def _row(name: str, numbers: list[Any], form: str) -> Row:
    return name, [form.format(n) for n in [*numbers, sum(numbers)]]


def _counter(name: str, counter: str, said: list[dict[str, Any]]) -> Row:
    return _row(name, [one["counters"][counter] for one in said], "{:,}")


def _latency(name: str, said: list[dict[str, Any]], which: str) -> Row:
    worst = max((one[which] for one in said if one[which] is not None), default=None)
    mark = "≤ " if worst is not None else ""
    return name, [duration(one[which]) for one in said] + [f"{mark}{duration(worst)}"]


def _grown(counter: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[int]:
    pairs = zip(before, after, strict=True)
    return [b["counters"][counter] - a["counters"][counter] for a, b in pairs]


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole:.2f}" if whole else "-"
