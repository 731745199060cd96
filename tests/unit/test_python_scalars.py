"""Are simple values the same bytes whether C or the codec writes them, and read the same?"""

from __future__ import annotations

import math
import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp._codec import Codec
from rudp._config import Config
from rudp._errors import SerializationError
from rudp._lib import link

CODEC = Codec(Config())
ARGUMENTS_MOST = 15
LENGTHS = (0, 1, 31, 32, 33, 255, 256, 257, 2048)
LENGTHS_READ = (65534, 65535)
HEAD_MOST = 4096
ANY = 1 << 40
EDGES = sorted(
    {sign * (1 << bits) + more for bits in range(64) for sign in (-1, 1) for more in (-1, 0, 1)}
)
INTS = [n for n in EDGES if -(1 << 63) <= n < 1 << 63]

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)
simple = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.sampled_from(INTS)
    | st.floats()
    | texts
    | st.binary(max_size=300)
)


def pack(value):
    return link.pack(value, {}, ANY)


def unpack(data, arguments):
    return link.unpack(data, arguments, False, ANY)


def same(one, other):
    """Equal also in type, NaN being itself; 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if type(one) is tuple:
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is float:
        return struct.pack("d", one) == struct.pack("d", other)
    return one == other


def check(value):
    packed = pack(value)
    assert packed == msgpack.packb(value, use_bin_type=True)
    (read,) = unpack(packed, type(value) is tuple)
    assert same(read, value)


@given(simple)
def test_a_value_is_the_same_bytes_as_the_codec_writes(value):
    check(value)


@given(st.lists(simple, max_size=ARGUMENTS_MOST).map(tuple))
def test_arguments_are_the_same_bytes_as_the_codec_writes(values):
    check(values)


@pytest.mark.parametrize("value", [None, True, False, 0.0, -0.0, math.nan, math.inf, -math.inf])
def test_singular_values(value):
    check(value)
    check((value, value))


@pytest.mark.parametrize("number", INTS)
def test_ints_at_the_edges_of_their_forms(number):
    check(number)


@pytest.mark.parametrize("size", LENGTHS)
def test_text_and_bytes_at_the_edges_of_their_forms(size):
    check("x" * size)
    check(b"x" * size)
    if size % 2 == 0:
        check("\u00e9" * (size // 2))


@pytest.mark.parametrize("size", LENGTHS_READ)
def test_more_text_and_bytes_are_read(size):
    for value in ("x" * size, b"x" * size):
        assert unpack(msgpack.packb(value), False) == (value,)
        assert unpack(msgpack.packb(value + value), False) is None


def test_more_text_than_any_head_may_have_is_the_codecs():
    check("x" * (HEAD_MOST - 3))
    assert pack("x" * (HEAD_MOST - 2)) is None
    assert pack(("x" * 2048, "x" * 2048)) is None


@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63) - 1, 10**400])
def test_ints_of_more_than_64_bits_with_sign_are_the_codecs(number):
    assert pack(number) is None
    assert pack((number,)) is None


def test_naturals_of_64_bits_are_read():
    for number in (1 << 63, (1 << 64) - 1):
        assert unpack(msgpack.packb(number), False) == (number,)


class Int(int):
    pass


class Text(str):
    __slots__ = ()


class Bytes(bytes):
    pass


class Float(float):
    pass


@pytest.mark.parametrize(
    "value",
    [
        *(Int(1), Text("a"), Bytes(b"a"), Float(1.0)),
        *([1], {}, (1,), set(), 1j, object(), int, ..., "\ud800", "a\udfff"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_simple_is_no_error(value):
    if type(value) not in (tuple, list):  # a result may be one
        assert pack(value) is None
    assert pack((value,)) is None
    assert pack((1, value, 2)) is None


def test_a_none_is_not_the_none_of_what_is_not_simple():
    assert pack(None) == b"\xc0"
    assert unpack(b"\xc0", False) == (None,)
    assert unpack(b"\xc1", False) is None


def test_more_arguments_than_fit_the_first_byte_are_the_codecs():
    assert pack((0,) * ARGUMENTS_MOST) is not None
    assert pack((0,) * (ARGUMENTS_MOST + 1)) is None
    assert pack((0,) * (ARGUMENTS_MOST + 17)) is None
    assert unpack(msgpack.packb([0] * (ARGUMENTS_MOST + 1)), True) is None


def by_codec(data):
    """The value in the bytes, inside of a list that is empty if they are none, or not one alone."""
    try:
        return [CODEC.decode(data)]
    except SerializationError:
        return []


simple_types = (type(None), bool, int, float, str, bytes)
headed = st.tuples(st.integers(0, 255), st.binary(max_size=40)).map(lambda t: bytes([t[0]]) + t[1])
listed = st.lists(simple | headed, max_size=4).map(
    lambda parts: (
        bytes([0x90 | len(parts)])
        + b"".join(p if type(p) is bytes else msgpack.packb(p) for p in parts)
    )
)


@given(st.binary(max_size=64) | headed | listed)
def test_any_bytes_are_read_as_the_codec_reads_them_or_not_at_all(data):
    expected = by_codec(data)
    one = unpack(data, False)
    if one is not None:
        assert same(one, tuple(expected))
    elif expected and type(expected[0]) in simple_types:
        assert data[0] in (0xCA, 0xC6, 0xC9, 0xDB)  # a float of 32 bits, a size of 32
    several = unpack(data, True)
    if several is not None:
        assert same(several, (tuple(expected[0]),))


@given(simple, st.data())
def test_cut_or_lengthened_bytes_are_refused(value, data):
    packed = pack(value)
    cut = data.draw(st.integers(0, len(packed) - 1))
    assert unpack(packed[:cut], False) is None
    assert unpack(packed + b"\0", False) is None
    both = pack((value, value))
    assert unpack(both[: 1 + cut], True) is None
    assert unpack(both + b"\0", True) is None


def test_text_that_is_no_utf8_is_the_codecs():
    for bad in (b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\xd9\x02\xc3\x28", b"\xa2\xc0\x80"):
        assert unpack(bad, False) is None
        assert unpack(b"\x91" + bad, True) is None
