"""Is docs/protocol.md enough to talk to a node? A client written from it alone does, in plaintext.

The client shares no code with the core: packets, frames, handshake and segments are those of
tests/conformance.py, the rest is below. It resends nothing, for loopback loses nothing here.
"""

from __future__ import annotations

import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

import rudp
import rudp.sync
from tests import conformance as wire
from tests.conformance import Frame, Segment

PATIENCE = 20.0  # seconds until a wait is given up
CANCELLED, NO_METHOD = 3, 5
REQUEST, REPLY = 1, 2  # what an OFFER carries
GRANTED, COMPLETE = 2, 3


class Client:
    """The dialling end of a session, over one UDP socket."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.target = (host, int(port))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(self.target)
        self.incarnation = secrets.randbits(64) | 1
        self.counter = 0
        self.id = self.peer_id = 0
        self.theirs: dict[str, int] = {}
        self.sent = 0  # number of the newest packet
        self.got: list[wire.Packet] = []
        self.acknowledged: set[int] = set()
        self.frames: list[Frame] = []

    # -- handshake --

    def first(self) -> bytes:
        """A new message 1."""
        self.counter += 1
        self.id = secrets.randbits(64) | 1
        values = dict.fromkeys(wire.PARAMETER_NAMES, 0)
        values |= {"incarnation": self.incarnation, "counter": self.counter}
        values |= {"max_message": 1 << 30, "max_ack_delay_us": 25_000, "lost_ms": 4_000}
        values |= {"budget": wire.BUDGET, "calls": 4, "transfers": 4, "ciphers": 1}
        payload = wire.write_parameters(values)
        return wire.write_hello(wire.Hello(wire.FIRST, wire.PLAIN, self.id, 0, payload))

    def hear(self) -> bytes:
        self.socket.settimeout(PATIENCE)
        return self.socket.recv(2048)

    def dial(self) -> None:
        self.socket.send(self.first())
        self.welcome(wire.read_hello(self.hear()))

    def welcome(self, second: wire.Hello) -> None:
        assert (second.kind, second.dialler) == (wire.SECOND, self.id)
        self.peer_id, self.theirs = second.acceptor, wire.read_parameters(second.body)

    # -- packets --

    def packet(self, frames: list[Frame], raw: bytes = b"") -> bytes:
        """The next packet to the node, with all acknowledgements; ``raw`` stands for frames."""
        self.sent += 1
        numbers = {packet.number for packet in self.got}
        largest = max(numbers, default=0)
        bits = sum(1 << i for i in range(64) if largest - 1 - i in numbers)
        now = time.monotonic_ns() // 1000 % 2**32
        made = wire.Packet(0, self.peer_id, self.sent, now, 0, largest, bits, frames)
        if not raw:
            return wire.write_packet(made)
        body = wire.write_packet(made)[:-4] + raw
        key = wire.plain_packet_key(self.peer_id)
        tag = wire.crc32c(key + struct.pack("<Q", self.sent) + body)
        return body + struct.pack("<I", tag)

    def send(self, *frames: Frame) -> int:
        """One packet over UDP; gives its number."""
        self.socket.send(self.packet(list(frames)))
        return self.sent

    def take(self, datagram: bytes) -> None:
        packet = wire.read_packet(datagram, session=self.id)
        assert packet.number not in {old.number for old in self.got}, "a number was used twice"
        self.got.append(packet)
        self.acknowledged |= packet.acknowledged
        self.frames += packet.frames
        if any(frame.name == "PROBE" for frame in packet.frames):
            self.send(self.pong(packet))

    def pong(self, probe: wire.Packet) -> Frame:
        beat = {name: 0 for name, _ in wire.BEAT}
        return Frame(
            "PONG", beat | {"number": probe.number, "sent_us": probe.sent_us, "held_us": 0}
        )

    def until(self, what: Callable[[], Any]) -> Any:
        """Listen until it is there."""
        while not (found := what()):
            self.take(self.hear())
        return found

    def find(self, name: str, **fields: int) -> Frame | None:
        matching = (frame for frame in self.frames if frame.name == name)
        return next((f for f in matching if fields.items() <= f.fields.items()), None)

    def wait_for(self, name: str, **fields: int) -> Frame:
        found = self.until(lambda: self.find(name, **fields))
        assert isinstance(found, Frame)
        return found

    def probe(self) -> int:
        return self.send(Frame("PROBE", {name: 0 for name, _ in wire.BEAT}))


def request(slot: int, sequence: int, method: str, *args: Any) -> Frame:
    fields = {"slot": slot, "sequence": sequence, "remaining_ms": 15_000, "flags": 0}
    names = {"method": method.encode(), "extension": b"", "body": msgpack.packb(args)}
    return Frame("REQUEST", fields | names)


class Runs:
    """The journal of the handlers."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.lock = threading.Lock()

    def note(self, value: int) -> int:
        with self.lock:
            self.seen.append(value)
        return value


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def node(runs: Runs) -> Iterator[rudp.sync.Node]:
    with rudp.sync.Node("127.0.0.1:0") as node:
        node.register("note", runs.note)
        node.register("size", len)
        node.register("zeros", bytearray)
        yield node


