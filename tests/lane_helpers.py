"""The pair of helpers.py with TCP: connections that carry records, and bulk lanes.

    pair = LanePair(load("engine"))
    call = pair.a.call_big(100_000)
    pair.run_until(lambda: call.done)

Memory is a dictionary of handles. An order that names memory which the engine does not own, or
that was released, fails the test (T5); so does a READ that is not where the verified bytes end
(T2). ``pair.tcp`` says what becomes of an OPEN: "open", "refused", or "silent"; ``segments_most``
which TCP segments the path swallows.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.helpers import MS, NOBODY, SECOND, Call, Datagram, Node, Pair, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine_module import Engine

OPENED, REFUSED, _TIMEOUT, ENDED, BROKE, GONE = range(6)
OK, FAILED, CORRUPT = range(3)
FULL = 1_448  # bytes in a TCP segment, unless the dialler wants smaller ones


@dataclass
class Segment:
    """One segment on its way: the header's fields and the body."""

    head: tuple[int, int, int, int, int, int]  # kind, slot, sequence, offset, length, flags
    body: bytes


@dataclass
class End:
    """One end of a connection."""

    node: LaneNode
    id: int
    link: Link
    buffer: bytearray = field(default_factory=bytearray)
    segments: list[Segment] = field(default_factory=list)
    told: bool = False  # the first segment's header
    writes: dict[int, None] = field(default_factory=dict)  # tokens not reported yet
    writing: int = 0  # until when
    bulk: bool = False
    over: bool = False

    @property
    def other(self) -> End | None:
        return next((end for end in self.link.ends if end is not self), None)


@dataclass
class Link:
    """A connection; a dead one swallows what is sent and says nothing, to `deaf` at least."""

    ends: list[End] = field(default_factory=list)
    lane_class: int = 0
    segment_size: int = 0
    dead: bool = False
    deaf: LaneNode | None = None


class Thunk:
    """Something that happens at a moment, in the line of datagrams."""

    def __init__(self, what: Callable[[], None]) -> None:
        self.what = what

    def receive(self, _source: object, _content: bytes) -> None:
        self.what()


