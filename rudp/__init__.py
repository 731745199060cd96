"""RPC for Python clusters that never hangs and never lies.

    async with rudp.Node("127.0.0.1:7400") as node:
        @node.method
        async def add(a, b):
            return a + b

        peer = node.peer("127.0.0.1:7401")
        total = await peer.call("add", 2, 3, timeout=0.5)

Small calls travel as single UDP packets, big messages over multiplexed TCP; the API is the same.
Every call has a deadline, and every error says whether the handler ran. ``rudp.sync`` has the same
node for threads.
"""

from rudp._config import Config
from rudp._errors import (
    AddressError,
    BadReply,
    BadRequest,
    BindError,
    BufferChanged,
    Busy,
    CallCancelled,
    CallError,
    ConfigError,
    DeadlineExceeded,
    ForkedError,
    LaneUnavailable,
    LimitExceeded,
    NodeBroken,
    NodeClosed,
    NoMemory,
    NoReplySent,
    NoSuchMethod,
    Outcome,
    PeerClosed,
    PeerDismissed,
    PeerLost,
    PeerRestarted,
    RefusedByHost,
    RemoteError,
    ReplyTooLarge,
    RudpError,
    SerializationError,
    SessionFailed,
    TooLarge,
    Unreachable,
    Unverified,
)
from rudp._keys import generate_key, load_key, write_key
from rudp._loop_peer import Peer
from rudp._node import Node
from rudp._peer import Path, PeerEvent, PeerState, PeerView
from rudp._serving import Request, current_request
from rudp._statistics import Statistics

__version__ = "0.1.0"

__all__ = [
    # what one works with
    "Node",
    "Peer",
    "Config",
    "Request",
    "current_request",
    # what one looks at
    "PeerState",
    "PeerView",
    "PeerEvent",
    "Path",
    "Statistics",
    # keys
    "generate_key",
    "write_key",
    "load_key",
    # errors of calls
    "RudpError",
    "CallError",
    "Outcome",
    "RemoteError",
    "DeadlineExceeded",
    "CallCancelled",
    "Busy",
    "NoSuchMethod",
    "BadRequest",
    "BadReply",
    "TooLarge",
    "ReplyTooLarge",
    "Unreachable",
    "RefusedByHost",
    "Unverified",
    "PeerLost",
    "PeerRestarted",
    "PeerClosed",
    "PeerDismissed",
    "SessionFailed",
    "LaneUnavailable",
    "BufferChanged",
    "NoMemory",
    "NoReplySent",
    "NodeClosed",
    "NodeBroken",
    # other errors
    "SerializationError",
    "LimitExceeded",
    "AddressError",
    "BindError",
    "ConfigError",
    "ForkedError",
    "__version__",
]
