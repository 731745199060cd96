"""Which calls are under way? A handle is index and generation, and addresses one call only.

    63          24 23        0
    +-------------+-----------+      index: place in the table, lowest free one first
    | generation  |   index   |      generation: one more with each reuse, so that a late event
    +-------------+-----------+      addresses nobody

A list instead of a dictionary: one index per event on the hot path.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from rudp._codec import Codec
from rudp._errors import (
    OUTCOMES,
    Busy,
    CallError,
    NodeClosed,
    Outcome,
    RemoteError,
    SerializationError,
)
from rudp._lib import CANCELLED, EXCEPTION, STATUS_ERRORS, STATUS_TEXTS

INDEX = 0xFF_FFFF
GENERATION = 1 << 24
HANDLES = (1 << 64) - 1

CallT = TypeVar("CallT")


class Calls(Generic[CallT]):
    """The table of the calls of one node."""

    __slots__ = ("free", "handles", "limit", "pending")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pending: list[CallT | None] = []  # who waits, by index
        self.handles: list[int] = []  # the newest handle, by index
        self.free: list[int] = []

    def new(self) -> int:
        """A handle whose place is free; raises ``Busy`` at the limit."""
        if self.free:
            handle = self.free.pop()
            self.handles[handle & INDEX] = handle
            return handle
        index = len(self.pending)
        if index >= self.limit:
            raise table_full(index)
        handle = index | GENERATION
        self.pending.append(None)
        self.handles.append(handle)
        return handle

    def drop(self, handle: int) -> None:
        """The call with this handle is over."""
        self.pending[handle & INDEX] = None
        self.free.append((handle + GENERATION) & HANDLES)

    def open(self) -> list[int]:
        """The handles of calls that have not ended."""
        waiting = zip(self.handles, self.pending, strict=True)
        return [handle for handle, call in waiting if call is not None]


def table_full(limit: int) -> Busy:
    """Why no further call begins."""
    return Busy(f"{limit} calls of this node are in flight (Config.calls)", outcome=Outcome.NO)


def call_error(
    codec: Codec,
    status: int,
    outcome: int,
    body: bytes | memoryview,
    method: str,
    peer: Any,
    *,
    closing: bool,
) -> Exception:
    """The exception for a call that ended without a result."""
    known = OUTCOMES[min(outcome, 2)]
    where = peer.address
    if status == EXCEPTION:
        try:
            name, message, frames = (str(text) for text in codec.decode(body))
        except (SerializationError, ValueError, TypeError):
            name, message, frames = "Exception", "(its text cannot be decoded)", ""
        return RemoteError(name, message, frames, outcome=known, method=method, peer=where)
    if closing and status == CANCELLED:
        text = f"call of {method!r} at {where}: this node was closed"
        return NodeClosed(text, outcome=known, method=method, peer=where)
    kind = STATUS_ERRORS[status] if status < len(STATUS_ERRORS) else CallError
    reason = STATUS_TEXTS[status] if status < len(STATUS_TEXTS) else f"status {status}"
    text = f"call of {method!r} at {where}: {reason}"
    if kind is Busy and not closing and (view := peer.view()).stuck:  # C3
        text += f"; {view.stuck} handlers there have not ended for up to {view.stuck_for:.1f} s"
    return kind(text, outcome=known, method=method, peer=where)
