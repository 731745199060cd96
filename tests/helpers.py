"""Two real engines in one process, a virtual clock, and a network that does as it is told.

    pair = Pair(load("engine"))
    call = pair.a.call("add", b"1+1", timeout_ms=500)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"

What crosses the network is decided per datagram by ``pair.network``: a function from the sender's
name and the bytes to the delays, in nanoseconds, of the copies that arrive. ``[]`` is a loss, two
delays are a duplicate. Requests are answered by ``node.handler``, or kept in ``node.requests``
while it is None. There is no TCP here: lanes belong to the simulator.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine_module import Engine

MS = 1_000_000
SECOND = 1_000 * MS
NEVER = 2**64 - 1
TURNS_MOST = 200_000
ACTIONS_MOST = 10_000
OUTCOMES = ("no", "unknown", "yes")
KEY = bytes(range(32))
NOBODY = 99  # number of a node that does not exist


@dataclass
class Call:
    """What became of a call; ``events`` counts how often it was told."""

    handle: int
    status: str = ""
    outcome: str = ""
    body: bytes = b""
    events: int = 0
    ended_at: int = 0

    @property
    def done(self) -> bool:
        return self.events > 0


@dataclass
class Request:
    """A request as its application sees it."""

    node: Node
    id: int
    method: str
    extension: bytes
    body: bytes
    deadline: int
    told_at: int
    cancelled: bool = False

    def take(self) -> None:
        node = self.node
        node.lib.engine_request_taken(node.at, node.pair.now, self.id)

    def reply(self, body: bytes = b"", status: str = "OK") -> None:
        self.node.reply(self, body, status)

    def refuse(self, why: str) -> None:
        self.node.refuse(self, why)


@dataclass(order=True)
class Datagram:
    arrives: int
    order: int
    to: Node = field(compare=False)
    source: Node = field(compare=False)
    content: bytes = field(compare=False)


class Node:
    """One engine with its loop and application."""

    def __init__(self, pair: Pair, name: str, number: int, **limits: int) -> None:
        self.pair, self.name, self.number = pair, name, number
        self.kernel_drops = 0  # datagrams its kernel claims to have dropped
        self.ffi, self.lib = pair.engine.ffi, pair.engine.lib
        self.calls: dict[int, Call] = {}
        self.requests: list[Request] = []
        self.told: list[Request] = []
        self.peer_events: list[tuple[str, str]] = []
        self.strangers: list[tuple[int, ...]] = []
        self.handler: Callable[[Request], None] | None = None
        self.stalled = False  # requests stay untaken
        self.taking = True
        self._uses = 0
        self._start(limits)

    def _start(self, limits: dict[str, int]) -> None:
        config = self.ffi.new("config *", self.lib.config_tiny())
        config.tcp = False
        config.port = 4000 + self.number
        for limit, value in limits.items():
            setattr(config, limit, value)
        plain = config.ciphers == 1 << self.lib.CIPHER_PLAIN
        assert self.lib.config_fault(config) == self.ffi.NULL
        self.config = config
        keys = self.ffi.new("hello_keys *")
        self.lib.hello_keys_set(keys, self.ffi.NULL if plain else KEY, self.ffi.NULL)
        self.memory = self.ffi.new("uint8_t[]", self.lib.engine_size(config))
        seed = bytes([self.number]) * self.lib.ENGINE_SEED
        self.at = self.lib.engine_init(self.memory, config, keys, seed, self.pair.now)
        self.action = self.ffi.new("action *")
        self.buffer = self.ffi.new("uint8_t[]", self.lib.ACTION_BUFFER)
        self._entropy = 0
        self._fill_entropy()

    def _fill_entropy(self) -> None:
        while self.lib.engine_entropy_room(self.at) > 0:
            self._entropy += 1
            fresh = self._entropy.to_bytes(31, "little") + bytes([self.number])
            self.lib.engine_entropy(self.at, fresh)

    def fill_address(self, out: Any) -> None:
        out.ip[0:4] = [127, 0, 0, self.number]
        out.port = 4000 + self.number
        out.family = 4

    # ---- the application ----

    def peer(self, other: Node) -> int:
        remote = self.ffi.new("address *")
        other.fill_address(remote)
        return int(self.lib.engine_peer(self.at, self.pair.now, remote))

    def view(self) -> Any:
        """What this node knows of the other."""
        out = self.ffi.new("peer_view *")
        assert self.lib.engine_peer_view(
            self.at, self.pair.now, self.peer(self.pair.other(self)), out
        )
        return out

    def call(
        self,
        method: str = "echo",
        body: bytes = b"",
        *,
        timeout_ms: float = 1_000,
        extension: bytes = b"",
        peer: int | None = None,
    ) -> Call:
        """Submit a call to the other node."""
        used = {handle & 0xFFFFFF for handle in self.calls if not self.calls[handle].done}
        place = min(set(range(self.config.calls)) - used)
        self._uses += 1
        call = Call(place | self._uses << 24)
        name, payload = method.encode(), [self.ffi.from_buffer(b) for b in (body, extension)]
        method_bytes = self.ffi.from_buffer(name)
        command = self.ffi.new("call_command *")
        command.handle = call.handle
        command.peer = self.peer(self.pair.other(self)) if peer is None else peer
        command.deadline = self.pair.now + int(timeout_ms * MS)
        command.method, command.method_size = method_bytes, len(name)
        command.body, command.size = payload[0], len(body)
        command.extension, command.extension_size = payload[1], len(extension)
        assert self.lib.engine_call(self.at, self.pair.now, command)
        self.calls[call.handle] = call
        self.drain()
        return call

    def cancel(self, call: Call) -> None:
        self.lib.engine_cancel(self.at, self.pair.now, call.handle)
        self.drain()

    def reply(self, request: Request, body: bytes, status: str) -> None:
        payload = self.ffi.from_buffer(body)
        command = self.ffi.new("reply_command *")
        command.request, command.status = request.id, self.pair.statuses.index(status)
        command.body, command.size = payload, len(body)
        self.lib.engine_reply(self.at, self.pair.now, command)
        self._forget(request)

    def refuse(self, request: Request, why: str) -> None:
        number = self.pair.statuses.index(why)
        self.lib.engine_refuse(self.at, self.pair.now, request.id, number)
        self._forget(request)

    def _forget(self, request: Request) -> None:
        self.requests = [other for other in self.requests if other is not request]
        self.drain()

    def close(self) -> None:
        self.lib.engine_close(self.at, self.pair.now)
        self.drain()

    def counter(self, name: str) -> int:
        return int(getattr(self.lib.engine_counters(self.at), name))

    def dropped(self, name: str) -> int:
        number = self.pair.drops.index(name)
        return int(self.lib.engine_counters(self.at).dropped[number])

    @property
    def all_free(self) -> bool:
        return bool(self.lib.engine_all_free(self.at))

    @property
    def idle(self) -> bool:
        return bool(self.lib.engine_idle(self.at))

    # ---- the loop ----

    def deadline(self) -> int:
        return int(self.lib.engine_deadline(self.at))

    def tick(self) -> None:
        self.lib.engine_tick(self.at, self.pair.now)
        self.drain()

    def receive(self, source: Node, content: bytes) -> None:
        bytes_ = self.ffi.new("uint8_t[]", content)
        datagram = self.ffi.new("datagram *")
        self.fill_address(datagram.local)
        source.fill_address(datagram.remote)
        datagram.bytes, datagram.size = bytes_, len(content)
        self.lib.engine_datagrams(self.at, self.pair.now, datagram, 1, self.kernel_drops)
        self.drain()

    def drain(self) -> None:
        """Ask for actions until there is none, as the engine's contract wants."""
        for _ in range(ACTIONS_MOST):
            self._fill_entropy()
            wanted = self.lib.ACTION_ALL
            if not self.taking:
                wanted &= ~self.lib.ACTION_EVENT
            if not self.lib.engine_next(self.at, self.pair.now, wanted, self.action, self.buffer):
                return
            self._act()
        raise AssertionError("the engine has always one more action")

    def _act(self) -> None:
        action = self.action
        if action.kind == self.lib.ACTION_SEND:
            content = bytes(self.ffi.buffer(action.bytes, action.size))
            self.pair.send(self, int(action.remote.ip[3]), content)
        elif action.kind == self.lib.ACTION_EVENT:
            self._event(action.event)
        else:
            raise AssertionError(f"action {action.kind} without TCP")

    def _event(self, event: Any) -> None:
        if event.kind == self.lib.EVENT_DONE:
            call = self.calls[int(event.id)]
            call.events += 1
            call.status = self.pair.statuses[event.status]
            call.outcome = OUTCOMES[event.outcome]
            call.body = self._bytes(event.body, event.size)
            call.ended_at = self.pair.now
            self.lib.engine_taken(self.at, self.pair.now, event.id)
        elif event.kind == self.lib.EVENT_REQUEST:
            self._request(event)
        elif event.kind == self.lib.EVENT_CANCEL:
            for request in self.told:
                if request.id == event.id:
                    request.cancelled = True
        elif event.kind == self.lib.EVENT_STRANGER:
            self.strangers.append(tuple(event.remote.ip[0:4]))
        elif event.kind == self.lib.EVENT_PEER:
            state = ("idle", "dialling", "up", "suspect", "lost")[event.state]
            self.peer_events.append((state, self.pair.statuses[event.status]))

    def _request(self, event: Any) -> None:
        names = self._bytes(event.method, event.method_size + event.extension_size)
        request = Request(
            node=self,
            id=int(event.id),
            method=names[: event.method_size].decode(),
            extension=names[event.method_size :],
            body=self._bytes(event.body, event.size),
            deadline=int(event.deadline),
            told_at=self.pair.now,
        )
        if not self.stalled:
            request.take()
        self.told.append(request)
        self.requests.append(request)
        if self.handler is not None:
            self.pair.later(self.handler, request)

    def _bytes(self, at: Any, size: int) -> bytes:
        return b"" if size == 0 else bytes(self.ffi.buffer(at, size))


