"""How are events read, and how does a request become a reply?

The two nodes share all of it but how they wait; what they differ in are the abstract methods:

    rudp.Node        the event loop runs turns; results are futures
    rudp.sync.Node   callers run turns while they wait; a thread reads the events

Events are read by one thread at a time, in the order of the engine (Rule 7). A request ends by
exactly one ``_end``, also when it was cancelled: only then its slot is free (C3).
"""

from __future__ import annotations

import abc
import asyncio
import collections
import contextvars
from collections.abc import Callable
from typing import Any

from rudp import _lib
from rudp._codec import Codec, Encoded
from rudp._config import Config
from rudp._errors import NodeClosed, SerializationError
from rudp._lib import (
    CANCEL,
    CANCELLED,
    EXCEPTION,
    FULL,
    OK,
    PACKET_REPLY,
    PEER,
    STATUS,
    STOPPED,
    STRANGER,
    microseconds,
    rudp_refuse,
    rudp_reply,
    rudp_reply_memory,
)
from rudp._log import logger
from rudp._peer import STATES, PeerEvent, reason_error, reason_text
from rudp._serving import (
    Method,
    Pool,
    Request,
    bind_request,
    bound_request,
    call_with_request,
    describe_exception,
    node_clock,
)

SIMPLE = 2048  # bytes and values: below, a message of scalars in one packet may break a limit
ERROR_AROUND = 64  # bytes that three texts take besides their own
REFUSE_LATE = STATUS["DEADLINE"]
REFUSE_BAD = STATUS["BAD_REQUEST"]
REFUSE_UNKNOWN = STATUS["NO_METHOD"]
REFUSE_CLOSING = STATUS["CLOSED"]
REFUSE_BUSY = STATUS["BUSY"]


class NoLink:
    """Of a node that was never opened: nothing is simple."""

    due = False
    pool: Pool | None = None

    def call(self, *_: Any) -> None:
        """Whoever knows why is asked next."""

    def wait_call(self, *_: Any) -> Any:
        """The same."""
        return NotImplemented


