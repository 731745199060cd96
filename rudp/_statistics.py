"""What has a node counted since it was opened?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

DROP_PREFIX = "dropped_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """The counters of ``native/engine/counters.h``; they never go back, and none is reset."""

    calls: int = 0
    """Calls submitted."""
    calls_done: int = 0
    """Calls ended, however."""
    calls_ok: int = 0
    """Calls that returned a result."""
    requests: int = 0
    """Requests accepted, each once."""
    replies: int = 0
    """Replies sent, each once."""
    packets_sent: int = 0
    packets_received: int = 0
    """Packets received and verified."""
    bytes_sent: int = 0
    """Bytes of packets sent."""
    bytes_received: int = 0
    """Bytes of packets received and verified."""
    messages_resent: int = 0
    packets_lost: int = 0
    """Packets declared lost."""
    losses_spurious: int = 0
    """Packets declared lost and acknowledged later."""
    drops_theirs: int = 0
    """Datagrams that kernels of peers dropped, as they tell: their socket buffers were full."""
    pto_fired: int = 0
    """Resend timers that ran out."""
    acks_alone: int = 0
    """Packets with nothing but acknowledgements."""
    probes_sent: int = 0
    pongs_sent: int = 0
    hellos_sent: int = 0
    """Handshake messages sent."""
    hellos_received: int = 0
    sessions_made: int = 0
    sessions_ended: int = 0
    peers_lost: int = 0
    """Peers declared lost for silence."""
    own_stalls: int = 0
    """Turns that began late: this node was stalled."""
    paths_changed: int = 0
    """Sessions that moved to another address, or between UDP and TCP."""
    lanes_opened: int = 0
    lanes_direct: int = 0
    """Of the lanes opened, those without a checksum (see ``Config.direct``)."""
    lanes_dropped: int = 0
    transfers_sent: int = 0
    """Messages sent by TCP, completed."""
    transfers_eager: int = 0
    """Of the messages sent by TCP, those that did not wait for the peer's memory."""
    transfers_received: int = 0
    bulk_bytes_sent: int = 0
    """Bytes of big messages written to TCP."""
    bulk_bytes_again: int = 0
    """Of these, bytes that had been written before."""
    bulk_bytes_received: int = 0
    """Bytes of big messages read and verified."""
    busy_retries: int = 0
    """Calls tried again after a busy peer."""
    requests_expired: int = 0
    """Requests dropped unstarted because their deadline had passed."""
    requests_orphaned: int = 0
    """Requests dropped unstarted because their session had ended."""
    dropped: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """What was received and not used, by reason (``"tag"``: not authentic)."""
    other: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Counters of a newer core that have no field here."""


_FIELDS = frozenset(field.name for field in dataclasses.fields(Statistics)) - {"dropped", "other"}


def statistics_from(counters: Mapping[str, int]) -> Statistics:
    """Sort the core's counters into fields, drops by reason, and the rest."""
    fields: dict[str, int] = {}
    dropped: dict[str, int] = {}
    other: dict[str, int] = {}
    for name, number in counters.items():
        if name in _FIELDS:
            fields[name] = number
        elif name.startswith(DROP_PREFIX):
            dropped[name.removeprefix(DROP_PREFIX).lower()] = number
        else:
            other[name] = number
    return Statistics(dropped=dropped, other=other, **fields)
