"""The only module that touches ffi and lib: the node's handle, shared memory, lifetimes, codes.

    outgoing   parts --Link.lend--> rudp_memory, kept in `Core.lent` under its token until the core
               says RELEASED, or the node is closed (Rule 21)
    incoming   address --gc(rudp_release)--> writable memoryview; what is built on it keeps it, the
               last one frees it, also after the node is closed (Rule 20)

Functions on the hot path are names bound to the C functions themselves: a Python wrapper would cost
as much as the work. The trap: their first argument is ``Core.handle``, which is freed by ``close``;
whoever calls them from a thread other than the node's own holds ``Core.lock`` and looks at
``Core.open`` first. The methods of ``Core`` do so by themselves (``Core.usable``).
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import struct
import threading
import weakref
from collections.abc import Coroutine, Iterator
from typing import Any

from rudp import _errors as errors
from rudp import _native
from rudp._config import CIPHERS, Config
from rudp._native import ffi, lib
from rudp._resolve import Address

PACKET_BODY, PACKET_REPLY = lib.RUDP_PACKET_BODY, lib.RUDP_PACKET_REPLY
METHOD_MAX = lib.RUDP_METHOD_MAX
TIMEOUT_MAX = lib.RUDP_TIMEOUT_MAX  # microseconds
LONGEST = TIMEOUT_MAX / 1e6  # the same in seconds

CANCEL, PEER = lib.RUDP_CANCEL, lib.RUDP_PEER
STRANGER, STOPPED = lib.RUDP_STRANGER, lib.RUDP_STOPPED

FORKED, CLOSED, BROKEN = lib.RUDP_FORKED, lib.RUDP_CLOSED, lib.RUDP_BROKEN
FULL, TIMEOUT, SIGNAL = lib.RUDP_FULL, lib.RUDP_TIMEOUT, lib.RUDP_SIGNAL
INVALID, UNKNOWN = lib.RUDP_INVALID, lib.RUDP_UNKNOWN

rudp_turn = lib.rudp_turn
rudp_call, rudp_call_memory = lib.rudp_call, lib.rudp_call_memory
rudp_cancel, rudp_refuse = lib.rudp_cancel, lib.rudp_refuse
rudp_reply, rudp_reply_memory = lib.rudp_reply, lib.rudp_reply_memory


def _second_module(name: str) -> Any:
    """A module that lives in the file of another one: both stand on the same core."""
    place = importlib.machinery.ExtensionFileLoader(name, _native.__file__)
    spec = importlib.machinery.ModuleSpec(name, place, origin=_native.__file__)
    module = importlib.util.module_from_spec(spec)
    place.exec_module(module)
    return module


link = _second_module("rudp._link")
Link = link.Link
RequestFields: Any = link.Request
attend = link.attend
Coroutine.register(link.Call)
Coroutine.register(link.Service)

_ERROR_SIZE = 512
cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _statuses() -> list[str]:
    """The names of all statuses by number; the list ends where a name is missing or repeated."""
    names: list[str] = []
    while len(names) < 256:
        pointer = lib.rudp_status_name(len(names))
        name = ffi.string(pointer).decode() if pointer != ffi.NULL else ""
        if name in ("", "UNKNOWN") or name in names:
            break
        names.append(name)
    return names


STATUS_NAMES = _statuses()
STATUS = {name: number for number, name in enumerate(STATUS_NAMES)}
STATUS_TEXTS = [ffi.string(lib.rudp_status_text(n)).decode() for n in range(len(STATUS_NAMES))]
STATUS_ERRORS = [errors.ERROR_OF_STATUS.get(name, errors.CallError) for name in STATUS_NAMES]
OK, EXCEPTION, CANCELLED = STATUS["OK"], STATUS["EXCEPTION"], STATUS["CANCELLED"]


def microseconds(seconds: float) -> int:
    """A positive time as the core takes it."""
    return int(seconds * 1e6) or 1 if seconds < LONGEST else TIMEOUT_MAX


def bounded(seconds: float) -> float:
    """A time to wait as every clock of the system takes it; infinity and nan included."""
    return min(seconds, LONGEST) if seconds > 0 else 0.0


def code_text(code: int) -> str:
    """The sentence for a negative result."""
    return ffi.string(lib.rudp_code_text(code)).decode()


def code_error(code: int, outcome: errors.Outcome = errors.Outcome.NO) -> Exception:
    """The exception for a negative result; ``outcome`` of the call it ends, if there is one."""
    text = code_text(code)
    if code == lib.RUDP_FORKED:
        return errors.ForkedError(f"{text}: open a new node in the child")
    kinds: dict[int, type[errors.CallError]] = {
        lib.RUDP_CLOSED: errors.NodeClosed,
        lib.RUDP_BROKEN: errors.NodeBroken,
        lib.RUDP_FULL: errors.Busy,
        lib.RUDP_MEMORY: errors.NoMemory,
    }
    kind = kinds.get(code)
    if kind is None:
        return errors.RudpError(text)
    return kind(text, outcome=outcome)


class Core:
    """One open node of the core, and everything whose life hangs on it."""

    def __init__(
        self, address: Address, key: bytes | None, other_key: bytes | None, config: Config
    ) -> None:
        kept = [ffi.new("uint8_t[]", k) if k else ffi.NULL for k in (key, other_key)]
        options = ffi.new("rudp_options *")
        _fill(options.listen, address)
        options.key, options.other_key = kept
        for name in ("max_message", "request_credit", "reply_credit", "arena"):
            setattr(options, name, getattr(config, name))
        for name in ("calls", "serves", "peers"):
            setattr(options, name, getattr(config, name))
        options.lost_after_us = int(config.lost_after * 1e6)
        options.no_udp, options.no_tcp = not config.udp, not config.tcp
        options.no_direct = not config.direct
        options.cipher = CIPHERS[config.cipher]
        node, error = ffi.new("rudp_node **"), ffi.new("char[]", _ERROR_SIZE)
        code = lib.rudp_open_wait(options, node, error, _ERROR_SIZE)
        if code < 0:
            reason = ffi.string(error).decode(errors="replace") or code_text(code)
            raise errors.BindError(f"cannot open a node at {address}: {reason}")
        # Without a close the last reference stops the C thread; the node's __del__ warns.
        self.handle = ffi.gc(node[0], _destroy)
        self.lock = threading.RLock()  # a signal handler may look in while its thread does
        self.open = True
        self.forked = False
        self.lent: dict[int, Any] = {}
        self.descriptor = lib.rudp_descriptor(self.handle)
        size = ffi.new("size_t *")
        arena = lib.rudp_arena(self.handle, size)
        self.arena = memoryview(ffi.buffer(arena, size[0]))
        cores.add(self)

    # ---- life ----

    def seal(self) -> bool:
        """From now on nobody may use the handle; False if that was so already."""
        with self.lock:
            was, self.open = self.open, False
        return was

    def free(self, timeout: float, taken: int = UNKNOWN) -> None:
        """After ``seal``: deliver what was accepted for at most ``timeout`` seconds, then free.

        ``taken``: events read since the last turn. Blocks. What was received lives on; ``lent`` is
        the application's again.
        """
        ffi.gc(self.handle, None)
        lib.rudp_close_wait(self.handle, taken, int(bounded(timeout) * 1e6))
        self.arena = memoryview(b"")
        self.lent.clear()

    def forget(self) -> None:
        """In a forked child: close the copied descriptors, touch nothing else (section 7)."""
        self.open = False
        self.forked = True
        lib.rudp_forget(self.handle)
        ffi.gc(self.handle, None)
        self.lent.clear()

    def closed_error(self) -> Exception:
        """Why the node cannot be used."""
        if self.forked:
            return errors.ForkedError("the node belongs to the parent process: open a new one")
        return errors.NodeClosed("the node is closed")

    @contextlib.contextmanager
    def usable(self) -> Iterator[Any]:
        """The handle, which is not freed meanwhile: for anything short, from any thread.

        The functions named ``_wait`` let other threads run before they have begun, and one of those
        may close the node.
        """
        if not self.open:  # a forked child stops here: who held the lock does not exist there
            raise self.closed_error()
        with self.lock:
            if not self.open:
                raise self.closed_error()
            yield self.handle

    def drive_by_loop(self, *, loop: bool) -> None:
        """Say who runs turns from now on: an event loop, or nobody in particular (Rule 5)."""
        with self.usable() as handle:
            lib.rudp_driver(handle, int(loop))

    def address(self) -> Address:
        """Where the node listens."""
        found = ffi.new("rudp_address *")
        with self.usable() as handle:
            lib.rudp_listening(handle, found)
        return _address(found)

    def rotate(self, key: bytes, other_key: bytes | None) -> None:
        """Offer ``key`` from now on and accept ``other_key`` too (K9)."""
        kept = [ffi.new("uint8_t[]", k) if k else ffi.NULL for k in (key, other_key)]
        with self.usable() as handle:
            code = lib.rudp_rotate_wait(handle, *kept)
        if code < 0:
            raise code_error(code)

    # ---- peers and numbers ----

    def peer(self, address: Address) -> int:
        """The id of the peer at an address; made if new."""
        wanted = ffi.new("rudp_address *")
        _fill(wanted, address)
        with self.usable() as handle:
            found = lib.rudp_peer_wait(handle, wanted)
        if found == lib.RUDP_FULL:
            text = "no room for another peer (Config.peers)"
            raise errors.Busy(text, outcome=errors.Outcome.NO, peer=str(address))
        if found <= 0:
            raise code_error(found)
        return found

    def watch(self, peer: int, *, watch: bool) -> None:
        """Ask to be told of the peer's fate, or not any more."""
        with self.usable() as handle:
            code = lib.rudp_watch(handle, peer, int(watch))
        if code < 0:
            raise code_error(code)

    def peer_view(self, peer: int) -> Any | None:
        """The core's view of a peer (``rudp_peer_view``), None if it knows none."""
        view = ffi.new("rudp_peer_view *")
        with self.usable() as handle:
            found = lib.rudp_peer_view_wait(handle, peer, view)
        return view if found >= 0 else None

    def counters(self) -> dict[str, int]:
        """All counters by name."""
        count = len(COUNTER_NAMES)
        numbers = ffi.new("uint64_t[]", count)
        with self.usable() as handle:
            code = lib.rudp_counters_wait(handle, numbers, count)
        if code < 0:
            raise code_error(code)
        return {name: numbers[index] for index, name in enumerate(COUNTER_NAMES)}

    def trace(self, size: int) -> bytes:
        """The newest entries of the trace ring, at most ``size`` bytes of 40-byte records."""
        out = ffi.new("uint8_t[]", size)
        with self.usable() as handle:
            count = lib.rudp_trace_wait(handle, out, size)
        if count < 0:
            raise code_error(count)
        return bytes(ffi.buffer(out, count))

    def addresses(self) -> tuple[int, int, int]:
        """Where the node, its events and its arena lie, for ``Link``."""
        arena = lib.rudp_arena(self.handle, ffi.new("size_t *"))
        return _place(self.handle), _place(lib.rudp_events(self.handle)), _place(arena)


