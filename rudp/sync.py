"""The blocking twin: the same node, peers, methods and errors, for threads.

    with rudp.sync.Node("127.0.0.1:7400") as node:
        node.register("add", lambda a, b: a + b)
        print(node.peer("127.0.0.1:7401").call("add", 2, 3, timeout=0.5))

A thread that waits for its call runs turns itself, one leader at a time (Rule 16); no event loop
and no hop between threads is in the way of a result. From the arguments to the result a call is one
step in C (``native/python/blocking.c``), so an exception of a signal handler finds it under way or
not, and never in between. One daemon thread per node reads the events:
requests for methods, which it gives to the pool or runs inline, and news of peers. While a node has
neither methods nor watchers that thread only looks now and then: it must not lead, or each call of
another thread would be handed over twice.

Any number of threads may use a node. Ctrl-C works: the main thread waits in slices of 100 ms
(Rule 17). Methods are plain functions; coroutine functions belong to ``rudp.Node``.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Self

from rudp import _lib
from rudp._calls import call_error, no_time, reply_value, table_full
from rudp._codec import Encoded
from rudp._config import Config
from rudp._endpoint import Endpoint
from rudp._errors import ConfigError, Outcome
from rudp._keys import Key
from rudp._lib import (
    FULL,
    OK,
    SIGNAL,
    TIMEOUT,
    attend,
    bounded,
    microseconds,
    rudp_call,
    rudp_cancel,
)
from rudp._life import EXIT_SECONDS
from rudp._log import logger
from rudp._peer import BasePeer, PeerEvent
from rudp._resolve import AddressLike, resolve
from rudp._serving import Kind, Method, limited

CLOSE_SECONDS = 5.0
LOOK_SECONDS = 0.5  # between looks for events of a node that only calls
RELEASE_WAIT = 10_000  # microseconds
READER_SLICE = 1_000_000  # how long an unclosed node may outlive its last reference
CANCEL_SECONDS = 1.0  # for cancelled calls to end, and the reader
UNHANDLED = "%r: an event could not be handled"
LEAVE_LOOK = 0.002  # seconds between looks whether all threads have left

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
        if not pickle and not kwargs:
            found = node._link.wait_call(node, self, self._id, method, args, timeout)
            if found is not NotImplemented:
                return found
        return node._call(self, method, args, kwargs, timeout, pickle)

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
        self._serves.clear()
        if self._methods or self._watchers:
            self._serves.set()
        core = self._usable_core()
        self._link = self._make_link(core)
        core.drive_by_loop(loop=False)
        self._reader = threading.Thread(
            target=_read, args=(weakref.ref(self), core), name="rudp-events", daemon=True
        )
        try:
            self._reader.start()
        except RuntimeError:  # the system has no thread left
            core.seal()
            core.free(0.0, self._link.close())
            raise
        return self

    def close(self, *, timeout: float = CLOSE_SECONDS) -> None:
        """Close the node; at most ``timeout`` seconds, and at once if nothing is under way.

        Running handlers may finish and their replies are delivered; calls of this node that are
        still open then end with ``NodeClosed``. Closing twice is fine. A handler that closes its
        own node cannot reply any more, and its caller hears so after ``timeout``.
        """
        core = self._core
        if core is None or not core.open or self._closing:
            return
        self._closing = True
        self._link.simple = False  # requests are refused from now on
        until = time.monotonic() + bounded(timeout)
        try:
            while self._running and time.monotonic() < until:
                time.sleep(LEAVE_LOOK)
        except BaseException:  # Ctrl-C: at once then, but to the end
            until = 0.0
            raise
        finally:
            self._shut(core, until)

    def _shut(self, core: _lib.Core, until: float) -> None:
        core.seal()
        self._link.sealed = True  # who waits may go on
        self._rouse_reader()
        if not self._everybody_left(max(until - time.monotonic(), CANCEL_SECONDS)):
            logger.error("%r: a thread did not return from its call; memory is not freed", self)
            return
        if self._pool is not None:
            self._pool.stop(0.0)
        core.free(max(0.0, until - time.monotonic()), self._link.close())

    def _rouse_reader(self) -> None:
        """Give the reader thread an event to return with: a call to nobody ends at once."""
        self._serves.set()
        handle = self._link.reserve()
        if handle != 0:  # with so many calls it looks by itself after a second
            rudp_call(self._handle, handle, 0, 0, 1, b"-", 1, b"", 0)

    def _everybody_left(self, seconds: float) -> bool:
        """Cancel all calls and wait for their threads, those that only begin included."""
        until = time.monotonic() + seconds
        while handles := self._open_handles():
            if time.monotonic() >= until:
                return False
            for handle in handles:
                rudp_cancel(self._handle, handle)
            time.sleep(LEAVE_LOOK)
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

    def _open_handles(self) -> list[int]:
        """The calls whose threads have not left yet."""
        handles: list[int] = self._link.waiting()
        return handles

    def _call(
        self,
        peer: Peer,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout: float | None,
        pickle: bool,  # noqa: FBT001
    ) -> Any:
        """A call that is not simple, or was refused."""
        self._usable_core()
        body = self._encode(args, kwargs, pickle)
        seconds = limited(self.config.timeout if timeout is None else timeout)
        if peer._id == 0:
            until = time.monotonic()
            peer.resolve()
            seconds -= time.monotonic() - until
        if not seconds > 0:
            raise no_time(method, peer)
        us, name = microseconds(seconds), method.encode()
        found = self._wait_body(peer, name, body, us)
        if found == FULL:
            time.sleep(0.001)  # whoever leads empties the submission ring
            found = self._wait_body(peer, name, body, us)
        if found == 0:
            raise table_full(self.config.calls)
        if isinstance(found, int):
            raise self._refused(found, method)
        return self._ended(peer, method, pickle, *found)

    def _wait_body(
        self, peer: Peer, name: bytes, body: Encoded, us: int
    ) -> int | tuple[int, int, bytes | memoryview]:
        """Status, outcome and bytes of a call; or why it was refused, 0 at the limit of calls."""
        how: int | tuple[int, int, bytes | memoryview] = self._link.wait_body(
            self, peer._id, name, body, us
        )
        return how

    def _ended(
        self,
        peer: Peer,
        method: str,
        pickled: bool,  # noqa: FBT001
        status: int,
        outcome: int,
        data: bytes | memoryview,
    ) -> Any:
        """What the caller gets of a call that did not end with a simple value."""
        if status == OK:
            return reply_value(self._codec, data, method, peer, pickled)
        raise call_error(self._codec, status, outcome, data, method, peer, closing=self._closing)

    def _failed(self, code: int) -> None:
        """The core stopped while a thread waited, or this is a fork of the process."""
        raise _lib.code_error(code, outcome=Outcome.UNKNOWN)

    def _look_for_released(self) -> None:
        """What was lent for a call is the application's again when it returns."""
        if not self._serves.is_set():
            self._look(RELEASE_WAIT)

    # ---- serving ----

    def on_peer(self, function: Callable[[PeerEvent], None]) -> Callable[[PeerEvent], None]:
        """Decorator: call ``function(event)`` whenever a peer comes, goes, stalls or recovers.

        It is called in the thread that reads events and must not block. Peers with open calls
        report by themselves; ``peer.watch()`` asks for news of one without.
        """
        self._serves.set()
        return super().on_peer(function)

    def _look(self, patience: int) -> None:
        """Handle what events come within so many microseconds, unless somebody does."""
        try:
            self._link.look(self, patience)
        except Exception:  # noqa: BLE001  the next event must still be read
            logger.exception(UNHANDLED, self)

    def _accepts(self, method: Method) -> None:
        if method.kind is Kind.COROUTINE:
            raise ConfigError(
                f"method {method.name!r} is a coroutine function: a blocking node runs plain "
                "functions, rudp.Node runs both"
            )
        self._serves.set()

    def _submitted_elsewhere(self) -> None:
        """The core sends what is submitted at once while no loop drives it (Rule 5).

        But what its ring had no room for, somebody has to submit again.
        """
        while self._unsent:
            time.sleep(0.001)
            self._send_again()

    def _stopped(self) -> None:
        """Open calls have ended, and new ones are refused by the core."""


def _read(reference: Callable[[], Node | None], core: _lib.Core) -> None:
    """The reader thread: events in order, until the node closes.

    It holds the node only while there is something to do, so that one nobody closed can go.
    """
    while core.open:
        node = reference()
        if node is None:
            return
        serves = node._serves
        if not serves.is_set():
            node._look(0)
            del node
            serves.wait(LOOK_SECONDS)
            continue
        del node
        try:
            if attend(reference, READER_SLICE) not in (0, TIMEOUT, SIGNAL):
                return
        except BaseException:  # noqa: BLE001  sys.exit in a handler ends the handler, not us
            logger.exception(UNHANDLED, reference())
