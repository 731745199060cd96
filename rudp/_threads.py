"""How does a coroutine wait for a function that blocks?"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *args: Any) -> Result:
    """Run ``function(*args)`` in a daemon thread of its own and wait for it.

    Not ``run_in_executor``: a name server that does not answer must neither hold up the exit of
    the interpreter nor occupy the application's executor. Cancelling forgets the result; the
    function runs to its end.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def finish(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # no error: it is a result

    def work() -> None:
        result, failure = None, None
        try:
            result = function(*args)
        except BaseException as error:  # noqa: BLE001  it is the waiting coroutine's
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(finish, result, failure)

    threading.Thread(target=work, name="rudp-blocking", daemon=True).start()
    return await future
