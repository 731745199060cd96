"""Which task does a coroutine method see, if its first step ends it and no task was made for it?

Most coroutine methods return without having waited, and a task costs more than the rest of their
request. So their first step is done by hand, with a spare task as ``asyncio.current_task()``:

    idle --request--> current --not looked at--> idle              for the next request
                         |
                         +-----looked at-------> the task of this request, from now on

So nobody ever sees the task of another request. A method that looked, such as by
``asyncio.timeout``, is expected to do so again: its next requests get tasks at once.
``native/python/first.c`` does all that; here is what notices a look, and what an idle task says of
itself.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

_service_of: Any = asyncio.Task.get_coro
"""The request that a spare task serves, or will: a ``Service``."""


class SpareTask(asyncio.Task[None]):
    """A task that is nobody's until somebody looks at it in a first step."""

    def __getattribute__(self, name: str) -> Any:
        _service_of(self).looked = True
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        _service_of(self).looked = True
        super().__setattr__(name, value)

    def done(self) -> bool:
        """Also while idle: so nobody waits for it, and ``asyncio.all_tasks()`` leaves it out."""
        return _service_of(self).idle or super().done()

    def get_context(self) -> contextvars.Context:
        """The context of its request."""
        context: contextvars.Context = _service_of(self).context
        return context


class InContext:
    """The coroutine of a method whose task was a spare one: its steps are done in its context."""

    def __init__(self, coroutine: Any, context: contextvars.Context) -> None:
        self._coroutine = coroutine
        self._context = context

    def send(self, value: Any) -> Any:
        """As of any coroutine."""
        return self._context.run(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """As of any coroutine."""
        return self._context.run(self._coroutine.throw, *error)

    def close(self) -> None:
        """As of any coroutine."""
        self._context.run(self._coroutine.close)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)
