"""Do the bytes that the C code makes mean what docs/protocol.md says they mean?

tests/conformance.py is a second implementation, written from the document alone. Both read what the
other wrote, judge the same damaged bytes alike, and the tables of the document equal its tables.
"""

from __future__ import annotations

import hmac
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import conformance as wire
from tests.engine_module import load
from tests.unit.test_wire_frame import Made, frames, read_all

CORE = load("seal")
ffi, lib = CORE.ffi, CORE.lib

ROOT = Path(__file__).resolve().parent.parent
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
IDS = st.integers(1, 2**64 - 1)
SECOND = 10**9
KEY = bytes(range(32))


def named(made) -> wire.Frame:
    kind, fields = made
    return wire.Frame(wire.FRAMES[kind][0], fields)


# ---- sums ----


def test_crc32c_gives_the_value_everybody_gives():
    assert wire.crc32c(b"123456789") == 0xE3069283


@given(st.binary(max_size=300))
def test_crc32c_is_that_of_the_core(data):
    assert wire.crc32c(data) == lib.crc32c(0, data, len(data))


# ---- frames ----


@given(st.lists(frames(), max_size=5))
def test_frames_made_in_c_are_read_from_the_document(several):
    data = b"".join(Made(*one).write() or b"" for one in several)
    assert wire.read_frames(data) == [named(one) for one in several]


@given(frames())
def test_both_write_the_same_bytes(made):
    assert wire.write_frame(named(made)) == Made(*made).write()


@given(st.lists(frames(), max_size=3), st.binary(max_size=40), st.data())
def test_damaged_frames_are_judged_alike(several, tail, data):
    packed = bytearray(b"".join(Made(*one).write() or b"" for one in several) + tail)
    for _ in range(data.draw(st.integers(0, 3)) if packed else 0):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    found, result = read_all(bytes(packed))
    try:
        expected = wire.read_frames(bytes(packed))
    except wire.MalformedError:
        assert result == lib.FRAME_BAD
    else:
        assert result == lib.FRAME_END
        assert expected == [named(one) for one in found]


# ---- packets ----


class End:
    """One side of a plaintext session of the C code."""

    def __init__(self, ours: int, theirs: int, *, epoch_packets: int = 1 << 24) -> None:
        self.limits = ffi.new("seal_limits *", (epoch_packets, 3600 * SECOND, 3 * SECOND))
        secrets = ffi.new("session_secrets *")
        secrets.send = wire.plain_packet_key(theirs)
        secrets.receive = wire.plain_packet_key(ours)
        self.theirs = theirs
        self.seal, self.cache = ffi.new("seal *"), ffi.new("aead_cache *")
        lib.seal_start(self.seal, lib.CIPHER_PLAIN, secrets, True, 0, self.limits)

    def make(self, prologue: tuple[int, ...], body: bytes) -> bytes:
        head = lib.PACKET_HEADER + lib.PACKET_PROLOGUE
        out = ffi.new("uint8_t[]", head + len(body) + lib.SEAL_TAG_MAX)
        number = lib.seal_next_number(self.seal)
        header = ffi.new("packet_header *", (lib.seal_epoch(self.seal), self.theirs, number))
        lib.packet_header_write(out, header)
        lib.packet_prologue_write(out + lib.PACKET_HEADER, ffi.new("packet_prologue *", prologue))
        ffi.memmove(out + head, body, len(body))
        size = lib.seal_protect(
            self.seal,
            self.cache,
            out,
            lib.PACKET_HEADER,
            lib.PACKET_PROLOGUE + len(body),
            number,
        )
        return bytes(ffi.buffer(out, size))

    def take(self, datagram: bytes) -> bytes | None:
        """Prologue and frames, None if it does not open."""
        held, header = ffi.new("uint8_t[]", datagram), ffi.new("packet_header *")
        plain = ffi.new("size_t *")
        if not lib.packet_header_read(held, len(datagram), header):
            return None
        verdict = lib.seal_open(
            self.seal,
            self.cache,
            held,
            lib.PACKET_HEADER,
            len(datagram),
            header.number,
            header.epoch,
            0,
            plain,
        )
        if verdict != lib.SEAL_OK:
            return None
        return bytes(ffi.buffer(held + lib.PACKET_HEADER, plain[0]))