@pytest.fixture
def client(node: rudp.sync.Node) -> Iterator[Client]:
    made = Client(node.address)
    yield made
    made.socket.close()


def test_a_call_is_one_packet_there_and_one_back(client, runs):
    client.dial()
    assert client.theirs["ciphers"] == 0
    assert (client.theirs["counter"], client.theirs["verdict"]) == (1, 0)
    number = client.send(request(0, 1, "note", 42))
    reply = client.wait_for("REPLY", slot=0, sequence=1)
    assert (reply.fields["status"], msgpack.unpackb(reply.fields["body"])) == (0, 42)
    client.until(lambda: number in client.acknowledged)
    assert runs.seen == [42]


def test_a_probe_is_answered_with_its_number_and_time(client):
    """L1: and the answer is an acknowledgement too."""
    client.dial()
    number = client.probe()
    pong = client.wait_for("PONG", number=number)
    assert pong.fields["held_us"] < 10_000_000
    assert number in client.acknowledged


def test_an_acknowledgement_goes_alone_when_nothing_goes_with_it(client, runs):
    """P3: after max_ack_delay, also if the packet before was acknowledged by its reply."""
    client.dial()
    client.send(request(0, 1, "note", 1))
    client.wait_for("REPLY", slot=0, sequence=1)
    number = client.send(request(0, 1, "note", 1))
    client.until(lambda: number in client.acknowledged)
    assert client.got[-1].frames == []
    assert runs.seen == [1]


def test_a_copy_runs_nothing_and_a_new_sequence_does(client, runs):
    """C1: lower is old, equal is a copy, higher is new."""
    client.dial()
    for value, sequence in ((1, 2), (2, 2), (3, 1), (4, 3)):
        number = client.send(request(0, sequence, "note", value))
        client.until(lambda number=number: number in client.acknowledged)
    client.wait_for("REPLY", slot=0, sequence=3)
    assert runs.seen == [1, 4]


def test_a_cancel_that_overtakes_its_request_burns_it(client, runs):
    """C2."""
    client.dial()
    client.send(Frame("CANCEL", {"slot": 1, "sequence": 1}))
    assert client.wait_for("REFUSED", slot=1, sequence=1).fields["status"] == CANCELLED
    client.send(request(1, 1, "note", 1), request(2, 1, "note", 2))
    client.wait_for("REPLY", slot=2, sequence=1)
    assert runs.seen == [2]


def test_an_unknown_method_is_refused(client):
    client.dial()
    client.send(request(0, 1, "nobody"))
    assert client.wait_for("REFUSED", slot=0, sequence=1).fields["status"] == NO_METHOD


def test_strange_frames_are_passed_over_or_fail_the_packet(client, runs):
    """Section 14: by one bit of the type. What failed is not acknowledged (P2)."""
    client.dial()
    client.socket.send(client.packet([request(0, 1, "note", 1)], raw=b"\xf0\x03\x00abc"))
    skipped = client.sent
    client.wait_for("REPLY", slot=0, sequence=1)
    client.socket.send(client.packet([], raw=b"\x64\x03\x00abc"))
    failed = client.sent
    client.wait_for("PONG", number=client.probe())
    assert skipped in client.acknowledged
    assert failed not in client.acknowledged
    assert runs.seen == [1]


def test_strangers_are_met_with_silence(client):
    """K4, K11: the first answer of all is the one to the first genuine message."""
    genuine = client.first()
    old_id = client.id
    altered = bytearray(genuine)
    altered[40] ^= 1
    for noise in (
        b"",
        b"\x11",
        bytes(1200),
        bytes(altered),
        genuine[:1199],
        secrets.token_bytes(900),
    ):
        client.socket.send(noise)
    client.socket.send(genuine)
    client.socket.send(genuine)  # a replay: its counter is not new
    second = wire.read_hello(client.hear())
    assert second.dialler == old_id
    client.socket.send(client.first())
    client.welcome(wire.read_hello(client.hear()))
    assert client.id != old_id


