"""The blocking twin: the same node, peers, methods and errors, for threads.

    with rudp.sync.Node("127.0.0.1:7400") as node:
        node.register("add", lambda a, b: a + b)
        print(node.peer("127.0.0.1:7401").call("add", 2, 3, timeout=0.5))

A thread that waits for its call runs turns itself, one leader at a time (Rule 16); no event loop
and no hop between threads is in the way of a result. One daemon thread per node reads the events:
requests for methods, which it gives to the pool or runs inline, and news of peers. While a node has
neither methods nor watchers that thread only looks now and then: it must not lead, or each call of
another thread would be handed over twice.

Any number of threads may use a node. Ctrl-C works: the main thread waits in slices of 100 ms
(Rule 17). Methods are plain functions; coroutine functions belong to ``rudp.Node``.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Self

from rudp import _lib
from rudp._calls import GENERATION, HANDLES, call_error, table_full
from rudp._codec import Encoded
from rudp._config import Config
from rudp._endpoint import Endpoint
from rudp._errors import Busy, ConfigError, DeadlineExceeded, Outcome
from rudp._keys import Key
from rudp._lib import (
    FULL,
    LONGEST,
    OK,
    PACKET_BODY,
    RESULT,
    SIGNAL,
    TIMEOUT,
    TIMEOUT_MAX,
    UNKNOWN,
    rudp_call,
    rudp_call_memory,
    rudp_call_wait,
    rudp_cancel,
    rudp_events_wait,
    rudp_taken,
)
from rudp._life import EXIT_SECONDS
from rudp._log import logger
from rudp._peer import BasePeer, PeerEvent
from rudp._resolve import AddressLike, resolve
from rudp._serving import Kind, Method, bound_request, limited

BATCH = 64  # events per turn
CLOSE_SECONDS = 5.0
MAIN_SLICE = 100_000  # microseconds: how long a lost signal may go unnoticed (Rule 17)
THREAD_SLICE = 1_000_000
LOOK_SECONDS = 0.5  # between looks for events of a node that only calls
RELEASE_WAIT = 10_000  # microseconds
READER_SLICE = 1_000_000  # how long an unclosed node may outlive its last reference
CANCEL_SECONDS = 1.0  # for the event that a cancelled call still brings
LEAVE_LOOK = 0.05  # seconds between looks whether all threads have left

__all__ = ["Node", "Peer"]


FREE, BEGUN, ENDED = range(3)
"""What the core knows of a slot's call: nothing, perhaps all, that it ended but not that we know.

An exception of a signal handler may come between any two steps of a call.
"""


class Slot:
    """A place for one call at a time; its thread has it alone, so nothing here is locked."""

    __slots__ = ("busy", "event", "fields", "handle", "state")

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.busy = False  # a thread is inside: the node is not freed under it
        self.state = FREE
        waiter = _lib.Waiter()
        self.event, self.fields = waiter.done, waiter.fields


class Peer(BasePeer):
    """A node at an address, as seen from one of ours; made by ``node.peer(address)``."""

    __slots__ = ()

    _node: Node

    def call(
        self,
        method: str,
        /,
        *args: Any,
        timeout: float | None = None,
        pickle: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Call ``method`` at the peer and return its result.

        ``timeout`` is in seconds, None means ``Config.timeout``; inside a handler it never exceeds
        what is left of the request that is being served. ``pickle`` sends and accepts any Python
        object, for methods registered with ``pickle=True``.

        Raises a ``CallError`` whose ``outcome`` says whether the handler ran, ``RemoteError`` with
        the remote traceback if it raised, ``SerializationError`` if the arguments cannot be sent,
        ``AddressError`` if the peer's name does not resolve.
        """
        node = self._node
        try:
            slot = node._idle.pop()
        except IndexError:
            node._usable_core()
            slot = node._new_slot()
        try:
            slot.busy = True
            if kwargs or pickle:
                body = node._encode_call(args, kwargs, pickle=pickle)
            else:
                body = node._codec.encode(args)
            seconds = node.config.timeout if timeout is None else timeout
            if bound_request(None) is not None:
                seconds = limited(seconds)
            if self._id == 0:
                until = time.monotonic()
                self.resolve()
                seconds -= time.monotonic() - until
            return node._run(slot, self, method, body, seconds, pickle)
        finally:
            if slot.state != FREE:
                node._give_up(slot)
            slot.busy = False
            if slot.state == FREE:
                node._idle.append(slot)
            if node._closing:
                node._left.set()

    def watch(self, *, enabled: bool = True) -> None:
        """Ask for news of this peer (``node.on_peer``) even while no call to it is open."""
        self.resolve()
        self._node._usable_core().watch(self._id, watch=enabled)

    def resolve(self) -> Self:
        """Resolve the name now; ``AddressError`` if that fails. Calls do it by themselves."""
        if self._id == 0:
            found = self._resolved
            if found is None:
                family = self._node._usable_core().address().family
                found = resolve(self._address, family=family)
            self._bind(found)
        return self