PROLOGUES = st.tuples(U32, U32, U64, U64)


@given(IDS, IDS, PROLOGUES, st.lists(frames(), max_size=3))
def test_packets_made_in_c_are_read_from_the_document(ours, theirs, prologue, several):
    body = b"".join(Made(*one).write() or b"" for one in several)
    if len(body) > lib.PACKET_ROOM:
        return
    packet = wire.read_packet(End(ours, theirs).make(prologue, body), session=theirs)
    read = (packet.sent_us, packet.ack_delay_us, packet.ack_largest, packet.ack_bits)
    assert (packet.epoch, packet.session, packet.number, read) == (0, theirs, 1, prologue)
    assert packet.frames == [named(one) for one in several]


@given(IDS, IDS, IDS, PROLOGUES, st.lists(frames(), max_size=3))
def test_packets_made_from_the_document_open_in_c(ours, theirs, number, prologue, several):
    packet = wire.Packet(0, ours, number, *prologue, [named(one) for one in several])
    datagram = wire.write_packet(packet)
    if len(datagram) > wire.BUDGET:
        return
    opened = End(ours, theirs).take(datagram)
    assert opened is not None
    assert opened[: lib.PACKET_PROLOGUE] == wire.PROLOGUE.pack(*prologue)
    assert read_all(opened[lib.PACKET_PROLOGUE :]) == (several, lib.FRAME_END)


@given(IDS, IDS, st.data())
def test_a_flipped_bit_of_a_packet_is_seen_by_both(ours, theirs, data):
    body = wire.write_frame(wire.Frame("CANCEL", {"slot": 1, "sequence": 2}))
    packet = bytearray(End(theirs, ours).make((1, 2, 3, 4), body))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(wire.MalformedError):
        wire.read_packet(bytes(packet), session=ours)
    header = ffi.new("packet_header *")
    held = ffi.new("uint8_t[]", bytes(packet))
    known = lib.packet_header_read(held, len(packet), header) and header.session == ours
    assert not known or End(ours, theirs).take(bytes(packet)) is None


def test_keys_change_in_plaintext_too():
    """K7: two bits of the header say which key, each is the HMAC of the one before."""
    end, changes = End(5, 6, epoch_packets=3), 0
    for _ in range(40):
        changes += lib.seal_epoch(end.seal) != changes % 4
        datagram = end.make((0, 0, 0, 0), b"")
        assert wire.read_packet(datagram, session=6, epochs=changes).epoch == changes % 4
        lib.seal_acknowledged(end.seal, end.seal.next - 1, 0)
    assert changes > 4, "all two bits were used, and again"


@given(U64, U64)
def test_both_read_acknowledgements_alike(largest, bits):
    packet = wire.Packet(0, 1, 1, 0, 0, largest, bits, [])
    prologue = ffi.new("packet_prologue *", (0, 0, largest, bits))
    near = range(max(1, largest - 70), min(2**64, largest + 3))
    found = {n for n in near if lib.packet_acknowledges(prologue, n)}
    assert {n for n in packet.acknowledged if n > 0} == found


# ---- handshake ----

WIDTHS = (64, 64, 64, 64, 32, 32, 16, 16, 16, 16, 8, 8)
PARAMETERS = st.tuples(*(st.integers(0, 2**width - 1) for width in WIDTHS)).map(
    lambda values: dict(zip(wire.PARAMETER_NAMES, values, strict=True))
)


def cluster_keys(*keys: bytes):
    held = ffi.new("hello_keys *")
    pair = [*(ffi.new("uint8_t[]", key) for key in keys), ffi.NULL, ffi.NULL]
    lib.hello_keys_set(held, pair[0], pair[1])
    return held