class Dispatcher(abc.ABC):
    """The reading side of a node."""

    _link: Any = NoLink()
    _opened_by = "with"

    def __init__(self, config: Config) -> None:
        self.config = config
        self._codec = Codec(config)
        self._methods: dict[bytes, Method] = {}
        # Those that Link may run: function, name, whether it is a coroutine function, its tasks.
        self._simple: dict[bytes, tuple[Callable[..., Any], str, bool, list[int]]] = {}
        self._running: dict[int, Any] = {}  # request id: its task, or its Request (Rule 23)
        self._watchers: list[Callable[[PeerEvent], None]] = []
        self._peers_by_id: dict[int, Any] = {}
        self._unsent: collections.deque[tuple[int, int, Encoded | None]] = collections.deque()
        self._core: _lib.Core | None = None
        self._pool: Pool | None = None
        self._closing = False

    def _attach(self, core: _lib.Core) -> None:
        self._core = core
        self._handle = core.handle
        self._arena = core.arena

    def _make_link(self, core: _lib.Core, *loop_parts: Any) -> Any:
        config = self.config
        wide = min(config.max_head, config.max_items, config.max_depth * SIMPLE) >= SIMPLE
        parts = (
            *(self._simple, self._running, self._unsent, core.lent, self._codec.packs),
            *(contextvars.copy_context, bound_request, bind_request, Request),
            *loop_parts,
        )
        limits = config.max_head, config.max_message, config.calls
        return _lib.Link(*core.addresses(), microseconds(config.timeout), limits, wide, parts)

    def _usable_core(self) -> _lib.Core:
        core = self._core
        if core is None:
            raise NodeClosed(f"the node is not open yet: use `{self._opened_by}` on {self!r}")
        if not core.open:
            raise core.closed_error()
        return core

    # ---- what the two nodes differ in ----

    def _start(  # noqa: B027
        self, method: Method, request: Request, args: Any, kwargs: Any
    ) -> None:
        """Run a coroutine function; a blocking node has none registered."""

    @abc.abstractmethod
    def _submitted_elsewhere(self) -> None:
        """Another thread than the reading one submitted something: it waits for a turn."""

    @abc.abstractmethod
    def _stopped(self) -> None:
        """The core has stopped."""

    @abc.abstractmethod
    def _exit(self) -> None:
        """The interpreter ends: close in bounded time."""

    @abc.abstractmethod
    def peer_of(self, ident: int) -> Any:
        """The handle of a peer that the core named: a caller, or the subject of news."""

    # ---- events ----

    def _other(self, event: tuple[int, ...]) -> None:
        kind, ident = event[0], event[9]
        if kind == CANCEL:
            self._cancelled(ident)
        elif kind == PEER:
            self._peer_changed(event)
        elif kind == STRANGER:
            # The core tells of one in ten seconds (K10); the rest is counted.
            where = _lib.event_address(event)
            text = "unverified handshake from %s: another key, no key, or not one of us"
            logger.warning(text, where)
        elif kind == STOPPED:
            logger.error("the core of %r stopped after an internal error", self)
            self._stopped()

    def _cancelled(self, ident: int) -> None:
        running = self._running.get(ident)
        if isinstance(running, asyncio.Task):
            running.cancel()
        elif running is not None:
            running.cancelled = True  # a thread cannot be stopped, but it may ask

    def _peer_changed(self, event: tuple[int, ...]) -> None:
        _, status, _, state, flags, _, _, ident, *_ = event
        if not self._watchers:
            return
        gone = bool(status)
        news = PeerEvent(
            peer=self.peer_of(ident),
            state=STATES[state],
            reason=reason_text(status) if gone else "",
            error=reason_error(status) if gone else None,
            same_life=bool(flags & 1),
            stalled=bool(flags & 2),
        )
        for watcher in self._watchers:
            try:
                watcher(news)
            except Exception:  # noqa: BLE001  the event was read, the node goes on
                logger.exception("a function registered with on_peer failed")

    # ---- requests ----

    def _requested(self, event: tuple[int, ...]) -> None:
        _, _, _, _, _, name_size, extra, peer, _, ident, left, at, size, memory, made = event
        end = at + name_size
        method = self._methods.get(self._arena[at:end].tobytes())
        if memory:
            data: bytes | memoryview = _lib.received(memory, size)
        else:
            end += extra
            data = self._arena[end : end + size].tobytes()
        if method is None:
            self._refuse(ident, REFUSE_UNKNOWN)
        elif self._closing:
            self._refuse(ident, REFUSE_CLOSING)
        elif made + left < node_clock():  # it lay here while Python was away (section 3)
            self._refuse(ident, REFUSE_LATE)
        else:
            request = Request(ident, method.name, made + left, self, peer)
            if method.inline:
                self._run_inline(method, request, data)
            elif method.threaded:
                self._running[ident] = request
                if not self._workers().submit(self._run_in_thread, method, request, data):
                    del self._running[ident]
                    self._refuse(ident, REFUSE_BUSY)
            else:
                self._run_on_loop(method, request, data)

    def _run_inline(self, method: Method, request: Request, data: bytes | memoryview) -> None:
        try:
            args, kwargs = self._codec.decode_arguments(data, pickled=method.pickle)
        except SerializationError as error:
            self._undecodable(request.id, request.method, error)
            return
        try:
            # A context of its own, so that nothing a handler sets is seen by the next one.
            result = contextvars.copy_context().run(
                call_with_request, request, method.function, args, kwargs
            )
        except BaseException as error:
            request.open = False
            if self._answer_error(request.id, error):
                raise
        else:
            request.open = False  # what it started and left behind is not bound by its deadline
            self._answer(request.id, result, method.pickle)

    def _answer(self, ident: int, result: Any, pickle: bool) -> None:  # noqa: FBT001
        """End a request with this value, or with why it cannot be sent."""
        try:
            codec = self._codec
            body = codec.encode_pickle(result) if pickle else codec.encode(result)
        except Exception as error:  # noqa: BLE001  it becomes the caller's
            self._answer_error(ident, error)
        else:
            self._end(ident, OK, body)

    def _answer_error(self, ident: int, error: BaseException) -> bool:
        """End a request with this exception; True if it is the program's as well.

        KeyboardInterrupt ends the program, but the caller need not wait for nothing. A handler is
        cancelled by its caller, or because the node closes: nobody reads what it has to say.
        """
        if isinstance(error, asyncio.CancelledError):
            self._end(ident, CANCELLED, b"")
            return False
        self._end(ident, EXCEPTION, self._encode_error(error))
        return not isinstance(error, Exception)

    def _run_on_loop(self, method: Method, request: Request, data: bytes | memoryview) -> None:
        try:
            args, kwargs = self._codec.decode_arguments(data, pickled=method.pickle)
        except SerializationError as error:
            self._undecodable(request.id, request.method, error)
            return
        self._start(method, request, args, kwargs)

    def _undecodable(self, ident: int, method: str, error: SerializationError) -> None:
        logger.warning("a request for %r cannot be decoded: %s", method, error)
        self._refuse(ident, REFUSE_BAD)

    def _run_in_thread(self, method: Method, request: Request, data: bytes | memoryview) -> None:
        """What a thread of the pool does with a request."""
        try:
            end = self._work(method, request, data)
        except BaseException as error:  # noqa: BLE001  sys.exit ends the handler, not the thread
            end = EXCEPTION, self._encode_error(error)
        core = self._core
        if core is None or core.forked:
            return
        with core.lock:  # a close waits for what runs, and this runs until it is answered
            self._running.pop(request.id, None)
            self._end(request.id, *end)
        self._submitted_elsewhere()

    def _work(
        self, method: Method, request: Request, data: bytes | memoryview
    ) -> tuple[int, Encoded | None]:
        if request.cancelled:
            return CANCELLED, None
        if request.remaining <= 0:  # C8: checked again before a queued function starts
            return REFUSE_LATE, None
        try:
            args, kwargs = self._codec.decode_arguments(data, pickled=method.pickle)
        except SerializationError as error:
            logger.warning("a request for %r cannot be decoded: %s", method.name, error)
            return REFUSE_BAD, None
        try:
            result = call_with_request(request, method.function, args, kwargs)
            return OK, self._encode_result(method, result)
        except Exception as error:  # noqa: BLE001  it becomes the caller's
            return EXCEPTION, self._encode_error(error)
        finally:
            request.open = False

    def _workers(self) -> Pool:
        if self._pool is None:
            self._pool = self._link.pool = Pool(self.config.threads, "rudp-method")
        return self._pool

    # ---- replies ----

    def _encode_result(self, method: Method, result: Any) -> Encoded:
        if method.pickle:
            return self._codec.encode_pickle(result)
        return self._codec.encode(result)

    def _encode_error(self, error: BaseException) -> Encoded:
        room = self.config.max_head if self.config.tcp else PACKET_REPLY
        return self._codec.encode(describe_exception(error, room - ERROR_AROUND))

    def _end(self, ident: int, status: int, body: Encoded | None) -> None:
        """End a request, by any thread: with a reply, or refused if there is no body.

        A handler may have closed its own node, or outlived a close that waited for it long enough.
        """
        core = self._core
        if core is None or core.forked:
            return
        with core.lock:  # no close frees the node between this look and the reply
            if core.open and self._end_once(ident, status, body) == FULL:
                self._unsent.append((ident, status, body))

    def _end_once(self, ident: int, status: int, body: Encoded | None) -> int:
        if body is None:
            return rudp_refuse(self._handle, ident, status)
        if type(body) is bytes and len(body) <= PACKET_REPLY:
            return rudp_reply(self._handle, ident, status, body, len(body))
        return rudp_reply_memory(self._handle, ident, status, self._lend(body))

    def _lend(self, body: Encoded) -> Any:
        self._usable_core()
        return _lib.memory_at(self._link.lend(body))

    def _refuse(self, ident: int, status: int) -> None:
        """Say that the handler never ran and never will."""
        self._end(ident, status, None)

    def _send_again(self) -> None:
        """What the submission ring had no room for, after a turn has emptied it."""
        core = self._core
        if core is None or core.forked:
            return
        with core.lock:
            for _ in range(len(self._unsent)):
                self._end(*self._unsent.popleft())
