"""How many datagrams are on the wire? Counted from outside, on the loopback interface."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections import Counter
from typing import Self

ETH_P_IP = 0x0800
UDP = 17


class Capture:
    """Counts datagrams by (source port, destination port) while the context lasts; needs root."""

    def __init__(self) -> None:
        self.count: Counter[tuple[int, int]] = Counter()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.bind(("lo", ETH_P_IP))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not self._stop.is_set():
            if not poll.poll(50):
                continue
            packet = self._socket.recv(65536)  # arriving ones only: each is seen once
            if packet[9] != UDP:
                continue
            header = (packet[0] & 15) * 4
            self.count[struct.unpack_from("!HH", packet, header)] += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()
