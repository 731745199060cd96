"""How are datagrams forwarded in batches: recvmmsg in, sendmmsg out, by ctypes.

One system call for up to 64 datagrams, so the relay is not what limits the demo. Bytes are never
touched by Python: the headers of what is sent point into the buffers that were received into.
"""

from __future__ import annotations

import ctypes
import errno
import random
import socket

BATCH = 64
SLOT = 2048  # bytes; rudp's packets have at most 1200
QUIET = frozenset({errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED, errno.ENOBUFS})


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("parts", ctypes.POINTER(_Part)),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_int),
        ("size", ctypes.c_uint32),  # struct mmsghdr: msg_len follows the whole msghdr
    )


_libc = ctypes.CDLL(None, use_errno=True)


class Batch:
    """Room for one batch; of one thread."""

    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(BATCH * SLOT)
        start = ctypes.addressof(self._bytes)
        self._slots = [start + k * SLOT for k in range(BATCH)]
        self._in, self._in_parts = self._headers()
        self._out, self._out_parts = self._headers()
        for part, slot in zip(self._in_parts, self._slots, strict=True):
            part.base, part.size = slot, SLOT

    def _headers(self) -> tuple[ctypes.Array[_Header], ctypes.Array[_Part]]:
        headers, parts = (_Header * BATCH)(), (_Part * BATCH)()
        for k in range(BATCH):
            headers[k].parts = ctypes.pointer(parts[k])
            headers[k].part_count = 1
        return headers, parts

    def forward(
        self, source: socket.socket, target: socket.socket, chance: random.Random, drop: float
    ) -> tuple[int, int]:
        """Forward what is ready; returns how many datagrams came and how many were dropped."""
        came = _libc.recvmmsg(source.fileno(), self._in, BATCH, socket.MSG_DONTWAIT, None)
        if came <= 0:
            _quiet_or_raise("recvmmsg")
            return 0, 0
        kept = 0
        for k in range(came):
            if chance.random() >= drop:
                part = self._out_parts[kept]
                part.base, part.size = self._slots[k], self._in[k].size
                kept += 1
        sent = 0
        while sent < kept:
            first = ctypes.byref(self._out, sent * ctypes.sizeof(_Header))
            count = _libc.sendmmsg(target.fileno(), first, kept - sent, 0)
            if count <= 0:
                _quiet_or_raise("sendmmsg")
                break  # its target is gone or full: lost, as on any network
            sent += count
        return came, came - kept


def _quiet_or_raise(what: str) -> None:
    code = ctypes.get_errno()
    if code not in QUIET:
        raise OSError(code, f"{what} failed")
