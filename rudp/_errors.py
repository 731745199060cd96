"""Which errors can a caller see, and what does each say about the handler?

    RudpError
    ├── CallError             a call ended without a result; `outcome` says whether the handler ran
    │   ├── RemoteError       the handler raised
    │   ├── DeadlineExceeded, CallCancelled, Busy, NoSuchMethod, BadRequest, TooLarge, ...
    │   ├── BadReply          the handler ran, its reply cannot be read; a SerializationError, too
    │   ├── Unreachable       nobody answered: RefusedByHost, Unverified
    │   ├── PeerLost          the session ended: PeerRestarted, PeerClosed, PeerDismissed, ...
    │   └── NodeClosed, NodeBroken
    ├── SerializationError    a value cannot be sent or read: LimitExceeded names the limit
    ├── AddressError, BindError
    ├── ConfigError
    └── ForkedError

One class per status of ``native/wire/status.h``: what a program may want to handle differently has
a name, and a sentence is never to be parsed.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar


class Outcome(enum.Enum):
    """What is known of the handler of a call that returned no result."""

    NO = "no"  # it did not run, and will not
    UNKNOWN = "unknown"  # it may have run, or may still
    YES = "yes"  # it ran


OUTCOMES = (Outcome.NO, Outcome.UNKNOWN, Outcome.YES)  # by the number in an event


class RudpError(Exception):
    """The base of every error that this package raises on purpose."""


class CallError(RudpError):
    """A call ended without a result.

    ``outcome`` says what is known of the handler; ``method`` and ``peer`` say which call it was
    (empty where the error did not come from one call).
    """

    default_outcome: ClassVar[Outcome] = Outcome.UNKNOWN

    def __init__(
        self, message: str, *, outcome: Outcome | None = None, method: str = "", peer: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.outcome = self.default_outcome if outcome is None else outcome
        self.method = method
        self.peer = peer

    @property
    def ran(self) -> bool | None:
        """Whether the handler ran: False, True, or None when that is not known."""
        return {Outcome.NO: False, Outcome.YES: True}.get(self.outcome)

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, outcome={self.outcome.value})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments would be lost on the way through pickle (multiprocessing).
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(kind: type[CallError], fields: dict[str, Any]) -> CallError:
    # Not `kind.__new__`: of two bases it may find the one that Python does not let make `kind`.
    base = OSError if issubclass(kind, OSError) else Exception
    error = base.__new__(kind, fields["message"])
    error.args = (fields["message"],)
    error.__dict__.update(fields)
    return error


class RemoteError(CallError):
    """The handler raised an exception: it ran (outcome yes).

    ``type_name`` is the class's name there, ``remote_message`` its text, ``remote_traceback`` the
    formatted traceback, which is also shown below the local one.
    """

    default_outcome = Outcome.YES

    def __init__(
        self,
        type_name: str,
        remote_message: str,
        remote_traceback: str,
        *,
        outcome: Outcome | None = None,
        method: str = "",
        peer: str = "",
    ) -> None:
        text = f"{type_name}: {remote_message}" if remote_message else type_name
        super().__init__(text, outcome=outcome, method=method, peer=peer)
        self.type_name = type_name
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback
        if remote_traceback:
            self.add_note(f"\nRemote traceback (method {method!r} at {peer}):\n{remote_traceback}")


class DeadlineExceeded(CallError, TimeoutError):
    """The call's time was over before a result came."""


class CallCancelled(CallError):
    """The call was cancelled: here by another task, or its handler over there."""


class Busy(CallError):
    """No room for the call until its deadline: at the peer, or a limit of this node."""

    default_outcome = Outcome.NO


class NoSuchMethod(CallError):
    """The peer has no method of that name."""

    default_outcome = Outcome.NO


class BadRequest(CallError):
    """The peer could not decode the arguments, or does not accept their form."""

    default_outcome = Outcome.NO


class TooLarge(CallError):
    """The request is larger than the peer accepts (its ``Config.max_message``)."""

    default_outcome = Outcome.NO