class Pair:
    """Nodes ``a`` and ``b``, and all that is between them."""

    node_type: type[Node] = Node

    def __init__(
        self, engine: Engine, *, a: dict[str, int] | None = None, b: dict[str, int] | None = None
    ) -> None:
        self.engine = engine
        self.now = SECOND
        lib, ffi = engine.lib, engine.ffi
        self.statuses = [ffi.string(lib.status_name(i)).decode() for i in range(lib.STATUS_COUNT)]
        self.drops = [ffi.string(lib.drop_name(i)).decode() for i in range(lib.DROP_COUNT)]
        self.network: Callable[[str, bytes], list[int]] = lambda _sender, _content: [MS]
        self.sent: dict[str, int] = {"a": 0, "b": 0}
        self._flying: list[Datagram] = []
        self._order = 0
        self._due: list[tuple[Callable[[Request], None], Request]] = []
        self.a = self.node_type(self, "a", 1, **(a or {}))
        self.b = self.node_type(self, "b", 2, **(b or {}))
        self.b.handler = lambda request: request.reply(request.body)

    def other(self, node: Node) -> Node:
        return self.b if node is self.a else self.a

    def send(self, sender: Node, to: int, content: bytes) -> None:
        self.sent[sender.name] += 1
        if to == NOBODY:
            return
        receiver = self.a if to == self.a.number else self.b
        for delay in self.network(sender.name, content):
            self._order += 1
            arrives = self.now + delay
            datagram = Datagram(arrives, self._order, receiver, sender, content)
            heapq.heappush(self._flying, datagram)

    def later(self, what: Callable[[Request], None], request: Request) -> None:
        """Do it after the turn in progress: no verb is called in the middle of a drain."""
        self._due.append((what, request))

    def _step(self, end: int) -> bool:
        """Let the next thing happen, if it does by `end`."""
        if self._due:
            what, request = self._due.pop(0)
            what(request)
            return True
        deadlines = [self.a.deadline(), self.b.deadline()]
        arrival = self._flying[0].arrives if self._flying else NEVER
        moment = min(arrival, *deadlines)
        if moment > end:
            return False
        self.now = max(self.now, moment)
        if arrival <= min(deadlines):
            datagram = heapq.heappop(self._flying)
            datagram.to.receive(datagram.source, datagram.content)
        else:
            (self.a if deadlines[0] <= deadlines[1] else self.b).tick()
        return True

    def run(self, duration: int) -> None:
        """Let this many nanoseconds pass."""
        end = self.now + duration
        for _ in range(TURNS_MOST):
            if not self._step(end):
                self.now = end
                return
        raise AssertionError("more turns than time can explain")

    def run_until(self, done: Callable[[], bool], *, within: int = 20 * SECOND) -> None:
        """Let time pass until it is so."""
        end = self.now + within
        for _ in range(TURNS_MOST):
            if done():
                return
            if not self._step(end):
                break
        assert done(), "it did not happen in time"

    def connect(self) -> None:
        """A first call, so that a session is up and idle."""
        call = self.a.call("hello")
        self.run_until(lambda: call.done)
        assert call.status == "OK"
        self.run(100 * MS)
