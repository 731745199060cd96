"""What do ``rudp call`` and ``rudp ping`` send, and how is it shown?"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import rudp
from rudp.cli.session import Access, Failure, connected, one_line

PING_METHOD = "rudp.ping"  # no node has it: the refusal is the answer
BINARY_SHOWN = 64  # bytes of a binary value that are printed


async def call_method(
    access: Access, address: str, method: str, args: Sequence[str], *, timeout: float, raw: bool
) -> None:
    """One call; its result goes to standard output."""
    values = [parse_argument(text) for text in args]
    async with connected(access, address) as peer:
        result = await peer.call(method, *values, timeout=timeout)
        if raw and isinstance(result, str | bytes | bytearray | memoryview):
            data = result.encode() if isinstance(result, str) else result
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            click.echo(render(result))


def parse_argument(text: str) -> Any:
    """JSON if it is JSON, else the text itself. ``NaN`` and the like are texts."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def render(value: Any) -> str:
    """A result as JSON; what JSON does not know is described in a text."""
    return json.dumps(_with_keys(value), ensure_ascii=False, indent=2, default=_described)


def _with_keys(value: Any) -> Any:
    """The same with keys that JSON has: ``default`` is never asked for keys."""
    if isinstance(value, dict):
        plain = str | int | float | None
        return {
            key if isinstance(key, plain) else str(_described(key)): _with_keys(item)
            for key, item in value.items()
        }
    return [_with_keys(item) for item in value] if isinstance(value, list | tuple) else value


def _described(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        shown = bytes(value[:BINARY_SHOWN]).hex()
        more = "..." if len(value) > BINARY_SHOWN else ""
        return f"<{len(value)} bytes: {shown}{more}>"
    if hasattr(value, "tolist") and getattr(value, "size", 0) <= 1000:
        return value.tolist()
    if hasattr(value, "dtype"):
        return f"<array {value.dtype} {value.shape}>"
    return repr(value)


async def ping_peer(
    access: Access, address: str, *, count: int | None, interval: float, timeout: float
) -> None:
    """Pings until ``count`` or Ctrl-C, then a summary; fails if no answer came."""
    times: list[float] = []
    sent = 0
    async with connected(access, address) as peer:
        await peer.resolve()
        try:
            while count is None or sent < count:
                if sent:
                    await asyncio.sleep(interval)
                sent += 1
                taken = await _ping(peer, sent, timeout)
                if taken is not None:
                    times.append(taken)
        finally:
            if sent:
                click.echo(_summary(peer, sent, times))
    if not times:
        raise Failure(f"no answer from {address}")


async def _ping(peer: rudp.Peer, number: int, timeout: float) -> float | None:
    """One round trip in seconds; None without an answer. A refusal is an answer, too."""
    began = time.perf_counter()
    try:
        await peer.call(PING_METHOD, timeout=timeout)
    except rudp.NoSuchMethod:
        pass
    except rudp.CallError as error:
        click.echo(f"{number}: {one_line(error)}")
        return None
    taken = time.perf_counter() - began
    click.echo(f"{number}: {peer.address} answered in {milliseconds(taken)}{_state(peer)}")
    return taken


def _state(peer: rudp.Peer) -> str:
    view = peer.view()
    stalled = f", stalled for {view.stalled:.1f} s" if view.stalled is not None else ""
    return f" by {view.path.value}{stalled}"


def _summary(peer: rudp.Peer, sent: int, times: list[float]) -> str:
    view = peer.view()
    share = view.lost / view.sent if view.sent else 0.0
    pings = f"{sent} pings, {len(times)} answered, {(sent - len(times)) / sent:.0%} unanswered"
    packets = f"{view.lost} of {view.sent} packets lost ({share:.1%})"
    lines = [f"--- {peer.address} is {view.state.value} ---", f"{pings}; {packets}"]
    if times:
        ordered = sorted(times)
        mean = sum(ordered) / len(ordered)
        numbers = [ordered[0], mean, percentile(ordered, 50), percentile(ordered, 99), ordered[-1]]
        lines.append(f"min/avg/p50/p99/max {'/'.join(f'{n * 1e3:.3f}' for n in numbers)} ms")
    return "\n".join(lines)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of numbers in order."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def milliseconds(seconds: float) -> str:
    """A duration, readable."""
    return f"{seconds * 1e3:.3f} ms"