class LaneNode(Node):
    """A node whose loop has connections and memory."""

    pair: LanePair

    def _start(self, limits: dict[str, int]) -> None:
        self.ends: dict[int, End] = {}
        self.memories: dict[int, bytearray] = {}
        self.verified: dict[int, int] = {}  # of memory that ALLOC gave
        self.given = 0
        self.alloc_fails = False
        super()._start({"tcp": 1, **limits})

    def lend(self, content: bytes) -> int:
        self.given += 1
        handle = self.given << 8 | self.number
        self.memories[handle] = bytearray(content)
        return handle

    def call_big(self, size: int, *, method: str = "echo", timeout_ms: float = 20_000) -> Call:
        """A call whose request goes by lane."""
        used = {handle & 0xFFFFFF for handle in self.calls if not self.calls[handle].done}
        self._uses += 1
        place = min(set(range(self.config.calls)) - used)
        call = Call(place | self._uses << 24)
        name = method.encode()
        held = self.ffi.from_buffer(name)
        command = self.ffi.new("call_command *")
        command.handle, command.peer = call.handle, self.peer(self.pair.other(self))
        command.deadline = self.pair.now + int(timeout_ms * MS)
        command.method, command.method_size = held, len(name)
        command.size, command.memory = size, self.lend(pattern(size))
        assert self.lib.engine_call(self.at, self.pair.now, command)
        self.calls[call.handle] = call
        self.drain()
        return call

    def reply_big(self, request: Request, size: int) -> None:
        command = self.ffi.new("reply_command *")
        command.request, command.status = request.id, 0
        command.size, command.memory = size, self.lend(pattern(size))
        self.lib.engine_reply(self.at, self.pair.now, command)
        self._forget(request)

    # ---- inputs ----

    def witness(self, end: End, witness: int) -> None:
        if witness != 0:
            self.lib.engine_witness(self.at, end.id, witness)

    def news(self, end: End, news: int) -> None:
        self.lib.engine_connection(self.at, self.pair.now, end.id, news)
        self.drain()

    def done(self, token: int, result: int, memory: int = 0) -> None:
        self.lib.engine_done(self.at, self.pair.now, token, result, memory)
        self.drain()

    def feed(self, end: End) -> None:
        """What the engine's room allows, at most."""
        while end.buffer and not end.over:
            room = self.lib.engine_room(self.at, end.id)
            if room == 0:
                return
            piece = self.ffi.new("uint8_t[]", bytes(end.buffer[:room]))
            size = min(room, len(end.buffer))
            del end.buffer[:room]
            self.lib.engine_bytes(self.at, self.pair.now, end.id, piece, size)
            self.drain()

    def head(self, end: End) -> None:
        if end.told or end.over or not end.segments:
            return
        end.told = True
        head = self.ffi.new("segment *")
        first = end.segments[0].head
        head.kind, head.slot, head.sequence, head.offset, head.length, head.flags = first
        self.lib.engine_segment(self.at, self.pair.now, end.id, head)
        self.drain()

    def over(self, end: End, news: int) -> None:
        """The connection is over for this end: what is outstanding fails, then GONE."""
        if end.over:
            return
        end.over = True
        if news != GONE:
            self.news(end, news)
        for token in list(end.writes):
            del end.writes[token]
            self.done(token, FAILED)
        self.pair.after(MS, lambda: self.gone(end))

    def gone(self, end: End) -> None:
        del self.ends[end.id]
        self.news(end, GONE)

    # ---- actions ----

    def _act(self) -> None:
        lib, action = self.lib, self.action
        acts = {
            lib.ACTION_OPEN: self._open,
            lib.ACTION_PUT: self._put,
            lib.ACTION_SHUT: self._shut,
            lib.ACTION_BULK: self._bulk,
            lib.ACTION_WRITE: self._write,
            lib.ACTION_READ: self._read,
            lib.ACTION_ALLOC: self._alloc,
            lib.ACTION_RELEASE: self._release,
        }
        act = acts.get(action.kind)
        if act is None:
            super()._act()
        else:
            act(action)

    def _open(self, action: Any) -> None:
        link = Link(lane_class=action.lane_class, segment_size=action.segment_size)
        self.pair.links.append(link)
        end = End(self, action.connection, link)
        link.ends.append(end)
        self.ends[end.id] = end
        if int(action.remote.ip[3]) == NOBODY:
            return
        if self.pair.tcp == "refused":
            self.pair.after(MS, lambda: self.over(end, REFUSED))
        elif self.pair.tcp == "open":
            self.pair.after(MS, lambda: self.pair.accept(end))

    def _put(self, action: Any) -> None:
        end = self.ends[action.connection]
        assert not end.bulk, "a record on a bulk lane"
        content = bytes(self.ffi.buffer(action.bytes, action.size))
        self.lib.engine_unsent(self.at, end.id, 0)
        self.pair.carry(end, lambda to: to.buffer.extend(content))

    def _shut(self, action: Any) -> None:
        end = self.ends[action.connection]
        self.pair.carry(end, None)
        self.pair.after(0, lambda: self.over(end, GONE))

    def _bulk(self, action: Any) -> None:
        self.ends[action.connection].bulk = True

    def _write(self, action: Any) -> None:
        end, token, s = self.ends[action.connection], int(action.token), action.segment
        assert end.bulk
        body = bytes(self.memories[action.memory][s.offset : s.offset + s.length])
        assert len(body) == s.length > 0
        segment = Segment((s.kind, s.slot, s.sequence, s.offset, s.length, s.flags), body)
        end.writes[token] = None
        self.pair.outstanding = max(self.pair.outstanding, len(end.writes))
        self.pair.written.append(end.link)
        self.pair.lengths.append(len(body))
        full = min(len(body), end.link.segment_size or FULL)
        end.link.dead = end.link.dead or full > self.pair.segments_most
        self.pair.carry(end, lambda to: to.segments.append(segment))
        end.writing = max(end.writing, self.pair.now) + self.pair.write_takes
        self.pair.after(end.writing - self.pair.now, lambda: self._wrote(end, token))

    def _wrote(self, end: End, token: int) -> None:
        if token in end.writes and not end.link.dead:
            del end.writes[token]
            self.done(token, OK)

    def _read(self, action: Any) -> None:
        end, token, handle = self.ends[action.connection], int(action.token), int(action.memory)
        segment = end.segments.pop(0)
        if handle:
            assert self.verified[handle] == segment.head[3], "T2: not where the verified end"
            at = int(action.segment.offset)
            self.memories[handle][at : at + len(segment.body)] = segment.body
        result = CORRUPT if self.pair.corrupt(segment) else OK
        self.pair.after(MS, lambda: self._read_done(end, token, handle, segment, result))

    def _read_done(self, end: End, token: int, handle: int, segment: Segment, result: int) -> None:
        end.told = False
        if handle and result == OK:
            self.verified[handle] += len(segment.body)
        self.done(token, result)
        self.head(end)

    def _alloc(self, action: Any) -> None:
        token, length = int(action.token), int(action.length)
        if self.alloc_fails:
            self.pair.after(MS, lambda: self.done(token, FAILED))
            return
        handle = self.lend(bytes(length))
        self.verified[handle] = 0
        self.pair.after(MS, lambda: self.done(token, OK, handle))

    def _release(self, action: Any) -> None:
        del self.memories[int(action.memory)]

    # ---- events ----

    def _bytes(self, at: Any, size: int) -> bytes:
        handle = int(self.action.event.memory)
        if at == self.ffi.NULL and handle:
            return bytes(self.memories.pop(handle))
        return super()._bytes(at, size)


