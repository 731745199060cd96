"""What does a node do with a request: which function, where does it run, what may it know?

    inline=True       called at once, by whoever read the event; for functions of microseconds
    coroutine         a task on the node's loop (asyncio node only, Rule 23)
    plain function    a daemon thread of the node's own pool (Rule 24)

The kind is decided when a method is registered, not per request (Rule 25).
"""

from __future__ import annotations

import collections
import contextvars
import enum
import inspect
import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from rudp import _lib
from rudp._errors import ConfigError
from rudp._log import logger

TRACEBACK_MAX = 16 * 1024  # characters: the innermost frames are kept
MESSAGE_MAX = 4 * 1024


class Kind(enum.Enum):
    """Where a method runs."""

    INLINE = "inline"
    COROUTINE = "coroutine"
    THREAD = "thread"


def is_coroutine_function(function: Any) -> bool:
    """Whether calling it makes a coroutine; of an object, its ``__call__`` says."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        type(function).__call__
    )


class Method:
    """One entry of a node's method table."""

    __slots__ = ("function", "inline", "kind", "name", "pickle", "tasks", "threaded")

    def __init__(
        self, name: str, function: Callable[..., Any], *, inline: bool, pickle: bool
    ) -> None:
        if not callable(function):
            raise ConfigError(f"method {name!r} is not callable: {function!r}")
        coroutine = is_coroutine_function(function)
        if coroutine and inline:
            raise ConfigError(f"method {name!r} is a coroutine function and cannot be inline")
        self.name = name
        self.function = function
        self.pickle = pickle
        self.tasks = [0]  # requests from now on that get a task at once: see _spare_task.py
        self.kind = Kind.COROUTINE if coroutine else Kind.INLINE if inline else Kind.THREAD
        self.inline = self.kind is Kind.INLINE
        self.threaded = self.kind is Kind.THREAD

    def __repr__(self) -> str:
        return f"<Method {self.name!r} {self.kind.value}>"


class Request(_lib.RequestFields):  # type: ignore[misc]
    """What a handler may know about the call it serves; see ``current_request``."""

    __slots__ = tuple[str, ...]()  # none but the fields of the base, which a checker cannot see
    id: int
    method: str
    open: bool  # until the reply is sent
    cancelled: bool
    _expires: int
    _node: Any
    _peer_id: int

    @property
    def peer(self) -> Any:
        """The caller, as a ``Peer`` of this node."""
        return self._node.peer_of(self._peer_id)

    @property
    def remaining(self) -> float:
        """Seconds until the caller's deadline; negative when it has passed."""
        return (self._expires - node_clock()) / 1e6

    @property
    def deadline(self) -> float:
        """The caller's deadline on the clock of ``time.monotonic()``."""
        return time.monotonic() + self.remaining

    def __repr__(self) -> str:
        return f"<Request {self.method!r} remaining={self.remaining:.3f}s>"


_request: contextvars.ContextVar[Request] = contextvars.ContextVar("rudp_request")
bind_request = _request.set
bound_request = _request.get


def call_with_request(
    request: Request, function: Callable[..., Any], args: Any, kwargs: dict[str, Any] | None
) -> Any:
    """Call a plain function that may ask for its request."""
    bind_request(request)
    return function(*args, **kwargs) if kwargs else function(*args)


def current_request() -> Request:
    """The request that the running handler serves.

    Works in coroutines, plain functions and inline functions, and in tasks they start. Raises
    ``LookupError`` outside of a handler.
    """
    request = bound_request(None)
    if request is None:
        raise LookupError("current_request() was called outside of a handler")
    return request


def node_clock() -> int:
    """Now, in microseconds of the clock that the core uses (L5)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def limited(timeout: float) -> float:
    """``timeout``, but not beyond the deadline of the request that is being served."""
    request = bound_request(None)
    if request is not None and request.open:
        remaining = request.remaining
        if remaining < timeout:
            return max(remaining, 0.0)
    return timeout


def describe_exception(error: BaseException, room: int) -> list[str]:
    """Type, message and traceback of what a handler raised, as text of ``room`` bytes at most."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    try:
        message = str(error)[:MESSAGE_MAX]
        frames = "".join(traceback.format_exception(error))
    except Exception as broken:  # noqa: BLE001  a class's __str__ may raise anything
        message, frames = f"(its text cannot be had: {type(broken).__name__})", ""
    if len(frames) > TRACEBACK_MAX:
        frames = "...\n" + frames[-TRACEBACK_MAX:]
    # A lone surrogate in a message must not turn an error into another one.
    texts = [text.encode("utf-8", "replace") for text in (name, message, frames)]
    if sum(map(len, texts)) > room:  # the end of the stack counts, and the message is there already
        stack = "".join(traceback.format_tb(error.__traceback__)).encode("utf-8", "replace")
        texts = [texts[0][: room // 8], texts[1][: room // 4], stack[-room // 2 :]]
    return [text.decode(errors="ignore") for text in texts]


class Pool:
    """Daemon threads on one queue, started when work finds no idle one.

    Not ``concurrent.futures``: its threads hold up the exit of the interpreter, and each submit
    costs sixteen times as much (Rule 24).
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._work: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._idle: collections.deque[None] = collections.deque()
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[..., None], *args: Any) -> bool:
        """Run ``function(*args)``, which must not raise, in some thread; False: there is none."""
        try:
            self._idle.pop()
        except IndexError:
            # At the limit an idle mark may be stale; then no thread is missing either.
            if len(self._threads) < self._limit and not self._start() and not self._threads:
                return False
        self._work.put((function, *args))
        return True

    def waiting(self) -> int:
        """How much work no thread has taken yet."""
        return self._work.qsize()

    def stop(self, timeout: float) -> None:
        """End the threads; wait at most ``timeout`` seconds for those that are busy."""
        until = time.monotonic() + timeout
        threads, self._threads = self._threads, []
        for _ in threads:
            self._work.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def _start(self) -> bool:
        number = len(self._threads) + 1
        thread = threading.Thread(
            target=_work, args=(self._work, self._idle), name=f"{self._name}-{number}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the system has none left
            logger.error("%s: %s", thread.name, error)
            return False
        self._threads.append(thread)
        return True


def _work(work: queue.SimpleQueue[tuple[Any, ...] | None], idle: collections.deque[None]) -> None:
    while (item := work.get()) is not None:
        function, *args = item
        contextvars.Context().run(function, *args)
        del item, function, args  # nothing of a finished request is kept while idle
        idle.append(None)
