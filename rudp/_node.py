"""How does a node live in an event loop?

    call()      submits, schedules one turn per tick of the loop, returns a future
    _ready()    the core's descriptor is readable: a turn is due (Rule 11)
    _turn()     packets in and out, then the events; bounded, the rest in the next tick (Rule 12)

No coroutine, timer or callback per call: deadlines live in the core (Rule 14), and a call that is
cancelled tells the core from the future's own ``cancel``. The traps: the loop may hold the node
only weakly (Rule 13), and events count as taken one by one (Rule 9).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from asyncio import _get_running_loop  # the running loop or None: one call says thread and loop
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rudp import _lib
from rudp._calls import GENERATION, HANDLES, INDEX, Calls, call_error
from rudp._codec import Encoded
from rudp._endpoint import Endpoint
from rudp._errors import DeadlineExceeded, NodeClosed, Outcome, RudpError, SerializationError
from rudp._lib import (
    CANCELLED,
    EXCEPTION,
    FORKED,
    FULL,
    OK,
    PACKET_BODY,
    rudp_call,
    rudp_call_memory,
    rudp_cancel,
    rudp_turn,
)
from rudp._peer import BasePeer
from rudp._resolve import Address, parse, resolve
from rudp._serving import Method, Request, bound_request, limited
from rudp._threads import in_thread

BATCH = 64  # events per turn (Rule 12)
ROUNDS = 4  # turns in a row while inline handlers keep answering
CLOSE_SECONDS = 5.0
LONGEST = 1e9  # seconds: about 31 years, and still a whole number of microseconds in 64 bits
EAGER = sys.version_info >= (3, 12)


class Call(asyncio.Future[Any]):
    """The future of one call. Cancelling it cancels the handler at the peer.

    It is also accepted where asyncio wants a coroutine: ``create_task``, ``TaskGroup``.
    """

    __slots__ = ("handle", "method", "node", "peer", "pickled")

    handle: int
    method: str
    node: Node
    peer: Peer
    pickled: bool

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the call, here and at the peer."""
        if not super().cancel(msg):
            return False
        self.node._abandon(self.handle)
        return True

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "finished" if self.done() else "pending"
        return f"<Call {self.method!r} to {self.peer.address} {state}>"

    def send(self, _value: None, /) -> Any:
        """One step, for a task that was made of this future (``create_task``)."""
        if self.done():
            raise StopIteration(self.result())
        self._asyncio_future_blocking = True
        return self

    def throw(self, kind: Any, value: Any = None, trace: TracebackType | None = None) -> Any:
        """The task was cancelled, or the call failed: both end it."""
        error = value if value is not None else kind() if isinstance(kind, type) else kind
        raise error.with_traceback(trace) if trace is not None else error

    def close(self) -> None:
        """The task is gone; nothing is held for it."""


