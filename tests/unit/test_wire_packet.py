"""wire/packet.h: header, prologue, and what a prologue acknowledges (P1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine_module import load

WIRE = load("wire")
ffi, lib = WIRE.ffi, WIRE.lib

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
LEAST = lib.PACKET_HEADER + lib.PACKET_PROLOGUE


def read_header(data: bytes):
    held, out = ffi.new("uint8_t[]", data + b"\0"), ffi.new("packet_header *")
    if not lib.packet_header_read(held, len(data), out):
        return None
    return out.epoch, out.session, out.number


def write_header(epoch: int, session: int, number: int) -> bytes:
    out = ffi.new("uint8_t[]", lib.PACKET_HEADER)
    lib.packet_header_write(out, ffi.new("packet_header *", (epoch, session, number)))
    return bytes(ffi.buffer(out))


def read_prologue(data: bytes):
    held, out = ffi.new("uint8_t[]", data + b"\0"), ffi.new("packet_prologue *")
    r = ffi.new("reader *", lib.reader_of(held, len(data)))
    if not lib.packet_prologue_read(r, out):
        return None
    return out.sent_us, out.ack_delay_us, out.ack_largest, out.ack_bits


def acknowledges(largest: int, bits: int, number: int) -> bool:
    return lib.packet_acknowledges(ffi.new("packet_prologue *", (0, 0, largest, bits)), number)


@given(st.integers(0, 3), U64, st.integers(1, 2**64 - 1))
def test_header_round_trip(epoch, session, number):
    written = write_header(epoch, session, number)
    assert read_header(written + bytes(lib.PACKET_PROLOGUE)) == (epoch, session, number)


@given(st.integers(0, 3), U64, st.integers(1, 2**64 - 1))
def test_cut_short_anywhere_it_fails(epoch, session, number):
    data = write_header(epoch, session, number) + bytes(lib.PACKET_PROLOGUE)
    for size in range(len(data)):
        assert read_header(data[:size]) is None


@pytest.mark.parametrize("kind", range(256))
def test_only_kinds_of_a_session_packet_are_taken(kind):
    data = bytes([kind]) + write_header(0, 7, 1)[1:] + bytes(lib.PACKET_PROLOGUE)
    assert (read_header(data) is not None) == (kind in (0x20, 0x24, 0x28, 0x2C))


def test_number_zero_and_a_reserved_byte_are_refused():
    good = write_header(0, 7, 1) + bytes(lib.PACKET_PROLOGUE)
    assert read_header(good) is not None
    assert read_header(good[:10] + bytes(8) + good[18:]) is None
    assert read_header(good[:1] + b"\1" + good[2:]) is None


@given(st.binary(max_size=100))
def test_any_bytes_decode_or_drop(data):
    found = read_header(data)
    assert found is None or (len(data) >= LEAST and found[2] != 0)
    read_prologue(data)


@given(U32, U32, U64, U64)
def test_prologue_round_trip(sent, delay, largest, bits):
    out = ffi.new("uint8_t[]", lib.PACKET_PROLOGUE)
    lib.packet_prologue_write(out, ffi.new("packet_prologue *", (sent, delay, largest, bits)))
    data = bytes(ffi.buffer(out))
    assert read_prologue(data) == (sent, delay, largest, bits)
    for size in range(len(data)):
        assert read_prologue(data[:size]) is None


@given(st.integers(1, 2**64 - 1), U64, st.integers(0, 200))
def test_acknowledges_the_largest_and_the_bits_below(largest, bits, below):
    """P1: bit i stands for largest - 1 - i; beyond the 64 nothing is said."""
    if below > largest:
        return
    expected = below == 0 or (below <= 64 and bool(bits >> (below - 1) & 1))
    assert acknowledges(largest, bits, largest - below) == expected


@given(U64, U64, U64)
def test_nothing_above_the_largest_and_nothing_at_all_from_zero(largest, bits, number):
    if largest == 0 or number > largest:
        assert not acknowledges(largest, bits, number)


def test_a_full_packet_fills_the_budget_exactly():
    """Q5: header, prologue, frames and the longest tag are the budget, no byte more."""
    parts = LEAST + lib.PACKET_ROOM + lib.PACKET_TAG_MAX
    assert (parts, lib.PACKET_ROOM) == (lib.PACKET_BUDGET, 1142)
