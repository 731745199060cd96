"""A second implementation of the wire format, written from docs/protocol.md and from nothing else.

    read_packet(datagram, session=id)   -> Packet     plaintext, tag checked (R30 to R36)
    read_hello(message)                 -> Hello      both patterns, check verified (R18 to R24)
    read_segments(stream, key)          -> segments of one direction of a lane (R89 to R93)

and the same the other way round with ``write_...``. It shares no line with native/, so a field that
the C code writes in one way and reads in the same wrong way is found here. Sealed bodies need
libcrypto and stay closed: what is around them is read all the same.

A document that cannot be implemented is wrong: change this file only together with the rule.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import Any

# ---- integers and sums (R1, R2) ----


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC32C (Castagnoli), reflected, all ones before and after."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def mac(key: bytes, *pieces: bytes) -> bytes:
    """HMAC-SHA256 over the pieces one after the other."""
    return hmac.new(key, b"".join(pieces), hashlib.sha256).digest()


class MalformedError(Exception):
    """The bytes break a rule; its number stands in the text."""


def expect(condition: object, rule: str) -> None:
    if not condition:
        raise MalformedError(rule)


_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}


class Bytes:
    """What is left to read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int, rule: str = "R3") -> bytes:
        expect(size <= self.left, rule)
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, kind: str, rule: str = "R3") -> int:
        return int.from_bytes(self.take(_SIZES[kind], rule), "little")


def number(kind: str, value: int) -> bytes:
    return value.to_bytes(_SIZES[kind], "little")


# ---- frames (R37 to R39) ----

BEAT = (("idle_ms", "u32"), ("oldest_ms", "u32"), ("queued", "u32"), ("drops", "u32"))
CALL = (("slot", "u16"), ("sequence", "u32"))
TRANSFER = (("transfer_slot", "u16"), ("transfer_sequence", "u32"))
NAMES = (("method", "v8"), ("extension", "v16"))
LANE = (("lane", "u32"),)
TOKEN = (("number", "u64"),)

# type: name, fields in order. v8, v16: a length of so many bits, then bytes. rest: to the end.
FRAMES: dict[int, tuple[str, tuple[tuple[str, str], ...]]] = {
    1: ("PROBE", BEAT),
    2: ("PONG", (*BEAT, *TOKEN, ("sent_us", "u32"), ("held_us", "u32"))),
    3: ("REQUEST", (*CALL, ("remaining_ms", "u32"), ("flags", "u8"), *NAMES, ("body", "rest"))),
    4: ("REPLY", (*CALL, ("status", "u8"), ("flags", "u8"), ("body", "rest"))),
    5: ("REFUSED", (*CALL, ("status", "u8"))),
    6: ("CANCEL", CALL),
    7: ("GRANTS", (("calls", "u16"), ("transfers", "u16"), ("eager", "u32"))),
    8: (
        "OFFER",
        (
            *TRANSFER,
            *(("what", "u8"), ("flags", "u8"), ("status", "u8")),
            *CALL,
            *(("total", "u64"), ("remaining_ms", "u32")),
            *NAMES,
        ),
    ),
    9: ("TRANSFER", (*TRANSFER, ("state", "u8"), ("status", "u8"), *LANE, ("position", "u64"))),
    10: ("QUERY", (*TRANSFER, *LANE)),
    11: ("ABANDON", TRANSFER),
    12: ("LANE_HELLO", (*LANE, ("nonce", "b16"))),
    13: ("LANE_WELCOME", (*LANE, ("nonce", "b16"))),
    14: ("LANE_ASK", (("lane_class", "u8"),)),
    15: ("LANE_GONE", LANE),
    16: ("LANE_PARK", ()),
    17: ("DRAIN", ()),
    18: ("CLOSE", (("status", "u8"),)),
    19: ("CHALLENGE", TOKEN),
    20: ("RESPONSE", TOKEN),
}
TYPES = {name: kind for kind, (name, _) in FRAMES.items()}
PADDING = 0x81
UNKNOWN_IDLE = 2**32 - 1


