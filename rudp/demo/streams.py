"""Who carries the TCP connections between the nodes, and cuts them?

    node A --> [ socket --splice--> pipe --splice--> socket ] --> node B

``splice`` moves pages, so gigabytes pass without being copied into this process. One thread, one
epoll set, edge-triggered: after any event both directions of a connection are pumped until nothing
moves, a bounded number of times before the others have their turn.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import random
import select
import socket
import struct
import time
from collections import deque

from rudp.demo.links import Link, Where

PIPE = 1 << 20  # bytes
BUFFER = 1 << 20  # bytes asked for in each socket; left alone the kernel keeps up to 6 MiB in each
ROUNDS = 8
EDGE = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
F_SETPIPE_SZ = 1031
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends a reset


class _Flow:
    """One direction of a connection, and the pipe in its middle."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.out, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # over the user's limit: the small pipe works too
            fcntl.fcntl(self.into, F_SETPIPE_SZ, PIPE)
        self.held = 0
        self.ended = False
        self.said = False
        self.carried = 0

    def pump(self) -> bool:
        """Move what can be moved; True if anything was."""
        moved = False
        if not self.ended:
            with contextlib.suppress(BlockingIOError):
                count = os.splice(self.source.fileno(), self.into, PIPE, flags=FLAGS)
                self.ended = count == 0
                self.held += count
                moved = count > 0
        if self.held:
            with contextlib.suppress(BlockingIOError):
                count = os.splice(self.out, self.target.fileno(), self.held, flags=FLAGS)
                self.held -= count
                self.carried += count
                moved = moved or count > 0
        if self.ended and self.held == 0 and not self.said:
            self.said = True
            self.target.shutdown(socket.SHUT_WR)
        return moved

    def close(self) -> None:
        os.close(self.out)
        os.close(self.into)


class _Pair:
    """One proxied connection."""

    def __init__(self, near: socket.socket, far: socket.socket, until: float) -> None:
        self.sockets = (near, far)
        self.flows = (_Flow(near, far), _Flow(far, near))
        self.until = until  # it is cut then
        self.open = True

    def pump(self) -> bool:
        """One round in both directions; True if more may follow."""
        moved = [flow.pump() for flow in self.flows]
        return any(moved)

    @property
    def finished(self) -> bool:
        return all(flow.said for flow in self.flows)

    @property
    def carried(self) -> int:
        return sum(flow.carried for flow in self.flows)

    def close(self, *, reset: bool) -> None:
        self.open = False
        for sock in self.sockets:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()
        for flow in self.flows:
            flow.close()


class Streams:
    """Proxies TCP over all links; ``run`` is a thread's work, the numbers are for others."""

    def __init__(self, links: list[Link], seed: int) -> None:
        self.cuts = 0
        self.opened = 0
        self.carried = 0
        self.stopped = False
        self.life = 0.0  # seconds after which a connection is cut, on average; 0: never
        self._chance = random.Random(seed)  # noqa: S311  chosen faults are no secret
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, Where, Where]] = {}
        self._pairs: dict[int, _Pair] = {}
        self._due: deque[_Pair] = deque()
        for link in links:
            self._listen(link.b_seen, link.b, link.a_seen)
            self._listen(link.a_seen, link.a, link.b_seen)

    def _listen(self, own: Where, target: Where, seen: Where) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)  # noqa: FBT003
        _limit(listener)  # what it accepts inherits that
        listener.bind(own)
        listener.listen(64)
        self._listeners[listener.fileno()] = (listener, target, seen)
        self._poll.register(listener, select.EPOLLIN)

    def run(self) -> None:
        """Proxy until ``stopped``; then everything is closed."""
        while not self.stopped:
            wait = 0.0 if self._due else 0.02
            for descriptor, _ in self._poll.poll(wait):
                if descriptor in self._listeners:
                    self._accept(*self._listeners[descriptor])
                elif (pair := self._pairs.get(descriptor)) is not None:
                    self._pump(pair)
            for _ in range(len(self._due)):
                pair = self._due.popleft()
                if pair.open:
                    self._pump(pair)
            self._cut_what_is_due()
        for pair in set(self._pairs.values()):
            self._end(pair, reset=True)
        for listener, _, _ in self._listeners.values():
            listener.close()
        self._poll.close()

    def _accept(self, listener: socket.socket, target: Where, seen: Where) -> None:
        try:
            near, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        far = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            for sock in (near, far):
                _tune(sock)
            _limit(far)
            far.bind((seen[0], 0))
            far.settimeout(1.0)
            far.connect(target)
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            near.close()
            far.close()
            return
        near.setblocking(False)  # noqa: FBT003
        far.setblocking(False)  # noqa: FBT003
        life = self._chance.expovariate(1 / self.life) if self.life > 0 else math.inf
        pair = _Pair(near, far, time.monotonic() + life)
        self.opened += 1
        for sock in (near, far):
            self._pairs[sock.fileno()] = pair
            self._poll.register(sock, EDGE)

    def _pump(self, pair: _Pair) -> None:
        before = pair.carried
        try:
            for _ in range(ROUNDS):
                if not pair.pump():
                    break
            else:
                if pair not in self._due:
                    self._due.append(pair)
        except OSError:  # either side reset it
            self._end(pair, reset=True)
        else:
            self.carried += pair.carried - before
            if pair.finished:
                self._end(pair, reset=False)

    def _end(self, pair: _Pair, *, reset: bool) -> None:
        for sock in pair.sockets:
            self._pairs.pop(sock.fileno(), None)
        pair.close(reset=reset)

    def _cut_what_is_due(self) -> None:
        now = time.monotonic()
        for pair in set(self._pairs.values()):
            if now >= pair.until:
                self.cuts += 1
                # Now with a reset, now with a polite end in the middle of a message.
                self._end(pair, reset=self._chance.random() < 0.5)


def _limit(sock: socket.socket) -> None:
    """Keep little on the way, as a network would: what is on the way at a cut is sent again."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # bbr, a common default, halves the rate of loopback; some systems allow cubic to root only.
    for name in (b"cubic", b"reno"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
            return
