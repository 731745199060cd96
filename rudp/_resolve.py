"""How does text become an address, and an address text?

``host:port``, ``[ipv6]:port``, or a pair ``(host, port)``. Numeric addresses are parsed here, at
once; names need ``getaddrinfo``, which blocks, so the asyncio node runs ``resolve`` in a thread.
"""

from __future__ import annotations

import dataclasses
import socket
from typing import Any

from rudp._errors import AddressError

DIGITS_MOST = 20  # of a port
AddressLike = str | tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Address:
    """A numeric address: ``ip`` is 4 or 16 bytes, ``scope`` the interface of a link-local one."""

    ip: bytes
    port: int
    scope: int = 0

    @property
    def family(self) -> int:
        """4 or 6."""
        return 4 if len(self.ip) == 4 else 6

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it."""
        if self.family == 4:
            return self.ip[0] == 127
        return self.ip == bytes(15) + b"\x01"

    def __str__(self) -> str:
        if self.family == 4:
            return f"{socket.inet_ntop(socket.AF_INET, self.ip)}:{self.port}"
        scope = f"%{self.scope}" if self.scope else ""
        return f"[{socket.inet_ntop(socket.AF_INET6, self.ip)}{scope}]:{self.port}"


def split(address: AddressLike) -> tuple[str, int]:
    """Host and port of ``host:port`` or of a pair."""
    host, port = _split_text(address) if isinstance(address, str) else _checked_pair(address)
    if not host:
        raise AddressError(f"address {address!r} names no host")
    if not 0 <= port <= 65535:
        raise AddressError(f"address {address!r}: the port must be between 0 and 65535")
    return host, port


def _split_text(address: str) -> tuple[str, int]:
    host, colon, digits = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    # So many digits are no port, and int() would refuse thousands in its own words.
    number = digits.isdecimal() and digits.isascii() and len(digits) <= DIGITS_MOST
    if ":" in host and not bracketed and number and _is_ipv6(host):
        raise AddressError(f"address {address!r}: write an IPv6 address as [{host}]:{digits}")
    if not colon or not number or (":" in host and not bracketed):
        raise AddressError(f"address {address!r} is not of the form host:port")
    return host[1:-1] if bracketed else host, int(digits)


def _checked_pair(address: Any) -> tuple[str, int]:
    if isinstance(address, tuple) and len(address) == 2:
        host, port = address
        if isinstance(host, str) and isinstance(port, int) and not isinstance(port, bool):
            return host, port
    raise AddressError(f"address {address!r} is not of the form 'host:port' or ('host', port)")


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True


def parse(address: AddressLike) -> Address | None:
    """The address if it is numeric, None if it is a name. Never blocks."""
    host, port = split(address)
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return Address(socket.inet_pton(family, host), port)
        except (OSError, ValueError):
            continue
    if "%" in host:
        return _lookup(host, port, 6, socket.AI_NUMERICHOST)
    return None


def resolve(address: AddressLike, *, family: int = 0) -> Address:
    """The address behind a name; blocks. ``family``: 4 or 6 if only that is of use, else 0."""
    numeric = parse(address)
    found = numeric if numeric is not None else _lookup(*split(address), family, 0)
    return require_family(found, address, family)


def require_family(found: Address, address: AddressLike, family: int) -> Address:
    """``found``, or a clear error if a node of ``family`` cannot reach it."""
    if family not in (0, found.family):
        raise AddressError(f"{address!r} is IPv{found.family}, and the node uses IPv{family}")
    return found


def _lookup(host: str, port: int, family: int, flags: int) -> Address:
    wanted = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}[family]
    try:
        rows = socket.getaddrinfo(host, port, wanted, socket.SOCK_DGRAM, 0, flags)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AddressError(f"host {host!r} does not resolve: {reason}") from error
    for kind, _, _, _, where in rows:
        if kind in (socket.AF_INET, socket.AF_INET6):
            ip = socket.inet_pton(kind, str(where[0]).partition("%")[0])
            return Address(ip, port, int(where[3]) if len(where) == 4 else 0)
    raise AddressError(f"host {host!r} has no IP address")