class LanePair(Pair):
    """Two nodes, datagrams and connections."""

    node_type = LaneNode
    a: LaneNode
    b: LaneNode

    def __init__(self, engine: Engine, **nodes: dict[str, int]) -> None:
        self.tcp = "open"
        self.links: list[Link] = []
        self.written: list[Link] = []  # one entry per segment
        self.lengths: list[int] = []
        self.outstanding = 0  # the most WRITEs that one end had not reported
        self.write_takes = MS
        self.segments_most = FULL  # what the path lets through of TCP (T8)
        self.corrupt: Callable[[Segment], bool] = lambda _segment: False
        self.witnesses = (0, 0)  # of the dialling end, of the accepting one; 0: none
        super().__init__(engine, **nodes)

    def after(self, delay: int, what: Callable[[], None]) -> None:
        self._order += 1
        thunk: Any = Thunk(what)
        heapq.heappush(self._flying, Datagram(self.now + delay, self._order, thunk, self.a, b""))

    def accept(self, end: End) -> None:
        node = end.node
        other = self.other(node)
        assert isinstance(other, LaneNode)
        addresses = [node.ffi.new("address *") for _ in range(2)]
        other.fill_address(addresses[0])
        node.fill_address(addresses[1])
        id_ = int(other.lib.engine_accept(other.at, self.now, *addresses))
        if id_ != 0:
            there = End(other, id_, end.link)
            other.witness(there, self.witnesses[1])
            end.link.ends.append(there)
            other.ends[id_] = there
            other.drain()
        if not end.over:
            node.witness(end, self.witnesses[0])
            node.news(end, OPENED)

    def carry(self, end: End, what: Callable[[End], None] | None) -> None:
        """To the other end in 1 ms, in order; None: the end of the stream."""

        def arrive() -> None:
            to = end.other
            if to is None or to.over or end.link.dead or end.link.deaf is to.node:
                return
            if what is None:
                to.node.over(to, ENDED)
                return
            what(to)
            to.node.feed(to)
            to.node.head(to)

        self.after(MS, arrive)

    def cut(self, link: Link) -> None:
        """Both ends hear of a reset."""
        for end in link.ends:
            end.node.over(end, BROKE)

    def settle(self) -> None:
        """Q6 and T5: all tables are free and all memory was given back."""
        self.run(8 * SECOND)
        assert self.a.all_free
        assert self.b.all_free
        assert self.a.memories == {}
        assert self.b.memories == {}

    def bulk_links(self) -> list[Link]:
        """Those that carry segments and still live."""
        return [
            link
            for link in self.links
            if link.lane_class > 0 and len(link.ends) == 2 and not any(e.over for e in link.ends)
        ]


def with_a_lane(engine: Engine, **nodes: dict[str, int]) -> LanePair:
    """Something big has gone over it."""
    pair = LanePair(engine, **nodes)
    pair.b.handler = lambda request: request.reply(b"")
    first = pair.a.call_big(20_000)
    pair.run_until(lambda: first.done)
    assert first.status == "OK"
    return pair


def pattern(size: int) -> bytes:
    """Bytes that show where they belong."""
    return (bytes(i * 7 & 0xFF for i in range(251)) * (size // 251 + 1))[:size]