def c_parameters(values: dict[str, int]) -> bytes:
    out = ffi.new("uint8_t[]", lib.PARAMETERS_SIZE)
    w = ffi.new("writer *", lib.writer_of(out, lib.PARAMETERS_SIZE))
    lib.parameters_write(w, ffi.new("parameters *", tuple(values.values())))
    assert w.ok
    return bytes(ffi.buffer(out))


class Handshake:
    """Both messages as the C code makes them, and the secrets of both ends."""

    def __init__(self, dialler: int, acceptor: int, payload: bytes, *keys: bytes) -> None:
        held, room = cluster_keys(*keys), lib.HELLO_ROOM
        one, two = ffi.new("hello_state *"), ffi.new("hello_state *")
        out, got = ffi.new("uint8_t[]", room), ffi.new("uint8_t[]", room)
        size, session = ffi.new("size_t *"), ffi.new("uint64_t *")
        n = len(payload)
        assert lib.hello_write_first(one, held, bytes([7] * 32), dialler, payload, n, out, room)
        self.first = bytes(ffi.buffer(out))
        assert lib.hello_read_first(two, held, out, room, session, got, size) == lib.HELLO_OK
        assert bytes(ffi.buffer(got, size[0])) == payload
        assert lib.hello_write_second(
            two, bytes([9] * 32), dialler, acceptor, payload, n, out, room
        )
        self.second = bytes(ffi.buffer(out))
        assert lib.hello_read_second(one, held, out, room, session, got, size) == lib.HELLO_OK
        self.dialler, self.acceptor = (ffi.new("session_secrets *") for _ in range(2))
        lib.hello_split(one, True, self.dialler)
        lib.hello_split(two, False, self.acceptor)


@given(PARAMETERS)
def test_parameters_are_read_and_written_alike(values):
    data = c_parameters(values)
    assert wire.read_parameters(data) == values
    assert wire.write_parameters(values) == data


@given(IDS, IDS, PARAMETERS)
def test_plaintext_handshakes_made_in_c_are_read_from_the_document(dialler, acceptor, values):
    made = Handshake(dialler, acceptor, c_parameters(values))
    first, second = wire.read_hello(made.first), wire.read_hello(made.second)
    assert (first.kind, first.pattern, first.dialler) == (wire.FIRST, wire.PLAIN, dialler)
    assert (second.kind, second.dialler, second.acceptor) == (wire.SECOND, dialler, acceptor)
    assert wire.read_parameters(first.body) == wire.read_parameters(second.body) == values
    assert len(made.first) == len(made.second) == wire.BUDGET


@given(IDS, IDS, PARAMETERS)
def test_plaintext_handshakes_made_from_the_document_open_in_c(dialler, acceptor, values):
    held, state = cluster_keys(), ffi.new("hello_state *")
    payload = wire.write_parameters(values)
    message = wire.write_hello(wire.Hello(wire.FIRST, wire.PLAIN, dialler, 0, payload))
    assert message == Handshake(dialler, acceptor, payload).first
    session, size = ffi.new("uint64_t *"), ffi.new("size_t *")
    got = ffi.new("uint8_t[]", lib.HELLO_ROOM)
    verdict = lib.hello_read_first(state, held, message, len(message), session, got, size)
    assert (verdict, session[0]) == (lib.HELLO_OK, dialler)
    assert bytes(ffi.buffer(got, size[0])) == payload


@given(IDS, IDS)
def test_keys_of_a_plaintext_session_are_those_of_the_document(dialler, acceptor):
    made = Handshake(dialler, acceptor, b"")
    to_acceptor, to_dialler = map(wire.plain_packet_key, (acceptor, dialler))
    assert bytes(made.dialler.send) == bytes(made.acceptor.receive) == to_acceptor
    assert bytes(made.dialler.receive) == bytes(made.acceptor.send) == to_dialler


