"""What does the caller hear of a call that was refused, or that ended without a result?"""

from __future__ import annotations

from typing import Any

from rudp._codec import Codec
from rudp._errors import (
    OUTCOMES,
    BadReply,
    Busy,
    CallError,
    DeadlineExceeded,
    NodeClosed,
    Outcome,
    RemoteError,
    SerializationError,
)
from rudp._lib import CANCELLED, EXCEPTION, STATUS_ERRORS, STATUS_TEXTS
from rudp._peer import PeerState


def table_full(limit: int) -> Busy:
    """Why no further call begins."""
    return Busy(f"{limit} calls of this node are in flight (Config.calls)", outcome=Outcome.NO)


def no_time(method: str, peer: Any) -> DeadlineExceeded:
    """Why a call does not begin whose time is over."""
    where = peer.address
    text = f"call of {method!r} at {where}: no time is left"
    return DeadlineExceeded(text, outcome=Outcome.NO, method=method, peer=where)


def reply_value(
    codec: Codec,
    data: bytes | memoryview,
    method: str,
    peer: Any,
    pickled: bool,  # noqa: FBT001
) -> Any:
    """What a call returns that ended well."""
    try:
        return codec.decode(data, pickled=pickled)
    except SerializationError as error:
        where = peer.address
        text = f"the reply of {method!r} at {where} cannot be read: {error}"
        raise BadReply(text, outcome=Outcome.YES, method=method, peer=where) from error


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
    if kind is DeadlineExceeded and known is Outcome.NO and not closing:
        text += _not_connected(peer)
    return kind(text, outcome=known, method=method, peer=where)


def _not_connected(peer: Any) -> str:
    """The likely cause of a deadline that is shorter than a dial (K10)."""
    view = peer.view()
    if view.state is not PeerState.DIALLING:
        return ""
    return "; not connected yet" + (f": {view.reason}" if view.reason else "")
