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
from collections.abc import Callable, Iterator
from typing import Any, Self

from rudp import _lib
from rudp._calls import INDEX, Calls, call_error
from rudp._codec import Encoded
from rudp._config import Config
from rudp._endpoint import Endpoint
from rudp._errors import ConfigError, DeadlineExceeded, Outcome
from rudp._keys import Key
from rudp._lib import (
    FULL,
    OK,
    PACKET_BODY,
    SIGNAL,
    TIMEOUT,
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
from rudp._serving import Kind, Method, limited

BATCH = 64  # events per turn
CLOSE_SECONDS = 5.0
LONGEST = 1e9  # seconds
MAIN_SLICE = 100_000  # microseconds: how long a lost signal may go unnoticed (Rule 17)
THREAD_SLICE = 1_000_000
LOOK_SECONDS = 0.5  # between looks for events of a node that only calls
RELEASE_WAIT = 10_000  # microseconds
READER_SLICE = 1_000_000  # how long an unclosed node may outlive its last reference
CANCEL_SECONDS = 1.0  # for the event that a cancelled call still brings

__all__ = ["Node", "Peer"]


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
        until = time.monotonic()
        seconds = limited(node.config.timeout if timeout is None else timeout)
        body = node._encode_call(args, kwargs, pickle=pickle)
        with node._inside():
            if self._id == 0:
                self.resolve()
                seconds -= time.monotonic() - until
            return node._run(self, method, body, seconds, pickled=pickle)

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

    # ---- life ----

    def open(self) -> Self:
        """Open the node and start its reader thread."""
        self._open_core(resolve(self._wanted))
        self._calls: Calls[Peer] = Calls(self.config.calls)
        self._table = threading.Lock()
        self._left = threading.Condition(self._usable_core().lock)
        self._users = 0  # threads inside a call: the node is not freed under them
        self._waiters = threading.local()
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
        for handle in self._open_handles():
            rudp_cancel(self._handle, handle)
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
        with self._table:
            handle = self._calls.new()
        rudp_call(self._handle, handle, 0, 0, 1, b"-", 1, b"", 0)

    def _everybody_left(self, seconds: float) -> bool:
        if self._reader is not threading.current_thread():
            self._reader.join(seconds)
        with self._left:
            return self._left.wait_for(lambda: self._users == 0, seconds)

    def _exit(self) -> None:
        self.close(timeout=EXIT_SECONDS)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- calls ----

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        self._usable_core()
        with self._left:
            self._usable_core()
            self._users += 1
        try:
            yield
        finally:
            with self._left:
                self._users -= 1
                if self._closing:
                    self._left.notify_all()

    def _encode_call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, pickle: bool
    ) -> Encoded:
        if not pickle:
            return self._codec.encode_arguments(args, kwargs)
        self._require_key()
        return self._codec.encode_pickle({0: args, 1: kwargs} if kwargs else args)

    def _run(self, peer: Peer, method: str, body: Encoded, seconds: float, *, pickled: bool) -> Any:
        if not seconds > 0:
            text = f"call of {method!r}: no time is left"
            raise DeadlineExceeded(text, outcome=Outcome.NO, method=method, peer=peer.address)
        microseconds = int(min(seconds, LONGEST) * 1e6) or 1
        with self._table:
            handle = self._calls.new()
            self._calls.pending[handle & INDEX] = peer
        code = self._hand_over(handle, peer._id, method.encode(), body, microseconds)
        if code == FULL:
            time.sleep(0.001)  # whoever leads empties the submission ring
            code = self._hand_over(handle, peer._id, method.encode(), body, microseconds)
        if code < 0:
            self._drop(handle)
            raise self._refused(code, method)
        status, outcome, data = self._await(handle)
        if self._core is not None and self._core.lent and not self._serves.is_set():
            self._look(RELEASE_WAIT)  # the memory of this call is the application's again
        if status == OK:
            return self._codec.decode(data, pickled=pickled)
        raise call_error(self._codec, status, outcome, data, method, peer, closing=self._closing)

    def _hand_over(self, handle: int, peer: int, name: bytes, body: Encoded, us: int) -> int:
        if type(body) is bytes and len(body) + len(name) <= PACKET_BODY:
            return rudp_call(self._handle, handle, peer, 1, us, name, len(name), body, len(body))
        memory = self._usable_core().lend([body] if isinstance(body, bytes) else body)
        return rudp_call_memory(self._handle, handle, peer, 1, us, name, len(name), memory)

    def _await(self, handle: int) -> tuple[int, int, bytes | memoryview]:
        """Status, outcome and body of a call; Ctrl-C cancels it and goes on its way."""
        waiter = self._waiter()
        main = threading.current_thread() is threading.main_thread()
        piece = MAIN_SLICE if main else THREAD_SLICE
        try:
            while (code := rudp_call_wait(self._handle, handle, waiter.done, piece)) < 0:
                if code not in (TIMEOUT, SIGNAL):
                    self._drop(handle)
                    raise _lib.code_error(code, outcome=Outcome.UNKNOWN)
        except (KeyboardInterrupt, SystemExit):
            self._give_up(handle, waiter)
            raise
        event = waiter.event()
        at, size, memory = event[11], event[12], event[13]
        data: bytes | memoryview
        data = _lib.received(memory, size) if memory else self._arena[at : at + size].tobytes()
        rudp_taken(self._handle, handle)
        self._drop(handle)
        return event[1], event[2], data

    def _give_up(self, handle: int, waiter: _lib.Waiter) -> None:
        """Cancel, and wait for the event that still comes; without it no handle is reused."""
        rudp_cancel(self._handle, handle)
        until = time.monotonic() + CANCEL_SECONDS
        while time.monotonic() < until:
            if rudp_call_wait(self._handle, handle, waiter.done, MAIN_SLICE) >= 0:
                memory = waiter.event()[13]
                if memory:
                    _lib.release(memory)
                rudp_taken(self._handle, handle)
                self._drop(handle)
                return

    def _waiter(self) -> _lib.Waiter:
        try:
            found: _lib.Waiter = self._waiters.waiter
        except AttributeError:
            found = self._waiters.waiter = _lib.Waiter()
        return found

    def _drop(self, handle: int) -> None:
        with self._table:
            self._calls.drop(handle)

    def _open_handles(self) -> list[int]:
        with self._table:
            return self._calls.open()

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