class ReplyTooLarge(CallError):
    """The handler ran, but its result is larger than this node accepts."""

    default_outcome = Outcome.YES


class Unreachable(CallError, ConnectionError):
    """No answer from the address."""

    default_outcome = Outcome.NO


class RefusedByHost(Unreachable, ConnectionRefusedError):
    """The host says that nothing listens at the address."""


class Unverified(Unreachable):
    """Something is there that does not show our key and protocol.

    TCP was accepted but nothing verified came back, or an answer did not verify: another key, a
    node without one, another service, or a process that hangs.
    """


class PeerLost(CallError, ConnectionError):
    """The session with the peer ended: the peer fell silent, or one of the subclasses."""


class PeerRestarted(PeerLost):
    """The peer is a new process now; what the old one knew is gone."""


class PeerClosed(PeerLost):
    """The peer said good-bye."""


class PeerDismissed(PeerLost):
    """The peer had given this session up, for example after a partition."""


class SessionFailed(PeerLost):
    """The session failed: a broken protocol rule or a lost key."""


class LaneUnavailable(CallError, ConnectionError):
    """The message needs TCP, and no TCP connection to the peer can be made."""


class BufferChanged(CallError):
    """The memory of the message was written to while it was sent. Seen where it is summed."""


class NoMemory(CallError, MemoryError):
    """There was no memory for the message, here or at the peer."""


class NoReplySent(CallError):
    """The handler finished without a reply."""


class NodeClosed(CallError):
    """This node is not open: not yet, or not any more."""

    default_outcome = Outcome.NO


class NodeBroken(CallError):
    """This node stopped after an internal error; all its calls have ended."""


class SerializationError(RudpError, ValueError):
    """A value cannot be sent, or received bytes cannot be read."""


class BadReply(CallError, SerializationError):
    """The handler ran and its reply came, but the reply cannot be read here; it says why."""

    default_outcome = Outcome.YES


class LimitExceeded(SerializationError):
    """A message breaks a limit of the codec; ``limit`` is the name of the field of ``Config``."""

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(limit, message)
        self.limit = limit
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} (Config.{self.limit})"


class AddressError(RudpError, OSError):
    """An address cannot be parsed, or a name does not resolve."""


class BindError(RudpError, OSError):
    """The node's own address cannot be used: taken, not of this host, or not permitted."""


class ConfigError(RudpError, ValueError):
    """An option is out of range, or options contradict each other."""


class ForkedError(RudpError, RuntimeError):
    """The node belongs to the parent process; open a new one after ``fork``."""


# The names of native/wire/status.h; OK needs no error, EXCEPTION is a RemoteError.
ERROR_OF_STATUS: dict[str, type[CallError]] = {
    "DEADLINE": DeadlineExceeded,
    "CANCELLED": CallCancelled,
    "BUSY": Busy,
    "NO_METHOD": NoSuchMethod,
    "BAD_REQUEST": BadRequest,
    "TOO_LARGE": TooLarge,
    "REPLY_TOO_LARGE": ReplyTooLarge,
    "UNREACHABLE": Unreachable,
    "REFUSED_BY_HOST": RefusedByHost,
    "UNVERIFIED": Unverified,
    "LOST": PeerLost,
    "RESTARTED": PeerRestarted,
    "CLOSED": PeerClosed,
    "DISMISSED": PeerDismissed,
    "FAILED": SessionFailed,
    "LANE_UNAVAILABLE": LaneUnavailable,
    "BUFFER_CHANGED": BufferChanged,
    "NO_MEMORY": NoMemory,
    "NODE_CLOSED": NodeClosed,
    "BROKEN": NodeBroken,
    "NO_REPLY_SENT": NoReplySent,
}

# Tracebacks, and what a caller hears of a handler's exception, name them as users write them.
for _kind in [kind for kind in globals().values() if isinstance(kind, type)]:
    if issubclass(_kind, RudpError):
        _kind.__module__ = "rudp"
