"""wire/parameters.h: the payload of both handshake messages (K3, K4, S3, C1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.conformance import PARAMETER_NAMES
from tests.engine_module import load

WIRE = load("wire")
ffi, lib = WIRE.ffi, WIRE.lib

WIDTHS = (64, 64, 64, 64, 32, 32, 16, 16, 16, 16, 8, 8)
VALUES = st.tuples(*(st.integers(0, 2**width - 1) for width in WIDTHS))


def write(values: tuple[int, ...], room: int = lib.PARAMETERS_SIZE) -> bytes | None:
    out = ffi.new("uint8_t[]", room + 1)
    w = ffi.new("writer *", lib.writer_of(out, room))
    lib.parameters_write(w, ffi.new("parameters *", values))
    return bytes(ffi.buffer(out, w.at - out)) if w.ok else None


def read(data: bytes) -> tuple[int, ...] | None:
    held, out = ffi.new("uint8_t[]", data + b"\0"), ffi.new("parameters *")
    r = ffi.new("reader *", lib.reader_of(held, len(data)))
    if not lib.parameters_read(r, out):
        return None
    return tuple(getattr(out, name) for name in PARAMETER_NAMES)


@given(VALUES)
def test_round_trip_in_the_size_that_is_announced(values):
    data = write(values)
    assert data is not None
    assert len(data) == lib.PARAMETERS_SIZE
    assert read(data) == values
    assert write(values, lib.PARAMETERS_SIZE - 1) is None


@given(VALUES)
def test_cut_short_anywhere_it_fails(values):
    data = write(values)
    assert data is not None
    for size in range(len(data)):
        assert read(data[:size]) is None


@given(VALUES)
def test_a_length_that_says_less_than_the_fields_fails(values):
    data = write(values)
    assert data is not None
    for size in range(lib.PARAMETERS_SIZE - 2):
        assert read(size.to_bytes(2, "little") + data[2:]) is None


@given(VALUES, st.binary(max_size=40), st.binary(max_size=40))
def test_later_versions_may_append(values, appended, behind):
    data = write(values)
    assert data is not None
    grown = (lib.PARAMETERS_SIZE - 2 + len(appended)).to_bytes(2, "little") + data[2:] + appended
    assert read(grown + behind) == values


@given(st.binary(max_size=120))
def test_any_bytes_decode_or_drop(data):
    found = read(data)
    assert found is None or len(data) >= lib.PARAMETERS_SIZE
