"""What do people use on both nodes? Methods, peers, numbers; and how is a node opened?

How events are read and requests answered is the base class's business (``_dispatch``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, overload

from rudp import _lib
from rudp._codec import Encoded
from rudp._config import Config
from rudp._dispatch import Dispatcher
from rudp._errors import AddressError, ConfigError
from rudp._keys import Key, environment_key, load_key
from rudp._life import watch_over
from rudp._log import warn_once
from rudp._peer import BasePeer, PeerEvent
from rudp._resolve import Address, AddressLike, parse, split
from rudp._serving import Method, is_coroutine_function
from rudp._statistics import Statistics, statistics_from
from rudp._values import Pack, Unpack

Handler = TypeVar("Handler", bound=Callable[..., Any])
PeerT = TypeVar("PeerT", bound=BasePeer)


class Endpoint(Dispatcher, Generic[PeerT]):
    """The base of both nodes; not for direct use."""

    _peer_class: type[PeerT]

    def __init__(
        self,
        address: AddressLike = "127.0.0.1:0",
        *,
        key: Key | None = None,
        other_key: Key | None = None,
        insecure: bool = False,
        config: Config | None = None,
    ) -> None:
        split(address)  # a malformed address is an error here, not at the first use
        if not isinstance(config, Config | None):
            raise ConfigError(f"config must be a rudp.Config, not {config!r}")
        super().__init__(config if config is not None else Config())
        self._wanted = address
        self._key = load_key(key) if key is not None else None if insecure else environment_key()
        self._other_key = load_key(other_key) if other_key is not None else None
        if self._other_key is not None and self._key is None:
            raise ConfigError("other_key needs a key")
        self._insecure = insecure
        self._peers: dict[str, PeerT] = {}

    # ---- what people use ----

    @property
    def address(self) -> str:
        """``host:port`` where the open node listens, for UDP and TCP."""
        return str(self._usable_core().address())

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._core is not None and self._core.open and not self._closing

    @overload
    def method(self, function: Handler, /) -> Handler: ...

    @overload
    def method(
        self, *, name: str | None = None, inline: bool = False, pickle: bool = False
    ) -> Callable[[Handler], Handler]: ...

    def method(
        self,
        function: Any = None,
        *,
        name: str | None = None,
        inline: bool = False,
        pickle: bool = False,
    ) -> Any:
        """Decorator: let peers call this function by its name.

        ``inline=True`` runs it at once where events are read: for functions of microseconds that
        wait for nothing. ``pickle=True`` lets members of the cluster send any Python object to it,
        which can run any code here; it needs a key.
        """

        def add(target: Handler) -> Handler:
            called = name if name is not None else _name_of(target)
            self.register(called, target, inline=inline, pickle=pickle)
            return target

        return add if function is None else add(function)

    def register(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        inline: bool = False,
        pickle: bool = False,
    ) -> None:
        """Let peers call ``function`` as ``name`` (1 to 255 bytes of UTF-8); see ``method``."""
        encoded = _encoded(name)
        if encoded in self._methods:
            raise ConfigError(f"method {name!r} is registered already")
        if pickle:
            if self._key is None:
                raise ConfigError(f"method {name!r}: pickle=True needs a key")
            warn_once("pickle", f"method {name!r} accepts pickle: members can run any code here")
        method = Method(name, function, inline=inline, pickle=pickle)
        self._accepts(method)
        self._methods[encoded] = method
        if not pickle and not method.threaded:
            self._simple[encoded] = (function, name, not method.inline, method.tasks)

    def register_type(self, code: int, kind: type, *, pack: Pack, unpack: Unpack) -> None:
        """Allow values of exactly class ``kind`` in messages, as extension ``code`` (0 to 111).

        ``pack`` makes ``bytes`` of a value, ``unpack`` a value of ``bytes``; both sides register.
        """
        self._codec.register_type(code, kind, pack, unpack)

    def on_peer(self, function: Callable[[PeerEvent], None]) -> Callable[[PeerEvent], None]:
        """Decorator: call ``function(event)`` whenever a peer comes, goes, stalls or recovers.

        It is called where events are read and must not block. Peers with open calls report by
        themselves; ``peer.watch()`` asks for news of one without.
        """
        if not callable(function):
            raise ConfigError(f"on_peer takes a function of one event, not {function!r}")
        if is_coroutine_function(function):
            raise ConfigError("on_peer takes a plain function: nobody would await a coroutine")
        self._watchers.append(function)
        return function

    def statistics(self) -> Statistics:
        """All counters since the node was opened."""
        return statistics_from(self._usable_core().counters())

    def rotate(self, key: Key, *, other_key: Key | None = None) -> None:
        """Offer a new cluster key from now on, and accept ``other_key`` too, without a pause.

        First give every node the new key as ``other_key``, then as ``key`` with the old one as
        ``other_key``, then alone. A session made under a key that this node does not hold any more
        ends, and its calls with it. Raises ``ConfigError`` if the node was opened without a key.
        """
        if self._key is None:
            raise ConfigError("a node without a key cannot rotate: open one with key=...")
        other = load_key(other_key) if other_key is not None else None
        self._usable_core().rotate(load_key(key), other)

    @property
    def peers(self) -> Mapping[str, PeerT]:
        """The peers this node has a handle for, by address."""
        return dict(self._peers)

    def __repr__(self) -> str:
        name = f"{type(self).__module__.removesuffix('._node')}.{type(self).__qualname__}"
        if self._core is None:
            return f"<{name} {self._wanted!s} not open>"
        if not self._core.open:
            return f"<{name} closed>"
        return f"<{name} {self._core.address()} methods={len(self._methods)}>"

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and core.open:
            # The core's own destructor stops the C thread; here is only the warning.
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)

    # ---- life ----

    def _open_core(self, listen: Address) -> None:
        if self._core is not None:
            raise ConfigError("a node is opened once: make a new one")
        if self._key is None and not listen.is_loopback:
            if not self._insecure:
                raise ConfigError(
                    f"without a key a node listens on loopback only, not on {listen}: "
                    "pass key=..., or insecure=True if every host that can reach it may call it"
                )
            warn_once("insecure", f"a node listens on {listen} without a key: anyone may call it")
        self._attach(_lib.Core(listen, self._key, self._other_key, self.config))
        watch_over(self)

    def peer_of(self, ident: int) -> PeerT:
        """The handle of a peer that the core named by its id: a caller, or the subject of news."""
        found = self._peers_by_id.get(ident)
        if found is None:
            view = self._usable_core().peer_view(ident)
            where = _lib.view_address(view) if view is not None else None
            address = where if where is not None else Address(bytes(4), 0)
            found = self._peer_class(self, str(address), address)
            found._id = ident
            self._peers_by_id[ident] = found
            self._peers.setdefault(found.address, found)
        return found

    def peer(self, address: AddressLike) -> PeerT:
        """A handle for the node at ``host:port``: cheap, and nothing is sent before it is used.

        A name is resolved with the first call. Raises ``AddressError`` if the text is malformed.
        """
        self._usable_core()
        key = address if isinstance(address, str) else "{}:{}".format(*split(address))
        found = self._peers.get(key)
        if found is None:
            if split(address)[1] == 0:
                raise AddressError(f"address {address!r}: port 0 cannot be called")
            found = self._peer_class(self, address, parse(address))
            found = self._peers.setdefault(found.address, found)
        return found

    # ---- for the two nodes ----

    def _accepts(self, method: Method) -> None:
        """Refuse kinds of methods that this node cannot run."""

    def _encode(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        pickle: bool,  # noqa: FBT001
    ) -> Encoded:
        if not pickle:
            return self._codec.encode_arguments(args, kwargs)
        if self._key is None:
            raise ConfigError("pickle=True needs a node with a key")
        return self._codec.encode_pickle({0: args, 1: kwargs} if kwargs else args)

    def _refused(self, code: int, method: str) -> Exception:
        """Why the core did not take a call."""
        if code == _lib.INVALID:
            size = len(method.encode())
            return ConfigError(f"a method's name has 1 to {_lib.METHOD_MAX} bytes, not {size}")
        return _lib.code_error(code)


def _name_of(function: Any) -> str:
    """What a decorated function is called by peers."""
    if not callable(function):
        raise ConfigError(f"{function!r} is not callable: use method(name=...)")
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise ConfigError(f"{function!r} has no __name__: use method(name=...)")
    return name


def _encoded(name: str) -> bytes:
    """A method's name as peers send it."""
    try:
        encoded = name.encode()
    except (AttributeError, UnicodeEncodeError):
        raise ConfigError(f"a method's name is a text of valid Unicode, not {name!r}") from None
    if not 1 <= len(encoded) <= _lib.METHOD_MAX:
        raise ConfigError(f"a method's name has 1 to {_lib.METHOD_MAX} bytes: {name!r}")
    return encoded
