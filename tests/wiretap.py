"""Somebody on the path between two nodes, who reads all and can say it all again.

    A at 127.0.0.1:pa  <->  127.2.0.2:pb [tap] 127.2.0.1:pa  <->  127.0.0.1:pb at B
                            B as A sees it     A as B sees it

The tap's addresses carry the port of the node behind them, as those of the demo's relay do, so each
side takes the caller and the called for one peer. ``tap.said[A]`` is what A sent: its datagrams,
and the bytes of each connection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

Where = tuple[str, int]
A, B = 0, 1
PATIENCE = 60.0  # seconds until something is given up
QUIET = 0.5  # seconds without a byte after which nothing more is expected
FIRST, SECOND = 0x11, 0x12  # kinds of the handshake's messages


def host_port(address: str) -> Where:
    """Both parts of ``host:port``."""
    host, _, port = address.rpartition(":")
    return host, int(port)


@dataclasses.dataclass
class Said:
    """What one side has sent."""

    datagrams: list[bytes] = dataclasses.field(default_factory=list)
    streams: list[bytearray] = dataclasses.field(default_factory=list)

    def contains(self, needle: bytes) -> bool:
        return any(needle in bytes(part) for part in (*self.datagrams, *self.streams))

    @property
    def firsts(self) -> int:
        """How many handshakes it began, over UDP and TCP."""
        streams = [bytes(stream[2:3]) for stream in self.streams]
        return sum(part[:1] == bytes([FIRST]) for part in (*self.datagrams, *streams))


class Tap:
    """Carries and records, in a thread of its own; a context."""

    def __init__(self, a: str, b: str, spoils: Callable[[int, bytes], bytes] | None = None) -> None:
        """``spoils``: is given what each ``read`` of a stream got, from whom, and changes it."""
        self._spoils = spoils
        self.at = (host_port(a), host_port(b))
        self.seen = (("127.2.0.1", self.at[A][1]), ("127.2.0.2", self.at[B][1]))
        self.said = (Said(), Said())
        self._poll = selectors.DefaultSelector()
        # What stands for one side is where the other one sends to.
        self._udp = [self._bound(socket.SOCK_DGRAM, seen) for seen in self.seen]
        for side, seen in enumerate(self.seen):
            self._watch(self._udp[side], lambda side=side: self._datagram(1 - side))
            listener = self._bound(socket.SOCK_STREAM, seen)
            self._watch(listener, lambda side=side, at=listener: self._accept(1 - side, at))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def address(self, side: int) -> str:
        """Where the other node finds this side."""
        host, port = self.seen[side]
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for key in list(self._poll.get_map().values()):
            key.fileobj.close()
        self._poll.close()

    @staticmethod
    def _bound(kind: int, at: Where) -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(at)
        if kind == socket.SOCK_STREAM:
            made.listen()
        return made

    def _watch(self, what: socket.socket, then: Callable[[], None]) -> None:
        self._poll.register(what, selectors.EVENT_READ, then)

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._poll.select(0.05):
                if key.fd in self._poll.get_map():
                    key.data()

    def _datagram(self, side: int) -> None:
        """One that ``side`` sent; it goes on from the address that stands for ``side``."""
        with contextlib.suppress(OSError):
            data = self._udp[1 - side].recv(65536)
            self.said[side].datagrams.append(data)
            self._udp[side].sendto(data, self.at[1 - side])

    def _accept(self, side: int, listener: socket.socket) -> None:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(self.at[1 - side], timeout=PATIENCE)
        except OSError:
            near.close()
            return
        near.settimeout(PATIENCE)
        for speaker, ends in ((side, (near, far)), (1 - side, (far, near))):
            record = bytearray()
            self.said[speaker].streams.append(record)
            pump = functools.partial(self._pump, speaker, record, *ends)
            self._watch(ends[0], pump)

    def _pump(
        self, speaker: int, record: bytearray, source: socket.socket, goal: socket.socket
    ) -> None:
        with contextlib.suppress(OSError):
            if data := source.recv(1 << 16):
                record += data
                goal.sendall(self._spoils(speaker, data) if self._spoils else data)
                return
        for end in (source, goal):
            self._poll.unregister(end)
            end.close()


def say_again(said: Said, to: Where) -> tuple[list[bytes], bytes]:
    """Replay all of it from a stranger's address; the datagrams and bytes that came back."""
    answers: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(to)
        udp.settimeout(QUIET)
        for number, datagram in enumerate(said.datagrams):
            udp.send(datagram)
            if number % 20 == 0:
                time.sleep(0.002)  # so that the kernel drops none
        heard = _streams([bytes(stream) for stream in said.streams], to)
        with contextlib.suppress(OSError):
            while True:
                answers.append(udp.recv(65536))
    return answers, heard


def _streams(contents: list[bytes], to: Where) -> bytes:
    """Say each on a connection of its own, as far as it is let; all bytes until they are closed."""
    heard = b""
    with contextlib.ExitStack() as stack:
        said = [stack.enter_context(socket.create_connection(to, PATIENCE)) for _ in contents]
        for stream, content in zip(said, contents, strict=True):
            with contextlib.suppress(OSError):
                stream.sendall(content)
        for stream in said:
            with contextlib.suppress(ConnectionError):  # reset: closed, with bytes left unread
                while data := stream.recv(1 << 16):
                    heard += data
    return heard