class Peer(BasePeer):
    """A node at an address, as seen from one of ours; made by ``node.peer(address)``."""

    __slots__ = ()

    _node: Node

    def call(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        pickle: bool = False,
        **kwargs: Any,
    ) -> Call:
        """Call ``method`` at the peer; ``await`` gives its result.

        ``timeout`` is in seconds, None means ``Config.timeout``; inside a handler it never exceeds
        what is left of the request that is being served. ``pickle`` sends and accepts any Python
        object, for methods registered with ``pickle=True``.

        Raises a ``CallError`` whose ``outcome`` says whether the handler ran, ``RemoteError`` with
        the remote traceback if it raised, ``SerializationError`` if the arguments cannot be sent.
        """
        node = self._node
        loop = _get_running_loop()
        if loop is None or loop is not node._loop:
            raise node._misused()
        seconds = node._default_timeout if timeout is None else timeout
        if bound_request(None) is not None:
            seconds = limited(seconds)
        call = Call(loop=loop)
        call.handle = 0
        call.method = method
        call.node = node
        call.peer = self
        call.pickled = pickle
        try:
            if pickle or kwargs:
                body = node._encode_special(args, kwargs, pickle)
            else:
                body = node._codec.encode(args)
            if self._id == 0 and not self._known():
                node._submit_when_resolved(call, body, seconds)
            else:
                node._submit(call, body, seconds)
        except RudpError as error:
            call.set_exception(error)  # where it is awaited, like every other error of a call
        return call

    def watch(self, *, enabled: bool = True) -> None:
        """Ask for news of this peer (``node.on_peer``) even while no call to it is open.

        Dials the peer if need be, and keeps dialling. The name must have been resolved: see
        ``resolve``.
        """
        if self._id == 0 and not self._known():
            raise RudpError(f"{self!r} is not resolved yet: await peer.resolve() first")
        self._node._usable_core().watch(self._id, watch=enabled)
        self._node._wake()

    async def resolve(self) -> Self:
        """Resolve the name now; ``AddressError`` if that fails. Calls do it by themselves."""
        if self._id == 0 and not self._known():
            family = self._node._usable_core().address().family
            found = await in_thread(_resolve, self._address, family)
            if self._id == 0:
                self._bind(found)
        return self

    def _known(self) -> bool:
        """Whether the address is numeric; binds it to the core then."""
        if self._resolved is None:
            return False
        self._bind(self._resolved)
        return True


