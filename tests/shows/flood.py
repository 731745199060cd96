"""Who floods a node: ``python -m tests.shows.flood PORT COUNT RATE``, on loopback.

Reads genuine datagrams and streams, captured before, from its standard input (one per line, ``d``
or ``s`` and hexadecimal digits). Sends COUNT of them at RATE a second, altered, cut, joined with
noise, or as they were, every hundredth as a connection; all from an address of its own. Prints what
was sent, and how many bytes the node said to that address: counted on the wire, below all sockets.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import json
import random
import socket
import struct
import sys
import time
from collections import deque

ETH_P_IP, UDP = 0x0800, 17
SO_ATTACH_FILTER = 26
OWN = "127.0.0.9"
# Made beforehand: what is measured is the node, not the making of them. A stream of 300 kB takes
# 0.7 ms, for which whoever shares the flooder's CPU would wait.
FORGERIES = 30_000
FORGED_STREAMS = 64
CONNECTIONS = 200  # open at a time: the oldest is given up for the next
CONNECT_EVERY = 100
SAMPLES = 4  # of answers, shown if there are any
PACE_EVERY = 10  # datagrams in a row: a longer burst shows how machines share a core


def forged(genuine: bytes, chance: random.Random) -> bytes:
    """One of the four: altered by a bit, cut, with noise behind its first bytes, or as it was."""
    kind = chance.randrange(4)
    if kind == 0:
        at = chance.randrange(len(genuine))
        return genuine[:at] + bytes([genuine[at] ^ 1 << chance.randrange(8)]) + genuine[at + 1 :]
    if kind == 1:
        return genuine[: chance.randrange(len(genuine))]
    if kind == 2:
        kept = chance.randrange(min(20, len(genuine)))
        return genuine[:kept] + chance.randbytes(len(genuine) - kept)
    return genuine


class Listener:
    """Counts payload that leaves the node's port for our address; needs root."""

    def __init__(self, port: int) -> None:
        program = [
            (0xB1, 0, 0, 0),  # x = size of the IP header
            (0x48, 0, 0, 0),  # a = source port
            (0x15, 0, 3, port),  # another: no
            (0x20, 0, 0, 16),  # a = destination address
            (0x15, 0, 1, int(ipaddress.IPv4Address(OWN))),  # another: no
            (0x06, 0, 0, 65535),  # yes
            (0x06, 0, 0, 0),  # no
        ]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
        # Of no protocol until the filter is in place: before, it would hear everybody.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self._socket.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("HL", len(program), ctypes.addressof(code)),
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.bind(("lo", ETH_P_IP))
        self._socket.setblocking(False)
        self.heard = 0
        self.first: list[str] = []

    def take(self) -> None:
        try:
            while True:
                packet = self._socket.recv(65536)
                header, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4])
                own = 8 if packet[9] == UDP else (packet[header + 12] >> 4) * 4
                self.heard += total - header - own
                if total > header + own and len(self.first) < SAMPLES:
                    self.first.append(f"protocol {packet[9]}: {packet[header:total].hex()}")
        except BlockingIOError:
            return


class Flood:
    """The sockets, and what was sent by them."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((OWN, 0))
        self.udp.connect(target)
        self.udp.setblocking(False)
        self.open: deque[socket.socket] = deque()
        self.datagrams = self.connections = self.answered = 0

    def send(self, content: bytes) -> None:
        with contextlib.suppress(OSError):
            self.udp.send(content)
            self.datagrams += 1

    def connect(self, content: bytes) -> None:
        stream = socket.socket()
        stream.setblocking(False)
        stream.bind((OWN, 0))
        stream.connect_ex(self.target)
        self.open.append(stream)
        self.connections += 1
        if len(self.open) < CONNECTIONS:
            return
        for other in (self.open[CONNECTIONS // 2], self.open.popleft()):
            with contextlib.suppress(OSError):  # what is connected by now says its part
                other.send(content)
        other.close()

    def heard(self) -> int:
        """Bytes that the UDP socket got: the listener's second witness."""
        try:
            while True:
                self.answered += len(self.udp.recv(65536))
        except OSError:
            return self.answered


def main() -> None:
    """Flood, then say what came of it."""
    port, count, rate = map(int, sys.argv[1:4])
    lines = [line.split() for line in sys.stdin]
    datagrams = [bytes.fromhex(content) for kind, content in lines if kind == "d"]
    streams = [bytes.fromhex(content) for kind, content in lines if kind == "s"]
    chance, flood, wire = random.Random(1), Flood(("127.0.0.1", port)), Listener(port)
    made = [forged(chance.choice(datagrams), chance) for _ in range(FORGERIES)]
    spoken = [forged(chance.choice(streams), chance) for _ in range(FORGED_STREAMS)]
    print("ready", flush=True)
    began = time.monotonic()
    for number in range(count):
        if number % CONNECT_EVERY == 0:
            flood.connect(spoken[flood.connections % FORGED_STREAMS])
            wire.take()
        else:
            flood.send(made[number % FORGERIES])
        ahead = began + number / rate - time.monotonic() if number % PACE_EVERY == 0 else 0.0
        if ahead > 0:
            time.sleep(ahead)
    took = time.monotonic() - began
    time.sleep(0.5)
    wire.take()
    said = {"datagrams": flood.datagrams, "connections": flood.connections, "seconds": took}
    found = {"answers": wire.heard + flood.heard(), "first": wire.first}
    print(json.dumps(said | found), flush=True)


if __name__ == "__main__":
    main()
