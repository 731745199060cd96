"""What is a peer seen from here: an address to call, a state, and news of both?"""

from __future__ import annotations

import dataclasses
import enum
import time
from typing import TYPE_CHECKING, Any

from rudp import _lib
from rudp._errors import ERROR_OF_STATUS, CallError
from rudp._resolve import Address, AddressLike, require_family, split

if TYPE_CHECKING:
    from rudp._endpoint import Endpoint


class PeerState(enum.Enum):
    """The life of a peer as this node knows it."""

    IDLE = "idle"  # never dialled, or nothing is open
    DIALLING = "dialling"
    UP = "up"
    SUSPECT = "suspect"  # probes go unanswered
    LOST = "lost"


class Path(enum.Enum):
    """How small packets reach the peer."""

    NONE = "none"
    UDP = "udp"
    TCP = "tcp"


STATES = tuple(PeerState)  # by the number in an event
PATHS = tuple(Path)


def reason_error(status: int) -> type[CallError] | None:
    """The class of error that names the reason of a peer's end, None if there is none."""
    name = _lib.STATUS_NAMES[status] if status < len(_lib.STATUS_NAMES) else ""
    return ERROR_OF_STATUS.get(name)


def reason_text(status: int) -> str:
    """The same as a sentence; empty for none."""
    known = 0 < status < len(_lib.STATUS_TEXTS)
    return _lib.STATUS_TEXTS[status] if known else ""


@dataclasses.dataclass(frozen=True)
class PeerView:
    """A peer at one moment."""

    address: str
    state: PeerState
    stalled: float | None
    """Seconds since its application last took events while its core answers; None: it does."""
    reason: str
    """Why the last session ended, or why none comes about, as a sentence; empty if unknown."""
    path: Path
    rtt: float | None
    """Smoothed round trip in seconds; None without a sample."""
    rtt_variance: float
    """Mean deviation of the round trip in seconds."""
    clock_offset: float
    """Its clock minus ours, in seconds."""
    calls: int
    """Our open calls to it."""
    stuck: int
    """Handlers there that have not ended although we gave up on their calls: each holds a slot.

    Without a session: how many it was when the last one ended.
    """
    stuck_for: float
    """Seconds since the first of these should have ended."""
    lanes: int
    """TCP connections for big messages that are up."""
    sent: int
    """Packets of the present session."""
    lost: int
    """Of these, packets declared lost."""
    incarnation: int
    """64 random bits of this life of the peer's process; 0 when not known."""


@dataclasses.dataclass(frozen=True)
class PeerEvent:
    """News of a peer, given to the functions registered with ``node.on_peer``."""

    peer: Any
    """The ``Peer``."""
    state: PeerState
    reason: str
    """Why, as a sentence; empty when it came up."""
    error: type[CallError] | None
    """The class of error that calls to it end with; None when it came up."""
    same_life: bool
    """Up again: the same process as before, not a restarted one."""
    stalled: bool
    """Its core answers, its application does not."""


class BasePeer:
    """What the peers of both nodes share: address, state, watching."""

    __slots__ = ("_address", "_id", "_name", "_node", "_resolved")

    def __init__(self, node: Endpoint[Any], address: AddressLike, resolved: Address | None) -> None:
        host, port = split(address)
        self._node = node
        self._name = str(resolved) if resolved is not None else f"{host}:{port}"
        self._address = address
        self._resolved = resolved
        self._id = 0

    @property
    def address(self) -> str:
        """``host:port``: numeric, or the name as it was given until it has been resolved."""
        return self._name

    @property
    def state(self) -> PeerState:
        """The state at this moment; ``IDLE`` if nothing was ever sent."""
        view = self._look()
        return STATES[view.state] if view is not None else PeerState.IDLE

    @property
    def stalled_since(self) -> float | None:
        """When its application stopped taking events, on the clock of ``time.monotonic()``.

        None while it does take them. A stalled peer is not lost: its core answers for it.
        """
        view = self._look()
        if view is None or not view.stalled:
            return None
        return time.monotonic() - float(view.stalled_us) / 1e6

    def view(self) -> PeerView:
        """All that is known of the peer at this moment."""
        view = self._look()
        if view is None:
            nothing = (PeerState.IDLE, None, "", Path.NONE, None, 0.0, 0.0, 0, 0, 0.0, 0, 0, 0, 0)
            return PeerView(self.address, *nothing)
        return PeerView(
            address=self.address,
            state=STATES[view.state],
            stalled=view.stalled_us / 1e6 if view.stalled else None,
            reason=reason_text(view.reason),
            path=PATHS[view.path],
            rtt=view.rtt_us / 1e6 if view.rtt_us else None,
            rtt_variance=view.rtt_variance_us / 1e6,
            clock_offset=view.clock_offset_us / 1e6,
            calls=view.calls,
            stuck=view.stuck,
            stuck_for=view.stuck_us / 1e6,
            lanes=view.lanes,
            sent=view.sent,
            lost=view.lost,
            incarnation=view.incarnation,
        )

    def _look(self) -> Any | None:
        core = self._node._usable_core()
        return core.peer_view(self._id) if self._id else None

    def _bind(self, resolved: Address) -> int:
        """Register the resolved address with the core."""
        core = self._node._usable_core()
        if resolved.family == 6:  # the other way round works: a node of IPv6 may speak IPv4, too
            require_family(resolved, self._address, core.address().family)
        self._resolved = resolved
        self._id = core.peer(resolved)
        self._name = str(resolved)
        self._node._peers_by_id.setdefault(self._id, self)
        return self._id

    def __repr__(self) -> str:
        return f"<Peer {self._name}>"
