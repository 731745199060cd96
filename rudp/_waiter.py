"""What does a task wait on while its call is under way?

A future would do, but a future tells its task through ``loop.call_soon``: a handle, a pass through
the loop's queue and one more round of it for every reply. A ``Waiter`` speaks the same protocol
(the one asyncio defines for awaitables that are not its own futures) and lets the node resume the
task itself, in the turn that read the reply. That is a third of all the work of a small call.

    task    await waiter      -> the task sees _asyncio_future_blocking, asks get_loop(), and leaves
                                 its wake-up with add_done_callback()
    node    waiter.finish()   -> the event was read
            waiter.resume()   -> the wake-up runs: it asks result(), then steps the task

The traps: a task must not be stepped while another one runs, so ``resume`` belongs into callbacks
of the loop only; and a cancelled waiter must wake its task too, through the loop, with result()
raising.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable, Generator
from typing import Any

PENDING, VALUE, RAW, ENDED, FAILED, GONE = range(6)
"""What ``data`` is: nothing yet, the result, the bytes of it, how the call ended, an exception."""


class Waiter:
    """Stands for one call; ``waiter_of`` makes the class for a loop."""

    __slots__ = ("_asyncio_future_blocking", "callback", "context", "data", "state")

    get_loop: Callable[[], asyncio.AbstractEventLoop]
    # The wake-up only asks whether it raises: any function without arguments will do.
    result: Callable[[], Any] = int

    callback: Callable[[Any], None] | None
    context: contextvars.Context
    state: int
    data: Any

    def __await__(self) -> Generator[Any, Any, None]:
        self._asyncio_future_blocking = True
        return iter((self,))  # type: ignore[return-value]  # all that await needs of it

    def add_done_callback(
        self, callback: Callable[[Any], None], *, context: contextvars.Context
    ) -> None:
        """Called by the task that awaits: ``callback(self)`` in ``context`` wakes it."""
        self.callback = callback
        self.context = context

    def cancel(self, msg: Any = None) -> bool:
        """Called by ``task.cancel()``: False if the result is there and only not taken yet."""
        del msg
        callback = self.callback
        if self.state != PENDING or callback is None:
            return False
        self.callback = None
        self.state = GONE
        loop = self.get_loop()
        self.__class__ = _cancelled(type(self))
        loop.call_soon(callback, self, context=self.context)
        return True

    def resume(self) -> None:
        """Step the task that waits, if one does already."""
        callback = self.callback
        if callback is not None:
            self.callback = None
            self.context.run(callback, self)


def _raise_cancelled(_: Waiter) -> None:
    raise asyncio.CancelledError


def _cancelled(kind: type[Waiter]) -> type[Waiter]:
    cancelled: type[Waiter] = kind.__dict__["cancelled"]
    return cancelled


def waiter_of(loop: asyncio.AbstractEventLoop) -> type[Waiter]:
    """The class of waiters for tasks of this loop."""
    # A function in C that returns the loop: asked once per await.
    get_loop = itertools.repeat(loop).__next__
    fields: dict[str, Any] = {"__slots__": (), "get_loop": get_loop}
    cancelled = type("Waiter", (Waiter,), {**fields, "result": _raise_cancelled})
    return type("Waiter", (Waiter,), {**fields, "cancelled": cancelled})