def test_a_session_that_was_closed_says_so_once_more(client):
    """S7: a late packet of an ended session earns a CLOSE, at most one a second."""
    client.dial()
    client.wait_for("PONG", number=client.probe())
    client.send(Frame("CLOSE", {"status": 14}))
    time.sleep(1.1)  # the rate limit of its answers counts from the end
    client.probe()
    client.wait_for("CLOSE")


# ---- lanes ----


class Lane:
    """A bulk lane that the client has opened."""

    def __init__(self, client: Client, number: int) -> None:
        self.stream = socket.create_connection(client.target, timeout=PATIENCE)
        nonce = secrets.token_bytes(16)
        hello = client.packet([Frame("LANE_HELLO", {"lane": number, "nonce": nonce})])
        self.stream.sendall(struct.pack("<H", len(hello)) + hello)
        (size,) = struct.unpack("<H", self.exactly(2))
        packet = wire.read_packet(self.exactly(size), session=client.id)
        client.got.append(packet)
        (welcome,) = packet.frames
        assert (welcome.name, welcome.fields["lane"]) == ("LANE_WELCOME", number)
        ids = (client.id, client.peer_id, number, (nonce, welcome.fields["nonce"]))
        self.sending = wire.plain_lane_key(*ids, from_dialler=True)
        self.receiving = wire.plain_lane_key(*ids, from_dialler=False)

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.stream.recv(size - len(data))
            assert more, "the node closed the connection"
            data += more
        return data

    def receive(self, total: int) -> list[Segment]:
        """Segments until so many bytes of bodies have come."""
        stream, got = b"", 0
        while got < total:
            head = self.exactly(48)
            (length,) = struct.unpack_from("<I", head, 16)
            stream += head + self.exactly(length + 16)
            got += length
        return wire.read_segments(stream, self.receiving)


def offer(slot: int, what: int, total: int, method: str) -> Frame:
    fields = {"transfer_slot": slot, "transfer_sequence": 1, "what": what, "flags": 0, "status": 0}
    call = {"slot": slot, "sequence": 1, "total": total, "remaining_ms": 15_000}
    return Frame("OFFER", fields | call | {"method": method.encode(), "extension": b""})


def test_a_big_request_travels_by_a_lane(client):
    """T1 to T4, M4: offer, grant, segments, complete, and a small reply."""
    client.dial()
    client.wait_for("PONG", number=client.probe())
    body = msgpack.packb([bytes(range(256)) * 300])
    client.send(offer(0, REQUEST, len(body), "size"))
    granted = client.wait_for("TRANSFER", transfer_slot=0, transfer_sequence=1, state=GRANTED)
    assert granted.fields["position"] == 0
    lane = Lane(client, 5)  # class 1
    cuts = [(at, body[at : at + 20_000]) for at in range(0, len(body), 20_000)]
    segments = [Segment(1, 0, 1, at, part) for at, part in cuts]
    lane.stream.sendall(wire.write_segments(segments, lane.sending))
    client.wait_for("TRANSFER", transfer_slot=0, transfer_sequence=1, state=COMPLETE)
    reply = client.wait_for("REPLY", slot=0, sequence=1)
    assert msgpack.unpackb(reply.fields["body"]) == 256 * 300
    lane.stream.close()


def test_a_big_reply_travels_by_a_lane(client):
    """C7: the offer of a reply proves that the handler ran; nothing comes before it is granted."""
    client.dial()
    lane = Lane(client, 5)
    client.send(request(0, 1, "zeros", 100_000))
    offered = client.wait_for("OFFER", what=REPLY, slot=0, sequence=1).fields
    which = {name: offered[name] for name in ("transfer_slot", "transfer_sequence")}
    word = which | {"status": 0, "lane": 0, "position": 0}
    client.send(Frame("TRANSFER", word | {"state": GRANTED}))
    segments = lane.receive(offered["total"])
    assert [one.offset for one in segments[1:]] == [
        one.offset + len(one.body) for one in segments[:-1]
    ]
    assert b"".join(one.body for one in segments).endswith(bytes(100_000))
    done = {"state": COMPLETE, "position": offered["total"], "lane": 5}
    number = client.send(Frame("TRANSFER", word | done))
    client.until(lambda: number in client.acknowledged)
    lane.stream.close()