class Node(Endpoint[Peer]):
    """A node for threads: serves methods and calls those of its peers.

    The options are those of ``rudp.Node``. Use ``with``, or ``open()`` and ``close()``. Raises
    ``BindError`` or ``AddressError`` when it cannot be opened.
    """

    _peer_class = Peer

    def __init__(
        self,
        address: AddressLike = "127.0.0.1:0",
        *,
        key: Key | None = None,
        other_key: Key | None = None,
        insecure: bool = False,
        config: Config | None = None,
    ) -> None:
        super().__init__(address, key=key, other_key=other_key, insecure=insecure, config=config)
        self._serves = threading.Event()  # there is something to read events for
        self._slots: list[Slot] = []
        self._idle: list[Slot] = []  # of these; taken and given back by single operations
        self._table = threading.Lock()  # for new ones
        self._left = threading.Event()  # a call ended while the node closes

    # ---- life ----

    def open(self) -> Self:
        """Open the node and start its reader thread."""
        self._open_core(resolve(self._wanted))
        self._reading = threading.Lock()  # whose turn it is to read the events
        self._serves.clear()
        if self._methods or self._watchers:
            self._serves.set()
        self._usable_core().drive_by_loop(loop=False)
        self._reader = threading.Thread(
            target=_read, args=(weakref.ref(self), self._core), name="rudp-events", daemon=True
        )
        self._reader.start()
        return self

    def close(self, *, timeout: float = CLOSE_SECONDS) -> None:
        """Close the node; at most ``timeout`` seconds, and at once if nothing is under way.

        Running handlers may finish and their replies are delivered; calls of this node that are
        still open then end with ``NodeClosed``. Closing twice is fine.
        """
        core = self._core
        if core is None or not core.open or self._closing:
            return
        self._closing = True
        until = time.monotonic() + timeout
        while self._running and time.monotonic() < until:
            time.sleep(0.002)
        core.seal()
        self._rouse_reader()
        if not self._everybody_left(max(until - time.monotonic(), CANCEL_SECONDS)):
            logger.error("%r: a thread did not return from its call; memory is not freed", self)
            return
        if self._pool is not None:
            self._pool.stop(0.0)
        # A handler that closes its own node is in the middle of the events that are counted.
        own = self._reader is threading.current_thread()
        core.free(max(0.0, until - time.monotonic()), UNKNOWN if own else self._taken)

    def _rouse_reader(self) -> None:
        """Give the reader thread an event to return with: a call to nobody ends at once."""
        self._serves.set()
        with contextlib.suppress(Busy):  # with so many calls it looks by itself after a second
            rudp_call(self._handle, self._new_slot().handle, 0, 0, 1, b"-", 1, b"", 0)

    def _everybody_left(self, seconds: float) -> bool:
        """Cancel all calls and wait for their threads, those that only begin included."""
        until = time.monotonic() + seconds
        while handles := self._open_handles():
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._left.clear()
            for handle in handles:
                rudp_cancel(self._handle, handle)
            self._left.wait(min(left, LEAVE_LOOK))
        if self._reader is not threading.current_thread():
            self._reader.join(max(CANCEL_SECONDS, until - time.monotonic()))
        return True

    def _exit(self) -> None:
        self.close(timeout=EXIT_SECONDS)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- calls ----

    def _new_slot(self) -> Slot:
        """One more than there were calls at a time so far; ``Busy`` at the limit."""
        with self._table:
            index = len(self._slots)
            if index >= self.config.calls:
                raise table_full(index)
            slot = Slot(index | GENERATION)
            self._slots.append(slot)
        return slot

    def _open_handles(self) -> list[int]:
        """The calls whose threads have not left yet."""
        return [slot.handle for slot in self._slots if slot.busy]

    def _encode_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, pickle: bool
    ) -> Encoded:
        if not pickle:
            return self._codec.encode_arguments(args, kwargs)
        self._require_key()
        return self._codec.encode_pickle({0: args, 1: kwargs} if kwargs else args)

    def _run(
        self,
        slot: Slot,
        peer: Peer,
        method: str,
        body: Encoded,
        seconds: float,
        pickled: bool,  # noqa: FBT001  by position on the hot path
    ) -> Any:
        core = self._core
        if core is None or not core.open:
            core = self._usable_core()
        if not seconds > 0:
            text = f"call of {method!r}: no time is left"
            raise DeadlineExceeded(text, outcome=Outcome.NO, method=method, peer=peer.address)
        us = int(seconds * 1e6) or 1 if seconds < LONGEST else TIMEOUT_MAX
        handle, name = slot.handle, method.encode()
        code = self._hand_over(slot, peer._id, name, body, us)
        if code == FULL:
            time.sleep(0.001)  # whoever leads empties the submission ring
            code = self._hand_over(slot, peer._id, name, body, us)
        if code < 0:
            slot.state = FREE
            raise self._refused(code, method)
        if (code := rudp_call_wait(self._handle, handle, slot.event, MAIN_SLICE)) < 0:
            self._wait_on(slot, code)
        status, outcome, at, size, memory = RESULT.unpack(slot.fields)
        slot.state = ENDED
        data: bytes | memoryview
        data = _lib.received(memory, size) if memory else self._arena[at : at + size].tobytes()
        rudp_taken(self._handle, handle)
        slot.handle = (handle + GENERATION) & HANDLES
        slot.state = FREE
        if core.lent and not self._serves.is_set():
            self._look(RELEASE_WAIT)  # the memory of this call is the application's again
        if status == OK:
            return self._codec.decode(data, pickled=pickled)
        raise call_error(self._codec, status, outcome, data, method, peer, closing=self._closing)

    def _hand_over(self, slot: Slot, peer: int, name: bytes, body: Encoded, us: int) -> int:
        size = len(body)
        if type(body) is bytes and size + len(name) <= PACKET_BODY:
            slot.state = BEGUN
            return rudp_call(self._handle, slot.handle, peer, 1, us, name, len(name), body, size)
        memory = self._usable_core().lend([body] if isinstance(body, bytes) else body)
        slot.state = BEGUN
        return rudp_call_memory(self._handle, slot.handle, peer, 1, us, name, len(name), memory)

    def _wait_on(self, slot: Slot, code: int) -> None:
        """The first slice of a wait is over."""
        main = threading.current_thread() is threading.main_thread()
        piece = MAIN_SLICE if main else THREAD_SLICE
        while code < 0:
            if code not in (TIMEOUT, SIGNAL):
                slot.handle = (slot.handle + GENERATION) & HANDLES
                slot.state = FREE
                raise _lib.code_error(code, outcome=Outcome.UNKNOWN)
            code = rudp_call_wait(self._handle, slot.handle, slot.event, piece)

    def _give_up(self, slot: Slot) -> None:
        """Cancel, and wait for the event that still comes; without it the slot is not reused."""
        if slot.state == BEGUN:
            rudp_cancel(self._handle, slot.handle)
        until = time.monotonic() + CANCEL_SECONDS
        while slot.state == BEGUN and time.monotonic() < until:
            if rudp_call_wait(self._handle, slot.handle, slot.event, MAIN_SLICE) >= 0:
                memory = RESULT.unpack(slot.fields)[4]
                slot.state = ENDED
                if memory:
                    _lib.release(memory)
        if slot.state == ENDED:
            rudp_taken(self._handle, slot.handle)
            slot.handle = (slot.handle + GENERATION) & HANDLES
            slot.state = FREE

    # ---- serving ----

    def on_peer(self, function: Callable[[PeerEvent], None]) -> Callable[[PeerEvent], None]:
        """Decorator: call ``function(event)`` whenever a peer comes, goes, stalls or recovers.

        It is called in the thread that reads events and must not block. Peers with open calls
        report by themselves; ``peer.watch()`` asks for news of one without.
        """
        self._serves.set()
        return super().on_peer(function)

    def _look(self, microseconds: int) -> None:
        """Read what events there are, unless somebody does."""
        if self._reading.acquire(blocking=False):
            try:
                taken, self._taken = self._taken, 0
                queued = self._queued()
                ready = rudp_events_wait(self._handle, taken, queued, microseconds)
                if ready > 0:
                    self._handle_events(ready)
            finally:
                self._reading.release()

    def _handle_events(self, ready: int) -> None:
        """What is done with the events that wait."""
        try:
            self._read_events(min(ready, BATCH))
            if self._unsent:
                self._send_again()
        except Exception:  # noqa: BLE001  the next event must still be read
            logger.exception("%r: an event could not be handled", self)

    def _accepts(self, method: Method) -> None:
        if method.kind is Kind.COROUTINE:
            raise ConfigError(
                f"method {method.name!r} is a coroutine function: a blocking node runs plain "
                "functions, rudp.Node runs both"
            )
        self._serves.set()

    def _submitted_elsewhere(self) -> None:
        """The core sends what is submitted at once while no loop drives it (Rule 5)."""

    def _finished(self, event: tuple[int, ...]) -> None:
        """Blocking calls get their results where they wait; nothing of theirs comes here."""

    def _stopped(self) -> None:
        """Open calls have ended, and new ones are refused by the core."""


def _read(reference: Callable[[], Node | None], core: _lib.Core) -> None:
    """The reader thread: events in order, until the node closes.

    It holds the node only while there is something to do, so that one nobody closed can go.
    """
    ready = 0
    while core.open:
        node = reference()
        if node is None:
            return
        serves, reading = node._serves, node._reading
        if not serves.is_set():
            node._look(0)
            del node
            serves.wait(LOOK_SECONDS)
            continue
        with reading:
            if ready > 0:
                node._handle_events(ready)
            elif ready not in (0, TIMEOUT, SIGNAL):
                return
            taken, node._taken = node._taken, 0
            queued = node._queued()
            del node
            ready = rudp_events_wait(core.handle, taken, queued, READER_SLICE)
