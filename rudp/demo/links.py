"""Which addresses do nodes see of each other when a relay stands between them?

    A at 127.0.0.1:pa  <->  127.n.a.b:pb [relay] 127.n.b.a:pa  <->  127.0.0.1:pb at B
                            B as A sees it       A as B sees it

The relay's addresses carry the *port* of the node behind them and another loopback IP. Both matter:
a node tells its port in the handshake and is dialled there by TCP, and the same pair of addresses
in both directions lets each side know the caller and the called as one peer. Demos that run at the
same time have an ``n`` each: a connection of one may go out from just the port that another needs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

Where = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Link:
    """One pair of nodes: where they are, and where each sees the other."""

    a: Where
    b: Where
    a_seen: Where
    b_seen: Where


def where(address: str) -> Where:
    """Host and port of ``host:port``."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def links_between(addresses: list[str], net: int) -> list[Link]:
    """A link for every pair of the nodes at these addresses, with relays in 127.net.0.0/16."""
    found = []
    for a in range(len(addresses)):
        for b in range(a + 1, len(addresses)):
            at_a, at_b = where(addresses[a]), where(addresses[b])
            a_seen, b_seen = (f"127.{net}.{b}.{a}", at_a[1]), (f"127.{net}.{a}.{b}", at_b[1])
            found.append(Link(at_a, at_b, a_seen, b_seen))
    return found


def seen_by(addresses: list[str], links: list[Link], member: int) -> dict[int, str]:
    """Where ``member`` finds each of the others: through the links, or directly without any."""
    own = where(addresses[member])
    seen = {n: address for n, address in enumerate(addresses) if n != member}
    for link in links:
        for near, far, far_seen in ((link.a, link.b, link.b_seen), (link.b, link.a, link.a_seen)):
            if near == own:
                other = next(n for n, address in enumerate(addresses) if where(address) == far)
                seen[other] = f"{far_seen[0]}:{far_seen[1]}"
    return seen


def from_json(fields: dict[str, Any]) -> Link:
    """A link as ``dataclasses.asdict`` and JSON have left it."""
    return Link(**{name: (value[0], value[1]) for name, value in fields.items()})
