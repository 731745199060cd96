"""How does a node live in an event loop?

    call()      submits, schedules one turn per tick of the loop, returns what to await
    ready()     the core's descriptor is readable: a turn is due (Rule 11)
    turn()      packets in and out, then the events; bounded, the rest in the next tick (Rule 12).
                What went out may be answered at once, so it looks for a moment longer (Rule 15)

The three run in C (``native/python/``), and call here what is not simple.

No timer, task or done callback per call: deadlines live in the core (Rule 14). The traps: the loop
may hold the node only weakly (Rule 13), and events count as taken one by one (Rule 9).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import types
import weakref
from asyncio import (
    _get_running_loop,  # the running loop or None: one call says thread and loop
    tasks,
)
from collections.abc import Coroutine
from threading import active_count, get_ident
from typing import Any, Self

from rudp import _lib
from rudp._calls import call_error, no_time, reply_value, table_full
from rudp._codec import Encoded
from rudp._endpoint import Endpoint
from rudp._errors import DeadlineExceeded, NodeClosed, Outcome
from rudp._lib import (
    FORKED,
    FULL,
    OK,
    PACKET_BODY,
    microseconds,
    rudp_call,
    rudp_call_memory,
    rudp_cancel,
    rudp_turn,
)
from rudp._life import EXIT_SECONDS
from rudp._loop_peer import Peer
from rudp._resolve import parse, resolve
from rudp._serving import (
    Method,
    Request,
    limited,
)
from rudp._spare_task import InContext, SpareTask
from rudp._threads import in_thread

RAW, ENDED, FAILED = _lib.link.RAW, _lib.link.ENDED, _lib.link.FAILED
CLOSE_SECONDS = 5.0
CANCEL_SECONDS = 0.1  # for what a cancelled handler still does
EAGER = sys.version_info >= (3, 12)


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
    _opened_by = "async with"
    _loop: asyncio.AbstractEventLoop | None = None
    _thread = 0  # of the loop; 0: not open

    # ---- life ----

    async def open(self) -> Self:
        """Open the node on the running loop."""
        listen = await in_thread(resolve, self._wanted) if self._named() else resolve(self._wanted)
        self._open_core(listen)
        core = self._usable_core()
        self._default_timeout = self.config.timeout
        self._loop = asyncio.get_running_loop()
        self._link = self._make_link(core, *self._loop_parts(self._loop))
        self._thread = get_ident()
        self._closed = asyncio.Event()
        self._loop.add_reader(core.descriptor, self._link.ready, weakref.ref(self))
        core.drive_by_loop(loop=True)
        return self

    def _loop_parts(self, loop: asyncio.AbstractEventLoop) -> tuple[Any, ...]:
        options: dict[str, Any] = {"loop": loop, **({"eager_start": True} if EAGER else {})}
        return (
            # What the loop has to do at once; of a loop that does not tell, something always.
            *(loop, getattr(loop, "_ready", (None,))),
            # A context of turns, not of whoever asks for one.
            *(active_count, loop.call_soon, {"context": contextvars.copy_context()}),
            None if EAGER else getattr(loop, "__dict__", None),
            *(asyncio.Task, options, types.CoroutineType),
            *(tasks._enter_task, tasks._leave_task, weakref.getweakrefcount),
            *(SpareTask, InContext),
        )

    async def close(self, *, timeout: float = CLOSE_SECONDS) -> None:
        """Close the node; at most ``timeout`` seconds, and at once if nothing is under way.

        Running handlers may finish and their replies are delivered; calls of this node that are
        still open then end with ``NodeClosed``. Closing twice is fine. A handler that closes its
        own node cannot reply any more, and its caller hears so after ``timeout``.
        """
        if self._core is None or self._loop is None:
            return
        if asyncio.get_running_loop() is not self._loop:
            raise self._misused()
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        self._link.simple = False  # requests are refused from now on
        until = self._loop.time() + _lib.bounded(timeout)
        try:
            await self._finish_handlers(until)
        finally:
            await self._shut(until)

    async def _finish_handlers(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        own = asyncio.current_task()
        while loop.time() < until and self._core is not None and self._core.open:
            if all(running is own for running in self._running.values()):
                break
            await asyncio.sleep(0.002)
        tasks = [t for t in self._running.values() if isinstance(t, asyncio.Task) and t is not own]
        for task in tasks:
            task.cancel()
        if tasks:  # their callers hear so, and nobody waits for replies that cannot come
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)

    async def _shut(self, until: float) -> None:
        loop, core = self._loop, self._core
        if loop is None or core is None or not core.open:
            return
        for call in self._link.open():
            rudp_cancel(self._handle, call.handle)
        self._link.deferred = True  # we are in a task, which must not step others
        self._link.turn(self)  # their events come at once: each says what is known of the handler
        loop.remove_reader(core.descriptor)
        self._loop = None
        self._thread = 0
        self._fail_all(NodeClosed("this node was closed", outcome=Outcome.UNKNOWN))
        pool, self._pool = self._pool, None
        core.seal()  # here, not in the thread: nothing of this loop is between a look and a call
        taken = self._link.close()
        try:
            await asyncio.shield(in_thread(core.free, max(0.0, until - loop.time()), taken))
        finally:
            if pool is not None:
                pool.stop(0.0)
            self._closed.set()

    def _exit(self) -> None:
        loop, core = self._loop, self._core
        if core is None or not core.open:  # or it belongs to the process that forked this one
            return
        if loop is not None and loop.is_running():  # in a daemon thread, which is still at work
            closing = asyncio.run_coroutine_threadsafe(self.close(timeout=EXIT_SECONDS), loop)
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                closing.result(EXIT_SECONDS * 2)
        elif core.seal():
            core.free(EXIT_SECONDS, self._link.close())

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
        if self._loop is not None:
            self._link.wake(self)

    def _submitted_elsewhere(self) -> None:
        """A thread's reply has left by a turn of its own, unless the ring was full."""
        loop = self._loop
        if loop is not None and self._unsent:
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody will send it
                loop.call_soon_threadsafe(self._wake)

    def _broken(self, code: int) -> None:
        """The core answers no more. In a forked child nothing of the parent's loop is touched."""
        if code != FORKED:
            self._stopped(code)

    def _stopped(self, code: int = _lib.BROKEN) -> None:
        if self._loop is not None and self._core is not None:
            self._loop.remove_reader(self._core.descriptor)
        self._fail_all(_lib.code_error(code, outcome=Outcome.UNKNOWN))

    # ---- calls ----

    def _submit(
        self,
        peer: Peer,
        method: str,
        body: Encoded,
        timeout: float | None,
        pickle: bool,  # noqa: FBT001
    ) -> Coroutine[Any, Any, Any]:
        """Hand a call over to the core."""
        seconds = limited(self._default_timeout if timeout is None else timeout)
        if not seconds > 0:
            raise no_time(method, peer)
        name, us = method.encode(), microseconds(seconds)
        handle = self._link.reserve()
        if handle == 0:
            raise table_full(self.config.calls)
        try:
            code = self._submit_once(handle, peer, us, name, body)
            if code == FULL:
                rudp_turn(self._handle, 0, 0)  # empties the submission ring
                code = self._submit_once(handle, peer, us, name, body)
            if code < 0:
                raise self._refused(code, method)
        except BaseException:
            self._link.drop(handle)
            raise
        call: Coroutine[Any, Any, Any] = self._link.begin(self, peer, handle, method, pickle)
        return call

    def _submit_once(self, handle: int, peer: Peer, us: int, name: bytes, body: Encoded) -> int:
        if type(body) is bytes and len(body) + len(name) <= PACKET_BODY:
            return rudp_call(
                self._handle, handle, peer._id, 0, us, name, len(name), body, len(body)
            )
        memory = self._lend(body)
        return rudp_call_memory(self._handle, handle, peer._id, 0, us, name, len(name), memory)

    def _ended(self, call: Any, state: int, data: Any) -> Any:
        """What the caller of a call gets that did not end with a simple value."""
        if state == RAW:
            return reply_value(self._codec, data, call.method, call.peer, call.pickled)
        if state == FAILED:
            raise data
        status, outcome, body = data
        raise call_error(
            self._codec, status, outcome, body, call.method, call.peer, closing=self._closing
        )

    def _abandon(self, handle: int) -> None:
        """The caller lost interest; the call's place stays taken until the core says DONE."""
        if self._core is not None and self._core.open:
            rudp_cancel(self._handle, handle)
            self._wake()

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

    def _finished(self, call: Any, event: tuple[int, ...]) -> None:
        """A call ended, and not with a simple value."""
        _, status, outcome, *_, at, size, memory, _ = event
        body = _lib.received(memory, size) if memory else bytes(self._arena[at : at + size])
        if status != OK:
            call.settle(ENDED, (status, outcome, bytes(body)))
        else:
            call.settle(RAW, body)

    def _fail_all(self, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        for call in self._link.take_all():
            call.settle(FAILED, error)
            loop.call_soon(call.resume)

    # ---- serving ----

    def _start(self, method: Method, request: Request, args: Any, kwargs: Any) -> None:
        if self._loop is not None:
            how = method.function, args, kwargs or None, method.pickle, method.tasks
            self._link.start(self, request, request.id, *how)

    def _served(self, ident: int) -> None:
        """A coroutine method ended, after the round that read its request (Rule 23)."""
        self._running.pop(ident, None)
        self._wake()
