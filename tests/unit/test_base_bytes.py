"""base/bytes.h: little endian, and a failure that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.engine_module import Engine

WIDTHS = [8, 16, 32, 64]


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_load_and_store_are_little_endian_at_odd_addresses(base: Engine, bits: int) -> None:
    memory = base.ffi.new("uint8_t[9]")
    value = int.from_bytes(bytes(range(0xA1, 0xA1 + bits // 8)), "little")
    getattr(base.lib, f"store_u{bits}")(memory + 1, value)
    assert bytes(memory[1 : 1 + bits // 8]) == bytes(range(0xA1, 0xA1 + bits // 8))
    assert getattr(base.lib, f"load_u{bits}")(memory + 1) == value


def reader_over(base: Engine, content: bytes) -> tuple[Any, Any]:
    """A reader, and the memory it reads, which must outlive it."""
    memory = base.ffi.new("uint8_t[]", content) if content else base.ffi.NULL
    return base.ffi.new("reader *", base.lib.reader_of(memory, len(content))), memory


@given(content=st.binary(max_size=40), steps=st.lists(st.sampled_from([*WIDTHS, 1, 3, 0])))
def test_reader_like_a_model(base: Engine, content: bytes, steps: list[int]) -> None:
    """Widths 8 to 64 read a number; 0, 1 and 3 read so many bytes in place."""
    reader, memory = reader_over(base, content)
    at, ok = 0, True
    for step in steps:
        size = step // 8 if step in WIDTHS else step
        fits = ok and at + size <= len(content)
        expected = content[at : at + size] if fits else b""
        if step in WIDTHS:
            number = getattr(base.lib, f"read_u{step}")(reader)
            assert number == int.from_bytes(expected, "little")
        else:
            got = base.lib.read_bytes(reader, size)
            assert (got != base.ffi.NULL) == fits
            assert not fits or bytes(base.ffi.buffer(got, size)) == expected
        ok = fits
        at += size if fits else 0
        assert reader.ok == ok
        assert base.lib.reader_left(reader) == (len(content) - at if ok else 0)
    del memory


def test_a_huge_length_does_not_wrap(base: Engine) -> None:
    reader, _memory = reader_over(base, b"abcd")
    assert base.lib.read_bytes(reader, 2**64 - 1) == base.ffi.NULL
    assert not reader.ok
    assert base.lib.read_u8(reader) == 0


@given(
    room=st.integers(0, 24),
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(WIDTHS), st.integers(0, 2**64 - 1)), st.binary(max_size=9)
        )
    ),
)
def test_writer_like_a_model(base: Engine, room: int, steps: list[Any]) -> None:
    memory = base.ffi.new("uint8_t[]", room + 1)
    writer = base.ffi.new("writer *", base.lib.writer_of(memory, room))
    written, ok = b"", True
    for step in steps:
        if isinstance(step, bytes):
            content = step
            base.lib.write_bytes(writer, content, len(content))
        else:
            bits, value = step
            content = (value % 2**bits).to_bytes(bits // 8, "little")
            getattr(base.lib, f"write_u{bits}")(writer, value % 2**bits)
        ok = ok and len(written) + len(content) <= room
        written += content if ok else b""
        assert writer.ok == ok
        assert base.lib.writer_left(writer) == (room - len(written) if ok else 0)
    assert bytes(memory) == written.ljust(room + 1, b"\0")


def test_write_gap_is_filled_later(base: Engine) -> None:
    memory = base.ffi.new("uint8_t[4]")
    writer = base.ffi.new("writer *", base.lib.writer_of(memory, 4))
    gap = base.lib.write_gap(writer, 2)
    base.lib.write_u16(writer, 0x0403)
    base.lib.store_u16(gap, 0x0201)
    assert bytes(memory) == b"\1\2\3\4"
    assert base.lib.write_gap(writer, 1) == base.ffi.NULL
    assert not writer.ok


def test_writer_over_nothing(base: Engine) -> None:
    writer = base.ffi.new("writer *", base.lib.writer_of(base.ffi.NULL, 0))
    base.lib.write_bytes(writer, b"", 0)
    assert writer.ok
    base.lib.write_u8(writer, 1)
    assert not writer.ok
    assert base.lib.writer_left(writer) == 0
