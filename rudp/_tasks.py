"""How does a coroutine become a task whose first step is done at once?

Most handlers end in their first step. A task that begins in the next round of the loop makes each
of them wait for a round, and with it the reply. Python 3.12 has ``eager_start`` for that. On 3.11
it takes a detour: a new task asks its loop to ``call_soon`` its first step, so while one is made
that method is ours, and the step is done right here.

The trap: a step runs only where no task runs, in a callback of the loop. Otherwise the task begins
in the next round, like any other.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from typing import Any


def _start_by_option(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]
) -> asyncio.Task[None]:
    eager: dict[str, Any] = {"eager_start": True}
    return asyncio.Task(work, loop=loop, **eager)


def _start_by_hand(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]
) -> asyncio.Task[None]:
    if asyncio.current_task(loop) is not None:
        return asyncio.Task(work, loop=loop)
    first: Callable[[], object] | None = None
    inside: contextvars.Context | None = None

    def catch(step: Callable[[], object], context: contextvars.Context | None = None) -> None:
        nonlocal first, inside
        first, inside = step, context

    try:
        loop.call_soon = catch  # type: ignore[assignment,method-assign]
    except AttributeError:  # a loop in C, such as uvloop's
        return asyncio.Task(work, loop=loop)
    try:
        task = asyncio.Task(work, loop=loop)
    finally:
        del loop.call_soon
    if first is not None and inside is not None:
        inside.run(first)
    return task


start_eagerly: Callable[
    [asyncio.AbstractEventLoop, Coroutine[Any, Any, None]], asyncio.Task[None]
] = _start_by_option if sys.version_info >= (3, 12) else _start_by_hand
"""Make a task of ``work`` and do its first step, if none is running; it may be done then."""
