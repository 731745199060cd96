"""Who carries datagrams between the nodes, and loses some of them?"""

from __future__ import annotations

import random
import select
import socket

from rudp.demo.batch import Batch
from rudp.demo.links import Link, Where

BUFFER = 4 << 20  # bytes, asked for in each direction
ROUNDS = 4  # batches of one socket before the next one has its turn


class Datagrams:
    """Forwards datagrams over all links; ``run`` is a thread's work, the numbers are for others."""

    def __init__(self, links: list[Link], seed: int) -> None:
        self.forwarded = 0
        self.dropped = 0
        self.drop = 0.0
        self._chance = random.Random(seed)  # noqa: S311  chosen faults are no secret
        self._batch = Batch()
        self._poll = select.epoll()
        self._others: dict[int, tuple[socket.socket, socket.socket]] = {}
        for link in links:
            near_a = _connected(link.b_seen, link.a)  # where A sends to, and what A hears from
            near_b = _connected(link.a_seen, link.b)
            for source, target in ((near_a, near_b), (near_b, near_a)):
                self._others[source.fileno()] = (source, target)
                self._poll.register(source, select.EPOLLIN)

    def run(self) -> None:
        """Forward for ever."""
        while True:
            for descriptor, _ in self._poll.poll():
                source, target = self._others[descriptor]
                for _ in range(ROUNDS):
                    came, dropped = self._batch.forward(source, target, self._chance, self.drop)
                    self.forwarded += came - dropped
                    self.dropped += dropped
                    if came == 0:
                        break


def _connected(own: Where, other: Where) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    sock.bind(own)
    sock.connect(other)
    return sock