class Node(Endpoint[Peer]):
    """A node in an event loop: serves methods and calls those of its peers.

    ``address`` is ``host:port`` to listen on; port 0 lets the system pick one. ``key`` (32 bytes,
    64 hexadecimal digits, or a file) is the cluster's; without one (or ``RUDP_KEY``,
    ``RUDP_KEY_FILE`` in the environment) only loopback addresses are allowed unless ``insecure``.
    ``other_key`` is accepted too, during a rotation. ``config`` holds all limits.

    Use ``async with``, or ``await node.open()`` and ``await node.close()``. Belongs to the loop it
    was opened on; ``rudp.sync`` is the twin for threads. Raises ``BindError`` or ``AddressError``
    when it cannot be opened.
    """

    _peer_class = Peer
    _loop: asyncio.AbstractEventLoop | None = None
    _due = False  # a turn is scheduled

    # ---- life ----

    async def open(self) -> Self:
        """Open the node on the running loop."""
        listen = await in_thread(resolve, self._wanted) if self._named() else resolve(self._wanted)
        self._open_core(listen)
        core = self._usable_core()
        self._calls: Calls[Call] = Calls(self.config.calls)
        self._pending, self._free = self._calls.pending, self._calls.free
        self._default_timeout = self.config.timeout
        self._resolving: set[asyncio.Task[Peer]] = set()
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._loop.add_reader(core.descriptor, _ready, weakref.ref(self))
        core.drive_by_loop(loop=True)
        return self

    async def close(self, *, timeout: float = CLOSE_SECONDS) -> None:
        """Close the node; at most ``timeout`` seconds, and at once if nothing is under way.

        Running handlers may finish and their replies are delivered; calls of this node that are
        still open then end with ``NodeClosed``. Closing twice is fine.
        """
        if self._core is None or self._loop is None:
            return
        if asyncio.get_running_loop() is not self._loop:
            raise self._misused()
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        try:
            await self._finish_handlers(timeout)
        finally:
            await self._shut(timeout)

    async def _finish_handlers(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        own = asyncio.current_task()
        while loop.time() < until and self._core is not None and self._core.open:
            if all(running is own for running in self._running.values()):
                break
            await asyncio.sleep(0.002)
        for running in list(self._running.values()):
            if isinstance(running, asyncio.Task) and running is not own:
                running.cancel()

    async def _shut(self, timeout: float) -> None:
        loop, core = self._loop, self._core
        if loop is None or core is None or not core.open:
            return
        for call in self._calls.open():
            rudp_cancel(self._handle, call.handle)
        self._turn()  # their events come at once: each says what is known of the handler
        loop.remove_reader(core.descriptor)
        self._loop = None
        self._fail_all(NodeClosed("this node was closed", outcome=Outcome.UNKNOWN))
        pool, self._pool = self._pool, None
        core.seal()  # here, not in the thread: nothing of this loop is between a look and a call
        try:
            await asyncio.shield(in_thread(core.free, timeout))
        finally:
            if pool is not None:
                pool.stop(0.0)
            self._closed.set()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _named(self) -> bool:
        return parse(self._wanted) is None

    def _misused(self) -> Exception:
        """Why a call from here is refused (Rule 13)."""
        core = self._usable_core()  # raises if the node is not open, closed, or of another process
        if self._loop is None:
            return core.closed_error()
        running = _get_running_loop()
        where = "another event loop" if running is not None else "a thread without its event loop"
        hint = "rudp.sync has the node for threads"
        return RuntimeError(f"{self!r} was used from {where}; it belongs to one loop: {hint}")

    # ---- turns ----

    def _wake(self) -> None:
        """Have a turn in this tick of the loop: one for all that is submitted in it (Rule 12)."""
        if not self._due and self._loop is not None:
            self._due = True
            self._loop.call_soon(self._turn)

    def _submitted_elsewhere(self) -> None:
        loop = self._loop
        if loop is not None and not self._due:
            with contextlib.suppress(
                RuntimeError
            ):  # the loop was closed without the node: nobody will send it
                loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        self._due = False
        core = self._core
        if core is None or not core.open:
            return
        read = 0
        try:
            for _ in range(ROUNDS):
                self._dirty = False
                taken, self._taken = self._taken, 0
                ready = rudp_turn(self._handle, taken, self._queued())
                if ready <= 0:
                    break
                read = min(ready, BATCH)
                self._read_events(read)
                if not self._dirty:
                    break
            if ready < 0:
                self._broken(ready)
            elif self._unsent:
                self._send_again()
        finally:
            # What was read is given back after the tasks it woke have submitted: a flush as well.
            if self._taken or self._dirty:
                self._wake()

    def _broken(self, code: int) -> None:
        """The core answers no more. In a forked child nothing of the parent's loop is touched."""
        if code != FORKED:
            self._stopped()
            self._fail_all(_lib.code_error(code))

    def _stopped(self) -> None:
        if self._loop is not None and self._core is not None:
            self._loop.remove_reader(self._core.descriptor)

    # ---- calls ----

    def _encode_special(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        pickle: bool,  # noqa: FBT001
    ) -> Encoded:
        if not pickle:
            return self._codec.encode_arguments(args, kwargs)
        self._require_key()
        return self._codec.encode_pickle({0: args, 1: kwargs} if kwargs else args)

    def _submit(self, call: Call, body: Encoded, seconds: float) -> None:
        method = call.method
        if not seconds > 0:
            text = f"call of {method!r}: no time is left"
            raise DeadlineExceeded(text, outcome=Outcome.NO, method=method, peer=call.peer.address)
        microseconds = int(min(seconds, LONGEST) * 1e6) or 1
        handle = self._free.pop() if self._free else self._calls.new()
        index = handle & INDEX
        call.handle = handle
        self._pending[index] = call
        code = self._hand_over(call, method.encode(), body, microseconds)
        if code == FULL:
            rudp_turn(self._handle, 0, 0)  # empties the submission ring
            code = self._hand_over(call, method.encode(), body, microseconds)
        if code < 0:
            self._calls.drop(handle)
            call.handle = 0
            raise self._refused(code, method)
        if not self._due:
            self._wake()

    def _hand_over(self, call: Call, name: bytes, body: Encoded, microseconds: int) -> int:
        peer = call.peer._id
        if type(body) is bytes and len(body) + len(name) <= PACKET_BODY:
            return rudp_call(
                self._handle, call.handle, peer, 0, microseconds, name, len(name), body, len(body)
            )
        memory = self._usable_core().lend([body] if isinstance(body, bytes) else body)
        return rudp_call_memory(
            self._handle, call.handle, peer, 0, microseconds, name, len(name), memory
        )

    def _submit_when_resolved(self, call: Call, body: Encoded, seconds: float) -> None:
        """The peer's name is resolved in a thread first, within the call's own time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        task = loop.create_task(call.peer.resolve())
        self._resolving.add(task)

        def late() -> None:
            task.cancel()
            if not call.done():
                text = f"call of {call.method!r}: {call.peer.address} did not resolve in time"
                call.set_exception(DeadlineExceeded(text, outcome=Outcome.NO, method=call.method))

        def resolved(_: object) -> None:
            timer.cancel()
            self._resolving.discard(task)
            if call.done() or task.cancelled():
                return
            try:
                task.result()
                self._submit(call, body, until - loop.time())
            except (RudpError, OSError) as error:
                call.set_exception(error)

        timer = loop.call_later(max(0.0, min(seconds, LONGEST)), late)
        task.add_done_callback(resolved)

    def _abandon(self, handle: int) -> None:
        """The caller lost interest; its table entry lives until the core says DONE."""
        if handle and self._core is not None and self._core.open:
            rudp_cancel(self._handle, handle)
            self._wake()

    def _finished(self, event: tuple[int, ...]) -> None:
        handle, at, size, memory = event[9], event[11], event[12], event[13]
        index = handle & INDEX
        call = self._pending[index] if index < len(self._pending) else None
        body: bytes | memoryview
        body = _lib.received(memory, size) if memory else self._arena[at : at + size].tobytes()
        if call is None or call.handle != handle:
            return  # of a generation that is gone
        self._pending[index] = None
        self._free.append((handle + GENERATION) & HANDLES)
        if call.done():
            return  # cancelled here
        status = event[1]
        if status == OK:
            try:
                value = self._codec.decode(body, pickled=call.pickled)
            except SerializationError as error:
                call.set_exception(error)
            else:
                call.set_result(value)
        else:
            call.set_exception(
                call_error(
                    self._codec,
                    status,
                    event[2],
                    body,
                    call.method,
                    call.peer,
                    closing=self._closing,
                )
            )

    def _fail_all(self, error: Exception) -> None:
        for call in self._calls.open():
            self._calls.drop(call.handle)
            if not call.done():
                call.set_exception(error)

    # ---- serving ----

    def _start(self, method: Method, request: Request, args: Any, kwargs: Any) -> None:
        loop = self._loop
        if loop is None:
            return
        step = self._serve(method, request, args, kwargs)
        options: dict[str, Any] = {"eager_start": True} if EAGER else {}
        task = asyncio.Task(step, loop=loop, **options)
        if not task.done():
            self._running[request.id] = task

    async def _serve(self, method: Method, request: Request, args: Any, kwargs: Any) -> None:
        """A coroutine method from its arguments to its reply; no done callback (Rule 23)."""
        status, body = CANCELLED, b""
        try:
            function = method.function
            result = await (function(*args, **kwargs) if kwargs else function(*args))
            encoded: Encoded = self._encode_result(method, result)
            status = OK
        except asyncio.CancelledError:
            encoded = body  # by the caller, or because the node closes
        except Exception as error:  # noqa: BLE001  it becomes the caller's
            status, encoded = EXCEPTION, self._encode_error(error)
        finally:
            request.open = False
            self._running.pop(request.id, None)
        if self._core is not None and self._core.open:
            self._reply(request.id, status, encoded)
            self._wake()


def _ready(reference: Callable[[], Node | None]) -> None:
    node = reference()
    if node is not None:
        node._turn()


def _resolve(address: Any, family: int) -> Address:
    return resolve(address, family=family)