@settings(max_examples=20)
@given(IDS, IDS, PARAMETERS)
def test_what_surrounds_a_sealed_handshake_is_read_too(dialler, acceptor, values):
    """K4: the check is an HMAC that anybody with the cluster key can make, before any Noise."""
    payload = c_parameters(values)
    made = Handshake(dialler, acceptor, payload, KEY)
    first = wire.read_hello(made.first, cluster_key=KEY)
    second = wire.read_hello(made.second, cluster_key=KEY)
    assert (first.pattern, first.dialler) == (wire.NNPSK0, dialler)
    assert (second.dialler, second.acceptor) == (dialler, acceptor)
    assert len(first.body) == len(payload) + wire.NOISE_OVERHEAD
    assert len(second.body) == len(payload) + wire.NOISE_OVERHEAD + 20
    assert payload not in bytes(
        first.body
    )  # the padding after it is all zeros, as a payload may be
    assert payload not in bytes(second.body)
    with pytest.raises(wire.MalformedError):
        wire.read_hello(made.first, cluster_key=bytes(32))


@given(st.sampled_from([(), (KEY,)]), st.data())
def test_damaged_handshakes_are_judged_alike(keys, data):
    message = bytearray(Handshake(3, 4, bytes(52), *keys).first)
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(wire.MalformedError):
        wire.read_hello(bytes(message), cluster_key=keys[0] if keys else None)
    assert lib.hello_check_first(cluster_keys(*keys), bytes(message), 1200) != lib.HELLO_OK


# ---- lanes ----

NONCES = st.binary(min_size=16, max_size=16)
SEGMENTS = st.builds(wire.Segment, st.sampled_from([1, 2]), U16, U32, U64, st.binary(max_size=400))


def c_lane(secret: bytes, lane: int, nonces: tuple[bytes, bytes], *, from_dialler: bool):
    cipher = ffi.new("lane_cipher *")
    lib.lane_cipher_start(cipher, lib.CIPHER_PLAIN, secret, lane, *nonces, from_dialler)
    return cipher


def c_segment(cipher, one: wire.Segment) -> bytes:
    head = ffi.new("segment *", (one.kind, 0, one.slot, one.sequence, one.offset, len(one.body)))
    out = ffi.new("uint8_t[]", lib.SEGMENT_HEADER)
    lib.segment_protect_header(cipher, head, out)
    if not one.body:
        return bytes(ffi.buffer(out))
    tag = ffi.new("uint8_t[]", lib.SEGMENT_TRAILER)
    half = len(one.body) // 2
    for piece in (one.body[:half], one.body[half:]):
        lib.segment_seal_update(cipher, ffi.from_buffer(piece), ffi.NULL, len(piece))
    lib.segment_seal_finish(cipher, tag)
    return bytes(ffi.buffer(out)) + one.body + bytes(ffi.buffer(tag))


@given(IDS, IDS, U32, st.tuples(NONCES, NONCES), st.booleans(), st.lists(SEGMENTS, max_size=6))
def test_segments_made_in_c_are_read_from_the_document(
    dialler, acceptor, lane, nonces, from_dialler, segments
):
    """T10, M4: lane keys, nonces 2k and 2k + 1, and in plaintext a sum in the tag's place."""
    secret = bytes(Handshake(dialler, acceptor, b"").dialler.lane)
    cipher = c_lane(secret, lane, nonces, from_dialler=from_dialler)
    key = wire.plain_lane_key(dialler, acceptor, lane, nonces, from_dialler=from_dialler)
    stream = b"".join(c_segment(cipher, one) for one in segments)
    assert wire.read_segments(stream, key) == segments
    assert wire.write_segments(segments, key) == stream


