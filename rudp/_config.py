"""Every limit and option of a node: its unit, default and range."""

from __future__ import annotations

import dataclasses
import os

from rudp._errors import ConfigError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def _threads() -> int:
    return min(32, (os.cpu_count() or 1) + 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Limits of one node. Everything has one; what does not fit is refused, by name.

    Frozen, so that two nodes may share it; ``dataclasses.replace`` makes a changed one. A value
    out of its range raises ``ConfigError`` here, not later.
    """

    timeout: float = 30.0
    """Seconds a call may take unless it says otherwise."""
    lost_after: float = 4.0
    """Seconds of silence after which a peer we wait for is lost; from 1 to 3600."""

    calls: int = 16_384
    """Outgoing calls in flight; one more fails as ``Busy``. 1 to 2**20."""
    serves: int = 16_384
    """Incoming calls queued, running, or with a reply kept. 1 to 2**20."""
    peers: int = 4_096
    """Peers known at the same time. 1 to 60000."""
    threads: int = dataclasses.field(default_factory=_threads)
    """Threads that run plain functions; started when needed. 1 to 1024."""

    max_message: int = 16 * GIB
    """Bytes of one request or reply, in or out."""
    request_credit: int = 4 * GIB
    """Bytes of big requests being received or not yet handled."""
    reply_credit: int = 4 * GIB
    """Bytes of big replies being received or not yet taken."""
    arena: int = 64 * MIB
    """Bytes of memory for small messages, in and out."""

    max_head: int = 64 * MIB
    """Bytes of a message outside its buffers: what msgpack (or pickle) itself holds."""
    max_depth: int = 64
    """Levels of lists and dictionaries inside each other. 1 to 512."""
    max_items: int = 4_000_000
    """Values in one message, buffers included."""

    udp: bool = True
    """Use UDP at all; without it small calls go by TCP too."""
    tcp: bool = True
    """Use TCP at all; without it a message must fit one packet."""
    direct: bool = True
    """Without a key: no checksum for big messages between processes of one machine, if both ends
    have found out that they hold one and the same connection. The kernel has none there either."""
    cipher: str = "best"
    """With a key: "best" of what both sides have, "aes-256-gcm" or "chacha20-poly1305"."""

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            whole = name not in ("timeout", "lost_after")
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                kind = "a whole number" if whole else "a number"
                raise ConfigError(f"Config.{name} must be {kind}, not {value!r}")
            if not low <= value <= high:
                raise ConfigError(f"Config.{name} must be between {low} and {high}, not {value!r}")
        for name in ("udp", "tcp", "direct"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"Config.{name} must be a bool, not {getattr(self, name)!r}")
        if self.cipher not in list(CIPHERS):
            raise ConfigError(f"Config.cipher must be one of {list(CIPHERS)}, not {self.cipher!r}")
        if not (self.udp or self.tcp):
            raise ConfigError("Config.udp and Config.tcp are both off: nothing is left to use")


CIPHERS = {"best": 0, "aes-256-gcm": 1, "chacha20-poly1305": 2}

_RANGES: dict[str, tuple[float, float]] = {
    "timeout": (0.001, 1e9),
    "lost_after": (1.0, 3600.0),
    "calls": (1, 1 << 20),
    "serves": (1, 1 << 20),
    "peers": (1, 60_000),
    "threads": (1, 1024),
    "max_message": (64 * KIB, 1 << 46),
    "request_credit": (64 * KIB, 1 << 46),
    "reply_credit": (64 * KIB, 1 << 46),
    "arena": (MIB, 1 << 40),
    "max_head": (4 * KIB, 2 * GIB),
    "max_depth": (1, 512),
    "max_items": (64, 1 << 32),
}
