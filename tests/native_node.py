"""A node as rudp.h gives it, without the Python package around it: for tests of native/api."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass, field
from typing import Any

from rudp._native import ffi, lib

PATIENCE = 10.0  # seconds until a test gives up


@dataclass(frozen=True)
class Event:
    """A copy of one rudp_event, with the bytes it points to."""

    kind: int
    status: int
    outcome: int
    state: int
    id: int
    method: bytes
    body: bytes
    made: int


@dataclass
class RawNode:
    """One node on loopback that this thread drives."""

    options: dict[str, Any] = field(default_factory=dict)
    handle: Any = None
    taken: int = 0
    position: int = 0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        code, self.handle, text = open_raw(**self.options)
        assert code == 0, text
        self.memory = lib.rudp_events(self.handle)
        self.arena = lib.rudp_arena(self.handle, ffi.new("size_t *"))
        self.descriptor: int = lib.rudp_descriptor(self.handle)
        address = ffi.new("rudp_address *")
        lib.rudp_listening(self.handle, address)
        self.address = address
        lib.rudp_driver(self.handle, 1)

    def turn(self) -> list[Event]:
        """One turn; its events are kept, and counted as taken by the next turn."""
        count = lib.rudp_turn(self.handle, self.taken, 0)
        assert count >= 0, count
        found = [self._copy(self.memory[(self.position + i) % 1024]) for i in range(count)]
        self.position += count
        self.taken = count
        self.events += found
        return found

    def take(self, kind: int) -> list[Event]:
        """The events of a kind so far, and they are gone from ``events``."""
        found = [e for e in self.events if e.kind == kind]
        self.events = [e for e in self.events if e.kind != kind]
        return found

    def peer(self, other: RawNode) -> int:
        found = lib.rudp_peer_wait(self.handle, other.address)
        assert found > 0, found
        return int(found)

    def call(self, peer: int, handle: int, method: bytes, body: bytes, timeout: float = 5) -> int:
        microseconds = int(timeout * 1e6)
        return int(
            lib.rudp_call(
                self.handle, handle, peer, 0, microseconds, method, len(method), body, len(body)
            )
        )

    def counters(self) -> dict[str, int]:
        out = ffi.new("uint64_t[256]")
        count = lib.rudp_counters_wait(self.handle, out, 256)
        return {ffi.string(lib.rudp_counter_name(i)).decode(): out[i] for i in range(count)}

    def close(self, timeout: float = 1) -> int:
        code = lib.rudp_close_wait(self.handle, self.taken, int(timeout * 1e6))
        self.handle = None
        return int(code)

    def _copy(self, e: Any) -> Event:
        at = self.arena + e.offset
        method = ffi.buffer(at, e.method_size)[:] if e.kind == lib.RUDP_REQUEST else b""
        if e.memory:
            pointer = ffi.cast("char *", e.memory)
            body = ffi.buffer(pointer, e.size)[:]
            lib.rudp_release(pointer)
        else:
            body = ffi.buffer(at + e.method_size + e.extension_size, e.size)[:]
        return Event(e.kind, e.status, e.outcome, e.state, e.id, method, body, e.made)


def open_raw(**options: Any) -> tuple[int, Any, str]:
    """rudp_open_wait on 127.0.0.1: result, node, error text."""
    wanted = ffi.new("rudp_options *")
    wanted.listen.ip, wanted.listen.family = bytes([127, 0, 0, 1] + [0] * 12), 4
    kept = []
    for name, value in options.items():
        if name == "port":
            wanted.listen.port = value
        elif name == "family":
            wanted.listen.family = value
        elif name.endswith("key"):
            kept.append(ffi.new("uint8_t[32]", value))
            setattr(wanted, name, kept[-1])
        else:
            setattr(wanted, name, value)
    node, error = ffi.new("rudp_node **"), ffi.new("char[200]")
    code = lib.rudp_open_wait(wanted, node, error, 200)
    return code, node[0], ffi.string(error).decode()


def drive(*nodes: RawNode, until: Any) -> None:
    """Turns of all nodes as their descriptors ask for them, until ``until()`` is true."""
    end = time.monotonic() + PATIENCE
    busy = True
    while not until():
        assert time.monotonic() < end, [node.events for node in nodes]
        if not busy:
            select.select([node.descriptor for node in nodes], [], [], 0.1)
        found = [len(node.turn()) for node in nodes]
        busy = sum(found) > 0


def answer(node: RawNode, *, status: int = 0) -> None:
    """Every request gets its own body back, by packet or by lane."""
    for request in node.take(lib.RUDP_REQUEST):
        body = request.body
        if len(body) <= lib.RUDP_PACKET_REPLY:
            assert lib.rudp_reply(node.handle, request.id, status, body, len(body)) == 0
        else:
            buffer = ffi.from_buffer(body)
            kept[request.id] = buffer
            assert lib.rudp_reply_memory(node.handle, request.id, status, lend(buffer)) == 0


kept: dict[int, Any] = {}  # memory lent to the core by ``answer``, for the process's life


def lend(*buffers: Any, token: int = 0) -> Any:
    """Memory of the core's made of buffers that the caller keeps alive."""
    parts = ffi.new("void *[]", [ffi.cast("void *", b) for b in buffers])
    sizes = ffi.new("size_t[]", [len(b) for b in buffers])
    return lib.rudp_memory_new(token, len(buffers), parts, sizes)