@dataclass(frozen=True)
class Frame:
    """A frame that is not passed over: its name and its fields."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


def _read_field(body: Bytes, kind: str) -> Any:
    if kind in _SIZES:
        return body.number(kind, "R39")
    if kind == "b16":
        return body.take(16, "R39")
    if kind == "rest":
        return body.take(body.left)
    return body.take(body.number("u" + kind[1:], "R39"), "R39")


def read_frames(data: bytes) -> list[Frame]:
    """All frames of a packet but the skippable unknown ones and PADDING."""
    rest, frames = Bytes(data), []
    while rest.left:
        kind = rest.number("u8")
        body = Bytes(rest.take(rest.number("u16", "R37"), "R37"))
        if kind in FRAMES:
            name, fields = FRAMES[kind]
            frames.append(Frame(name, {key: _read_field(body, how) for key, how in fields}))
        else:
            expect(kind & 0x80, "R38")
    return frames


def _write_field(kind: str, value: Any) -> bytes:
    if kind in _SIZES:
        return number(kind, value)
    if kind in ("b16", "rest"):
        return bytes(value)
    return number("u" + kind[1:], len(value)) + value


def write_frame(frame: Frame) -> bytes:
    kind = TYPES[frame.name]
    body = b"".join(_write_field(how, frame.fields[key]) for key, how in FRAMES[kind][1])
    return number("u8", kind) + number("u16", len(body)) + body


# ---- packets (R30 to R36) ----

BUDGET = 1200
HEADER = struct.Struct("<BBQQ")
PROLOGUE = struct.Struct("<IIQQ")


@dataclass(frozen=True)
class Packet:
    """An opened packet."""

    epoch: int
    session: int
    number: int
    sent_us: int
    ack_delay_us: int
    ack_largest: int
    ack_bits: int
    frames: list[Frame]

    @property
    def acknowledged(self) -> set[int]:
        """The numbers of ours that its sender has received (R36)."""
        if self.ack_largest == 0:
            return set()
        below = {self.ack_largest - 1 - i for i in range(64) if self.ack_bits >> i & 1}
        return {self.ack_largest} | below


def plain_packet_key(session: int, epochs: int = 0) -> bytes:
    """The key of packets to this session after so many changes (R32, R33)."""
    key = number("u64", session) + bytes(24)
    for _ in range(epochs):
        key = mac(key, b"rudp next packet key")
    return key


def _plain_tag(key: bytes, packet_number: int, packet: bytes) -> bytes:
    return number("u32", crc32c(key + number("u64", packet_number) + packet))


def read_packet(datagram: bytes, *, session: int, epochs: int = 0) -> Packet:
    """A plaintext packet for the session; ``epochs``: key changes so far in its direction."""
    expect(len(datagram) <= BUDGET, "R4")
    expect(len(datagram) >= HEADER.size + PROLOGUE.size + 4, "R30")
    kind, reserved, to, packet_number = HEADER.unpack_from(datagram)
    expect(kind & 0xF3 == 0x20 and reserved == 0 and packet_number != 0, "R30")
    expect(to == session, "R30")
    epoch = kind >> 2 & 3
    expect(epoch == epochs % 4, "R33")
    sealed, tag = datagram[:-4], datagram[-4:]
    expect(_plain_tag(plain_packet_key(session, epochs), packet_number, sealed) == tag, "R32")
    prologue = PROLOGUE.unpack_from(sealed, HEADER.size)
    frames = read_frames(sealed[HEADER.size + PROLOGUE.size :])
    return Packet(epoch, to, packet_number, *prologue, frames)


def write_packet(packet: Packet, *, epochs: int = 0) -> bytes:
    header = HEADER.pack(0x20 | packet.epoch << 2, 0, packet.session, packet.number)
    acks = (packet.sent_us, packet.ack_delay_us, packet.ack_largest, packet.ack_bits)
    frames = b"".join(write_frame(frame) for frame in packet.frames)
    sealed = header + PROLOGUE.pack(*acks) + frames
    return sealed + _plain_tag(plain_packet_key(packet.session, epochs), packet.number, sealed)


# ---- handshake (R18 to R24) ----

FIRST, SECOND, VERSION = 0x11, 0x12, 1
PLAIN, NNPSK0 = 0, 1
NOISE_OVERHEAD = 32 + 16
PARAMETERS = struct.Struct("<QQQQIIHHHHBB")
PARAMETER_NAMES = (
    *("incarnation", "counter", "doubted", "max_message", "max_ack_delay_us", "lost_ms"),
    *("port", "budget", "calls", "transfers", "ciphers", "verdict"),
)


def read_parameters(payload: bytes) -> dict[str, int]:
    rest = Bytes(payload)
    fields = rest.take(rest.number("u16", "R24"), "R24")
    expect(len(fields) >= PARAMETERS.size, "R24")
    return dict(zip(PARAMETER_NAMES, PARAMETERS.unpack_from(fields), strict=True))


def write_parameters(values: dict[str, int]) -> bytes:
    fields = PARAMETERS.pack(*(values[name] for name in PARAMETER_NAMES))
    return number("u16", len(fields)) + fields


@dataclass(frozen=True)
class Hello:
    """A handshake message; the body is the payload in plaintext, a Noise message with a key."""

    kind: int
    pattern: int
    dialler: int
    acceptor: int
    body: bytes


def _hello_ids(hello: Hello) -> bytes:
    ids = struct.pack("<BBBBQ", hello.kind, VERSION, hello.pattern, 0, hello.dialler)
    return ids + (number("u64", hello.acceptor) if hello.kind == SECOND else b"")


def _hello_check(hello: Hello, cluster_key: bytes | None) -> bytes:
    covered = _hello_ids(hello) + number("u16", len(hello.body)) + hello.body
    if hello.pattern == PLAIN:
        return number("u32", crc32c(covered)) + bytes(12)
    expect(cluster_key is not None, "R21")
    assert cluster_key is not None
    return mac(mac(cluster_key, b"rudp hello check"), covered)[:16]


def read_hello(message: bytes, *, cluster_key: bytes | None = None) -> Hello:
    expect(len(message) <= BUDGET, "R4")
    rest = Bytes(message)
    kind, version = rest.number("u8", "R18"), rest.number("u8", "R18")
    expect(kind in (FIRST, SECOND) and version == VERSION, "R18")
    pattern, reserved = rest.number("u8", "R18"), rest.number("u8", "R18")
    expect(reserved == 0, "R18")
    dialler = rest.number("u64", "R18")
    acceptor = rest.number("u64", "R18") if kind == SECOND else 0
    check = rest.take(16, "R18")
    body = rest.take(rest.number("u16", "R18"), "R18")
    expect(not any(rest.take(rest.left)), "R19")
    hello = Hello(kind, pattern, dialler, acceptor, body)
    expect(hmac.compare_digest(check, _hello_check(hello, cluster_key)), "R21")
    expect(pattern == PLAIN or len(body) >= NOISE_OVERHEAD, "R22")
    return hello


def write_hello(hello: Hello, *, cluster_key: bytes | None = None, room: int = BUDGET) -> bytes:
    message = _hello_ids(hello) + _hello_check(hello, cluster_key)
    message += number("u16", len(hello.body)) + hello.body
    return message + bytes(room - len(message))


# ---- lanes (R89 to R93) ----

SEGMENT = struct.Struct("<BBHIQI4x8x")
RATCHET = 0x80
RATCHET_BYTES = 64 << 30


def plain_lane_key(
    dialler: int, acceptor: int, lane: int, nonces: tuple[bytes, bytes], *, from_dialler: bool
) -> bytes:
    """The key of one direction of a plaintext lane; nonces: of hello and welcome (R91)."""
    secret = number("u64", dialler) + number("u64", acceptor) + bytes(16)
    which = number("u32", lane) + number("u8", from_dialler)
    return mac(secret, b"rudp lane key", which, *nonces)


@dataclass(frozen=True)
class Segment:
    """One segment, its body included."""

    kind: int
    slot: int
    sequence: int
    offset: int
    body: bytes


def _segment_tag(key: bytes, nonce: int, part: bytes) -> bytes:
    return number("u32", crc32c(key + number("u64", nonce) + part)) + bytes(12)


def read_segments(
    stream: bytes, key: bytes, *, ratchet_bytes: int = RATCHET_BYTES
) -> list[Segment]:
    """All segments of one direction of a plaintext lane, from its first on."""
    rest, segments, total = Bytes(stream), [], 0
    while rest.left:
        count = len(segments)
        fields = rest.take(SEGMENT.size, "R89")
        expect(rest.take(16, "R89") == _segment_tag(key, 2 * count, fields), "R92")
        kind, flags, slot, sequence, offset, length = SEGMENT.unpack(fields)
        expect(not any(fields[20:]), "R89")
        total += length
        expect(flags == (RATCHET if total >= ratchet_bytes else 0), "R93")
        body = rest.take(length, "R90")
        if length:
            expect(rest.take(16, "R90") == _segment_tag(key, 2 * count + 1, body), "R92")
        segments.append(Segment(kind, slot, sequence, offset, body))
        if flags & RATCHET:
            key, total = mac(key, b"rudp next lane key"), 0
    return segments


def write_segments(segments: list[Segment], key: bytes) -> bytes:
    """The same the other way round, from the first segment of a lane on; below 64 GiB in all."""
    parts = []
    for count, one in enumerate(segments):
        fields = SEGMENT.pack(one.kind, 0, one.slot, one.sequence, one.offset, len(one.body))
        parts += [fields, _segment_tag(key, 2 * count, fields), one.body]
        parts += [_segment_tag(key, 2 * count + 1, one.body)] if one.body else []
    return b"".join(parts)


# ---- connections in packet mode (R79) ----


def read_records(stream: bytes) -> list[bytes]:
    """The packets and handshake messages of a connection that is not a bulk lane."""
    rest, records = Bytes(stream), []
    while rest.left:
        size = rest.number("u16", "R79")
        expect(0 < size <= BUDGET, "R79")
        records.append(rest.take(size, "R79"))
    return records
