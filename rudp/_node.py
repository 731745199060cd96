"""How does a node live in an event loop?

    call()      submits, schedules one turn per tick of the loop, returns what to await
    _ready()    the core's descriptor is readable: a turn is due (Rule 11)
    _turn()     packets in and out, then the events; bounded, the rest in the next tick (Rule 12).
                What went out may be answered at once, so it looks for a moment longer (Rule 15)

No timer, task or done callback per call: deadlines live in the core (Rule 14). The traps: the loop
may hold the node only weakly (Rule 13), and events count as taken one by one (Rule 9).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import weakref
from asyncio import _get_running_loop  # the running loop or None: one call says thread and loop
from collections.abc import Callable
from threading import active_count, get_ident
from time import monotonic
from typing import Any, Self

from rudp import _lib
from rudp._calls import GENERATION, HANDLES, INDEX, Calls, call_error
from rudp._codec import MAGIC_FIRST, Encoded
from rudp._endpoint import Endpoint
from rudp._errors import DeadlineExceeded, NodeClosed, Outcome
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
    rudp_linger,
    rudp_turn,
)
from rudp._life import EXIT_SECONDS
from rudp._loop_peer import Peer
from rudp._resolve import parse, resolve
from rudp._serving import Method, Request, bound_request, limited
from rudp._tasks import start_eagerly
from rudp._threads import in_thread
from rudp._waiter import ENDED, FAILED, GONE, PENDING, RAW, VALUE, Waiter, waiter_of

BATCH = 24  # events between two flushes: the peer works on them while the rest is read (Rule 12)
ROUNDS = 10  # turns in a row while tasks and handlers keep submitting
LINGER = 100  # microseconds to look for an answer before the loop sleeps (Rule 15)
# Where another thread computes, a pass through the loop costs a switch interval, 5 ms (Rule 1).
AWAY = 0.002  # seconds: who comes back later may have waited for the GIL
CROWDED_FOR = 0.1  # seconds
ROUNDS_CROWDED = 64
LINGER_CROWDED = 1000  # microseconds
CLOSE_SECONDS = 5.0
NAMES_KEPT = 1024  # method names kept in their encoded form
LONGEST = 1e9  # seconds: about 31 years, and still a whole number of microseconds in 64 bits


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
    _thread = 0  # of the loop; 0: not open
    _due = False  # a turn is scheduled, or under way
    _left = 0.0  # seconds: when the last turn ended
    _crowded_until = 0.0

    # ---- life ----

    async def open(self) -> Self:
        """Open the node on the running loop."""
        listen = await in_thread(resolve, self._wanted) if self._named() else resolve(self._wanted)
        self._open_core(listen)
        core = self._usable_core()
        self._calls: Calls[Waiter] = Calls(self.config.calls)
        self._pending, self._free = self._calls.pending, self._calls.free
        self._handles = self._calls.handles
        self._default_timeout = self.config.timeout
        self._loop = asyncio.get_running_loop()
        self._waiter = waiter_of(self._loop)
        self._woken: collections.deque[Waiter] = collections.deque()  # finished, to be resumed
        self._encode, self._unpack = self._codec.quick()
        self._names: dict[str, bytes] = {}  # methods called, encoded
        self._thread = get_ident()
        self._closed = asyncio.Event()
        self._loop.add_reader(core.descriptor, _ready, weakref.ref(self))
        # What the loop has to do at once; of a loop that does not tell, something always.
        self._others: Any = getattr(self._loop, "_ready", (None,))
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
        for handle in self._calls.open():
            rudp_cancel(self._handle, handle)
        self._turn()  # their events come at once: each says what is known of the handler
        loop.remove_reader(core.descriptor)
        self._loop = None
        self._thread = 0
        self._fail_all(NodeClosed("this node was closed", outcome=Outcome.UNKNOWN))
        pool, self._pool = self._pool, None
        core.seal()  # here, not in the thread: nothing of this loop is between a look and a call
        try:
            await asyncio.shield(in_thread(core.free, timeout))
        finally:
            if pool is not None:
                pool.stop(0.0)
            self._closed.set()

    def _exit(self) -> None:
        loop, core = self._loop, self._core
        if loop is not None and loop.is_running():  # in a daemon thread, which is still at work
            closing = asyncio.run_coroutine_threadsafe(self.close(timeout=EXIT_SECONDS), loop)
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                closing.result(EXIT_SECONDS * 2)
        elif core is not None and core.seal():
            core.free(EXIT_SECONDS)

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

    def _loop_ended(self) -> bool:
        return self._loop is None or self._loop.is_closed()

    # ---- turns ----

    def _wake(self) -> None:
        """Have a turn in this tick of the loop: one for all that is submitted in it (Rule 12)."""
        if not self._due and self._loop is not None:
            self._due = True
            self._loop.call_soon(self._turn)

    def _submitted_elsewhere(self) -> None:
        """A thread's reply has left by a turn of its own, unless the ring was full."""
        loop = self._loop
        if loop is not None and self._unsent:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody will send it
                loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        core = self._core
        if core is None or not core.open:
            self._due = False
            return
        self._due = True  # whatever is submitted meanwhile leaves with the next round
        worked, others = self._dirty, self._others
        rounds, patience = ROUNDS, LINGER
        now = monotonic()
        if now - self._left > AWAY and active_count() > 1:
            self._crowded_until = now + CROWDED_FOR
        if now < self._crowded_until:
            rounds, patience = ROUNDS_CROWDED, LINGER_CROWDED
        try:
            for _ in range(rounds):
                self._dirty = False
                taken, self._taken = self._taken, 0
                ready = rudp_turn(self._handle, taken, self._queued())
                if ready == 0 and worked and not others and not self._running:
                    ready = rudp_linger(self._handle, patience)
                if ready <= 0:
                    break
                worked = True
                self._read_events(min(BATCH, ready))
                if self._woken:
                    self._resume()
                if not self._dirty and others:
                    break
            if ready < 0:
                self._broken(ready)
            elif self._unsent:
                self._send_again()
        finally:
            self._due = False
            self._left = monotonic()
            # What was read is given back after the tasks it woke have submitted: a flush as well.
            if self._taken or self._dirty or self._woken:
                self._wake()

    def _resume(self) -> None:
        """Step the tasks whose calls have ended; one that raises keeps none of the others."""
        woken, loop = self._woken, self._loop
        if asyncio.current_task(loop) is None:
            while woken:
                woken.popleft().resume()
            return
        while woken:  # the node is being closed by a task, which must not step others
            waiter = woken.popleft()
            if waiter.callback is not None and loop is not None:
                loop.call_soon(waiter.resume)

    def _broken(self, code: int) -> None:
        """The core answers no more. In a forked child nothing of the parent's loop is touched."""
        if code != FORKED:
            self._stopped(code)

    def _stopped(self, code: int = _lib.BROKEN) -> None:
        if self._loop is not None and self._core is not None:
            self._loop.remove_reader(self._core.descriptor)
        self._fail_all(_lib.code_error(code, outcome=Outcome.UNKNOWN))

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

    def _submit(self, peer: Peer, method: str, body: Encoded, timeout: float | None) -> int:
        """Hand a call over to the core; its handle."""
        seconds = self._default_timeout if timeout is None else timeout
        if bound_request(None) is not None:
            seconds = limited(seconds)
        if not seconds > 0:
            text = f"call of {method!r} at {peer.address}: no time is left"
            raise DeadlineExceeded(text, outcome=Outcome.NO, method=method, peer=peer.address)
        microseconds = int(seconds * 1e6) or 1 if seconds < LONGEST else int(LONGEST * 1e6)
        handle = self._free.pop() if self._free else self._calls.new()
        name = self._names.get(method)
        if name is None:
            name = method.encode()
            if len(self._names) < NAMES_KEPT:
                self._names[method] = name
        if type(body) is bytes and len(body) + len(name) <= PACKET_BODY:
            size = len(body)
            code = rudp_call(
                self._handle, handle, peer._id, 0, microseconds, name, len(name), body, size
            )
            if code == FULL:
                rudp_turn(self._handle, 0, 0)  # empties the submission ring
                code = rudp_call(
                    self._handle, handle, peer._id, 0, microseconds, name, len(name), body, size
                )
        else:
            code = self._submit_memory(handle, peer, microseconds, name, body)
        if code < 0:
            self._calls.drop(handle)
            raise self._refused(code, method)
        self._handles[handle & INDEX] = handle
        return handle

    def _submit_memory(
        self, handle: int, peer: Peer, microseconds: int, name: bytes, body: Encoded
    ) -> int:
        core = self._usable_core()
        code = FULL
        for _ in range(2):
            memory = core.lend([body] if isinstance(body, bytes) else body)
            code = rudp_call_memory(
                self._handle, handle, peer._id, 0, microseconds, name, len(name), memory
            )
            if code != FULL:
                break
            rudp_turn(self._handle, 0, 0)
        return code

    async def _result(
        self,
        waiter: Waiter,
        handle: int,
        method: str,
        peer: Peer,
        pickled: bool,  # noqa: FBT001  the one caller is above
    ) -> Any:
        """Wait for the end of a call, and turn it into its result or error."""
        if waiter.state == PENDING:
            try:
                await waiter
            except (asyncio.CancelledError, GeneratorExit):
                # The caller lost interest; the table's entry lives until the core says DONE.
                waiter.state = GONE
                if self._core is not None and self._core.open:
                    rudp_cancel(self._handle, handle)
                    self._wake()
                raise
        if waiter.state == VALUE:
            return waiter.data
        if waiter.state == RAW:
            return self._codec.decode(waiter.data, pickled=pickled)
        if waiter.state == FAILED:
            raise waiter.data
        status, outcome, body = waiter.data
        raise call_error(self._codec, status, outcome, body, method, peer, closing=self._closing)

    async def _call_by_name(
        self,
        peer: Peer,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout: float | None,
        pickle: bool,  # noqa: FBT001
    ) -> Any:
        """The first call of a peer known by name resolves it, within the call's own time."""
        loop = asyncio.get_running_loop()
        seconds = limited(self._default_timeout if timeout is None else timeout)
        until = loop.time() + seconds
        try:
            async with asyncio.timeout(seconds):
                await peer.resolve()
        except TimeoutError:
            text = f"call of {method!r}: {peer.address} did not resolve in time"
            raise DeadlineExceeded(
                text, outcome=Outcome.NO, method=method, peer=peer.address
            ) from None
        return await peer.call(method, *args, timeout=until - loop.time(), pickle=pickle, **kwargs)

    def _finished(self, event: tuple[int, ...]) -> None:
        handle, at, size, memory = event[9], event[11], event[12], event[13]
        body = _lib.received(memory, size) if memory else self._arena[at : at + size]
        index = handle & INDEX
        if self._handles[index] != handle:
            return  # of a generation that is gone
        waiter = self._pending[index]
        self._pending[index] = None
        self._free.append((handle + GENERATION) & HANDLES)
        if waiter is None or waiter.state != PENDING:
            return  # cancelled here
        if event[1] != OK:
            waiter.state = ENDED
            waiter.data = event[1], event[2], bytes(body)
        elif memory or not size or body[0] == MAGIC_FIRST:
            waiter.state = RAW
            waiter.data = body if memory else bytes(body)
        else:
            self._decode_quickly(waiter, body)
        self._woken.append(waiter)

    def _decode_quickly(self, waiter: Waiter, body: memoryview) -> None:
        """Unpack a small result where it lies; whatever is not simple is left to the codec."""
        waiter.state = VALUE
        try:
            value = waiter.data = self._unpack(body)
        except Exception:  # noqa: BLE001  it is decoded once more, which finds the words for it
            value = []
        if value.__class__ is list or value.__class__ is dict:
            waiter.state = RAW
            waiter.data = bytes(body)

    def _fail_all(self, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        for index, waiter in enumerate(self._pending):
            if waiter is not None:
                self._calls.drop(self._handles[index])
                if waiter.state == PENDING:
                    waiter.state, waiter.data = FAILED, error
                    loop.call_soon(waiter.resume)

    # ---- serving ----

    def _start(self, method: Method, request: Request, args: Any, kwargs: Any) -> None:
        loop = self._loop
        if loop is None:
            return
        task = start_eagerly(loop, self._serve(method, request, args, kwargs))
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


# What Python calls a coroutine that was never awaited.
Node._result.__qualname__ = "Peer.call"