def memory_at(address: int) -> Any:
    """The ``rudp_memory`` that ``Link`` has made there."""
    if address == 0:
        raise errors.NoMemory("no memory to send the message", outcome=errors.Outcome.NO)
    return ffi.cast("rudp_memory *", address)


def received(memory: int, size: int) -> memoryview:
    """Received memory as a writable view that frees it with its last user (Rule 20)."""
    own = ffi.gc(ffi.cast("char *", memory), lib.rudp_release)
    return memoryview(ffi.buffer(own, size))


def event_address(event: tuple[int, ...]) -> Address | None:
    """Where the handshake of a STRANGER event came from."""
    whole = struct.pack("=QQQ", *event[9:12])
    return _address(ffi.from_buffer("rudp_address *", whole))


def view_address(view: Any) -> Address | None:
    """The address in a peer's view."""
    return _address(view.remote) if view.remote.family in (4, 6) else None


def trace_name(kind: int) -> str:
    """The name of a kind of trace record, empty if there is none."""
    pointer = lib.rudp_trace_name(kind)
    return ffi.string(pointer).decode() if pointer != ffi.NULL else ""


def _place(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _destroy(handle: Any) -> None:
    lib.rudp_close_wait(handle, UNKNOWN, 0)


def _fill(out: Any, address: Address) -> None:
    ffi.buffer(out.ip)[0 : len(address.ip)] = address.ip
    out.scope, out.port, out.family = address.scope, address.port, address.family


def _address(found: Any) -> Address:
    size = 4 if found.family == 4 else 16
    return Address(bytes(ffi.buffer(found.ip))[:size], found.port, found.scope)


def _counter_names() -> list[str]:
    names: list[str] = []
    while len(names) < 1024 and (pointer := lib.rudp_counter_name(len(names))) != ffi.NULL:
        names.append(ffi.string(pointer).decode())
    return names


COUNTER_NAMES = _counter_names()
