"""wire/frame.h: any bytes decode or drop; what is written is read again; sizes never lie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conformance import FRAMES
from tests.engine_module import load

WIRE = load("wire")
ffi, lib = WIRE.ffi, WIRE.lib

BEAT = ("idle_ms", "oldest_ms", "queued", "drops")
VARIABLE = {"v8": 255, "v16": 1500, "rest": 1200}
KINDS = sorted(FRAMES)
# A packet holds 1,142 bytes of frames, a test may want all sizes that the length field can say.
ROOM = 70_000


def values(kind: str) -> st.SearchStrategy[Any]:
    if kind in VARIABLE:
        return st.binary(max_size=VARIABLE[kind])
    if kind == "b16":
        return st.binary(min_size=16, max_size=16)
    return st.integers(0, 2 ** int(kind[1:]) - 1)


@st.composite
def frames(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    kind = draw(st.sampled_from(KINDS))
    return kind, {name: draw(values(how)) for name, how in FRAMES[kind][1]}


class Made:
    """A C frame with the buffers it points into."""

    def __init__(self, kind: int, fields: dict[str, Any]) -> None:
        self.frame, self.alive = ffi.new("frame *"), []
        self.frame.type = kind
        for name, value in fields.items():
            if name in BEAT:
                setattr(self.frame.beat, name, value)
            elif name == "nonce":
                self.frame.nonce = value
            elif isinstance(value, bytes):
                held = ffi.new("uint8_t[]", value + b"\0")
                self.alive.append(held)
                setattr(self.frame, name, held)
                setattr(self.frame, f"{name}_size", len(value))
            else:
                setattr(self.frame, name, value)

    def write(self, room: int = ROOM) -> bytes | None:
        out = ffi.new("uint8_t[]", room + 1)
        w = ffi.new("writer *", lib.writer_of(out, room))
        if not lib.frame_write(w, self.frame):
            assert w.at == out, "a frame that does not fit writes nothing"
            return None
        return bytes(ffi.buffer(out, w.at - out))


def field_of(frame: Any, name: str) -> Any:
    if name in BEAT:
        return getattr(frame.beat, name)
    if name == "nonce":
        return bytes(ffi.buffer(frame.nonce))
    if name in ("method", "extension", "body"):
        return bytes(ffi.buffer(getattr(frame, name), getattr(frame, f"{name}_size")))
    return getattr(frame, name)


def read_all(data: bytes) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """The frames of the bytes, and how it ended: FRAME_END or FRAME_BAD."""
    held = ffi.new("uint8_t[]", data + b"\0")
    r = ffi.new("reader *", lib.reader_of(held, len(data)))
    out, found = ffi.new("frame *"), []
    for _ in range(len(data) + 1):
        result = lib.frame_read(r, out)
        if result != lib.FRAME_READ:
            return found, result
        names = [name for name, _ in FRAMES[out.type][1]]
        found.append((out.type, {name: field_of(out, name) for name in names}))
    raise AssertionError("frame_read does not end")


@given(frames())
def test_what_is_written_is_read_again(made):
    kind, fields = made
    data = Made(kind, fields).write()
    assert data is not None
    assert read_all(data) == ([(kind, fields)], lib.FRAME_END)


@given(st.lists(frames(), max_size=6))
def test_frames_follow_one_another(several):
    data = b"".join(Made(*one).write() or b"" for one in several)
    assert read_all(data) == (several, lib.FRAME_END)


@given(frames())
def test_size_is_the_bytes_written(made):
    frame = Made(*made)
    data = frame.write()
    assert data is not None
    assert lib.frame_size(frame.frame) == len(data)
    assert frame.write(len(data)) == data
    assert frame.write(len(data) - 1) is None


def test_overheads_are_what_the_room_for_bodies_is_reckoned_with():
    empty = dict.fromkeys(("method", "extension", "body"), b"")
    assert len(Made(lib.FRAME_REQUEST, empty).write() or b"") == lib.FRAME_REQUEST_OVERHEAD
    assert len(Made(lib.FRAME_REPLY, {"body": b""}).write() or b"") == lib.FRAME_REPLY_OVERHEAD


@given(frames())
def test_cut_short_anywhere_it_fails(made):
    """Cut behind whole frames there is simply no frame; anywhere else the packet is bad."""
    data = Made(*made).write()
    assert data is not None
    for size in range(len(data)):
        assert read_all(data[:size]) == ([], lib.FRAME_END if size == 0 else lib.FRAME_BAD)


@given(frames())
def test_a_body_shorter_than_its_fields_fails(made):
    """The length field may say less than the type needs: then the packet fails (section 14)."""
    kind, fields = made
    fixed = {name: value for name, value in fields.items() if name != "body"}
    fixed |= {"body": b""} if "body" in fields else {}
    data = Made(kind, fixed).write()
    assert data is not None
    body = data[lib.FRAME_HEAD :]
    for size in range(len(body)):
        short = bytes([kind]) + size.to_bytes(2, "little") + body[:size]
        assert read_all(short) == ([], lib.FRAME_BAD)


@given(frames(), st.binary(min_size=1, max_size=20))
def test_bodies_may_grow(made, more):
    """Fields past the known ones are ignored, unless the last field takes all there is."""
    kind, fields = made
    data = Made(kind, fields).write()
    assert data is not None
    grown = bytes([kind]) + (len(data) - 3 + len(more)).to_bytes(2, "little") + data[3:] + more
    if "body" in fields:
        fields = fields | {"body": fields["body"] + more}
    assert read_all(grown) == ([(kind, fields)], lib.FRAME_END)


@given(st.integers(0x80, 0xFF), st.binary(max_size=100), frames())
def test_unknown_skippable_frames_are_passed_over(kind, body, made):
    strange = bytes([kind]) + len(body).to_bytes(2, "little") + body
    known = Made(*made).write()
    assert known is not None
    assert read_all(strange + known + strange) == ([made], lib.FRAME_END)


@given(st.integers(0, 0x7F).filter(lambda kind: kind not in FRAMES), st.binary(max_size=100))
def test_other_unknown_frames_fail_the_packet(kind, body):
    assert read_all(bytes([kind]) + len(body).to_bytes(2, "little") + body) == ([], lib.FRAME_BAD)


@pytest.mark.parametrize("kind", [*range(32, 48), 48])
def test_types_of_channels_and_budgets_are_reserved(kind):
    """D1 to D5 come later: until then nobody may use their numbers for anything else."""
    assert kind not in FRAMES
    assert ffi.string(lib.frame_name(kind)) == b"?"


@given(st.binary(max_size=1300))
def test_any_bytes_decode_or_drop(data):
    found, result = read_all(data)
    assert result in (lib.FRAME_END, lib.FRAME_BAD)
    assert len(found) <= len(data) // lib.FRAME_HEAD


@given(st.lists(frames(), min_size=1, max_size=4), st.data())
def test_flipped_bytes_decode_or_drop(several, data):
    packed = bytearray(b"".join(Made(*one).write() or b"" for one in several))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    assert read_all(bytes(packed))[1] in (lib.FRAME_END, lib.FRAME_BAD)


def test_all_but_padding_and_close_ask_for_an_acknowledgement():
    """P3: a packet of these two alone elicits none."""
    quiet = {kind for kind in range(256) if not lib.frame_elicits(kind)}
    assert quiet == {lib.FRAME_PADDING, lib.FRAME_CLOSE}


def test_frames_have_the_names_of_the_protocol():
    for kind, (name, _) in FRAMES.items():
        assert ffi.string(lib.frame_name(kind)).decode() == name
    assert ffi.string(lib.frame_name(lib.FRAME_PADDING)) == b"PADDING"


def test_a_body_of_more_than_64_kib_is_not_written():
    frame = Made(lib.FRAME_REPLY, {"body": bytes(65536 - 8)})
    assert frame.write() is None
    assert frame.write(room=2 * ROOM) is None