@given(st.lists(SEGMENTS, min_size=1, max_size=12), st.integers(1, 600))
def test_lanes_change_keys_where_the_document_says(segments, ratchet):
    """K7: behind the segment whose body reaches the limit."""
    cipher = c_lane(bytes(32), 5, (bytes(16), KEY[:16]), from_dialler=True)
    cipher.ratchet_bytes = ratchet
    key = bytes(cipher.key)
    stream = b"".join(c_segment(cipher, one) for one in segments)
    assert wire.read_segments(stream, key, ratchet_bytes=ratchet) == segments


@given(st.lists(SEGMENTS, min_size=2, max_size=4), st.data())
def test_a_damaged_lane_is_noticed(segments, data):
    cipher = c_lane(bytes(32), 5, (bytes(16), KEY[:16]), from_dialler=True)
    key = bytes(cipher.key)
    stream = bytearray(b"".join(c_segment(cipher, one) for one in segments))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(wire.MalformedError):
        wire.read_segments(bytes(stream), key)


@given(st.lists(st.binary(min_size=1, max_size=1200), max_size=5))
def test_records_are_a_length_and_a_packet(records):
    stream = b"".join(len(one).to_bytes(2, "little") + one for one in records)
    assert wire.read_records(stream) == records


# ---- the document itself ----

# A rule begins a line: "**R7** (S1, P1). Text."
RULE = re.compile(r"^\*\*R(\d+)\*\* \(([^)]+)\)\.", re.MULTILINE)
DESIGN = re.compile(r"^(?:[SCOPMTALKED]\d{1,2}|Rule \d{1,2}|§\d{1,2})$")


def test_rules_are_numbered_from_one_and_cite_the_design():
    rules = RULE.findall(PROTOCOL)
    assert [int(number) for number, _ in rules] == list(range(1, len(rules) + 1))
    for number, cited in rules:
        assert all(DESIGN.match(one) for one in cited.split(", ")), f"R{number}: {cited}"
    assert len(re.findall(r"^\*\*R\d", PROTOCOL, re.MULTILINE)) == len(rules)


def test_rules_that_are_referred_to_exist():
    known = {int(number) for number, _ in RULE.findall(PROTOCOL)}
    for path in [Path(wire.__file__), *(ROOT / "docs").glob("*.md")]:
        cited = {int(number) for number in re.findall(r"\bR(\d+)\b", path.read_text())}
        assert cited <= known, path.name


def rows(heading: str) -> list[list[str]]:
    """The table below a heading, without its head."""
    section = PROTOCOL.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_the_table_of_frames_is_the_one_implemented():
    sizes = {"u8": "1", "u16": "2", "u32": "4", "u64": "8", "b16": "16"}

    def shown(fields) -> str:
        return " ".join(f"{name}:{sizes.get(kind, kind)}" for name, kind in fields)

    table = {int(row[0]): (row[1], row[2]) for row in rows("### Frame types")}
    assert table.pop(wire.PADDING) == ("PADDING", "zeros:rest")
    assert table == {kind: (name, shown(fields)) for kind, (name, fields) in wire.FRAMES.items()}


def test_the_table_of_statuses_is_that_of_the_core():
    table = [(int(row[0]), row[1], row[2]) for row in rows("### Statuses")]
    core = [
        (n, *(ffi.string(f(n)).decode() for f in (lib.status_name, lib.status_text)))
        for n in range(lib.STATUS_COUNT)
    ]
    assert table == core


def test_the_vector_of_the_document_is_right():
    """The example in hexadecimal digits, for who writes a third implementation."""
    block = re.search(r"```vector\n(.*?)```", PROTOCOL, re.DOTALL)
    assert block is not None
    digits = "".join(line.split("#")[0] for line in block.group(1).splitlines())
    packet = wire.read_packet(bytes.fromhex(digits), session=0x1122334455667788)
    assert [frame.name for frame in packet.frames] == ["REQUEST"]
    assert packet.frames[0].fields["method"] == b"add"
    assert hmac.compare_digest(wire.write_packet(packet).hex(), "".join(digits.split()))
