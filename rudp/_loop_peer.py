"""How is a call made from an event loop?

``Peer.call`` hands the call to the core at once and returns what to ``await``; the node's next turn
sends it, together with all that is submitted in the same tick of the loop.
"""

from __future__ import annotations

from collections.abc import Coroutine
from threading import get_ident
from typing import TYPE_CHECKING, Any, Self

from rudp._errors import ForkedError, RudpError
from rudp._peer import BasePeer
from rudp._resolve import Address, resolve
from rudp._threads import in_thread

if TYPE_CHECKING:
    from rudp._node import Node


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
    ) -> Coroutine[Any, Any, Any]:
        """Call ``method`` at the peer; ``await`` gives its result.

        The request is under way when this returns, so several may be started and awaited later;
        ``create_task``, ``gather`` and ``TaskGroup`` take it as any coroutine. Cancelling the
        ``await`` cancels the handler at the peer.

        ``timeout`` is in seconds, None means ``Config.timeout``; inside a handler it never exceeds
        what is left of the request that is being served. ``pickle`` sends and accepts any Python
        object, for methods registered with ``pickle=True``.

        Raises a ``CallError`` whose ``outcome`` says whether the handler ran, ``RemoteError`` with
        the remote traceback if it raised, ``SerializationError`` if the arguments cannot be sent.
        """
        node = self._node
        if not pickle and not kwargs:
            simple = node._link.call(node, self, self._id, method, args, timeout)
            if simple is not None:
                return simple  # type: ignore[no-any-return]
        # Asking for the running loop would cost a system call per call.
        if get_ident() != node._thread or (not node._link.due and node._loop_ended()):
            raise node._misused()
        try:
            if self._id == 0 and not self._known():
                return node._call_by_name(self, method, args, kwargs, timeout, pickle)
            node._wake()
            body = node._encode(args, kwargs, pickle)
            return node._submit(self, method, body, timeout, pickle)
        except ForkedError:
            raise  # nobody in this process will ever await anything of the node's
        except RudpError as error:
            return _failed(error)  # where it is awaited, like every other error of a call

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


def _resolve(address: Any, family: int) -> Address:
    return resolve(address, family=family)


async def _failed(error: Exception) -> Any:
    raise error
