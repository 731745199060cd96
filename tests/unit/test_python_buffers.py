"""Are messages with buffers the same whether C or the codec writes and reads them? Rules 20, 21.

C may always decline; then the codec does it. What it does must be what the codec would have done.
"""

from __future__ import annotations

import gc
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rudp._codec import Codec
from rudp._config import Config
from rudp._errors import SerializationError
from rudp._lib import link
from rudp._values import INLINE

CODEC = Codec(Config())
NARROW = Codec(Config(max_head=4096))
ANY = 1 << 40
HEAD_MOST = 4096
SIZES = (0, 1, 2, 11, 240, 255, 256, INLINE - 1, INLINE, INLINE + 1, 4095, 4096, 70_000)
KINDS = ("?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "F", "D")


def joined(encoded):
    pieces = [encoded] if isinstance(encoded, bytes) else encoded
    return b"".join(memoryview(p).cast("B") if memoryview(p).nbytes else b"" for p in pieces)


def by_codec(value):
    """The bytes, None if it cannot be sent."""
    try:
        return joined(CODEC.encode(value))
    except SerializationError:
        return None


def read_by_codec(data, *, codec=CODEC):
    """The value in received memory, inside of a tuple; empty if it is refused."""
    try:
        return (codec.decode(memoryview(bytearray(data))),)
    except SerializationError:
        return ()


def pack(value):
    return link.pack(value, {}, ANY)


def unpack(data, *, arguments=False, received=True, head=ANY):
    return link.unpack(data, arguments, received, head)


def same(one, other):
    """Equal in type, content, and in what can be done with it."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is float:
        return struct.pack("d", one) == struct.pack("d", other)
    if type(one) is memoryview:
        return look_of_view(one) == look_of_view(other)
    if type(one) is np.ndarray:
        return look_of_array(one) == look_of_array(other)
    return one == other


def look_of_view(v):
    return bytes(v), v.format, v.shape, v.strides, v.readonly, v.itemsize, v.ndim


def look_of_array(a):
    flags = (a.flags.writeable, a.flags.owndata, a.flags.c_contiguous, a.flags.f_contiguous)
    return a.tobytes(), a.dtype, a.dtype.str, a.shape, a.strides, flags


def check(value):
    """That C knows it, and does with it what the codec does."""
    packed = pack(value)
    assert packed is not None
    assert packed == by_codec(value)
    assert same(unpack(packed), read_by_codec(packed))
    if type(value) is tuple:
        (found,) = unpack(packed, arguments=True)
        assert same(list(found), read_by_codec(packed)[0])


buffers = st.sampled_from(SIZES).flatmap(
    lambda size: st.sampled_from(
        [bytes(size), bytearray(b"\1" * size), memoryview(bytes(size)), b"\2" * size]
    )
)
known_arrays = st.tuples(
    st.sampled_from(KINDS), hnp.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=9)
).map(lambda about: np.ones(about[1], about[0]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=100)
)
known = scalars | buffers | known_arrays
anything = (
    known
    | hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_side=0), fill=st.nothing())
    | hnp.arrays(hnp.array_dtypes(), hnp.array_shapes(min_side=0, max_side=3), fill=st.nothing())
    | known_arrays.map(lambda a: a.T)
    | known_arrays.map(lambda a: a[::2] if a.ndim else a)
    | known_arrays.map(memoryview)
    | known_arrays.map(lambda a: memoryview(a.T))
)


@given(known | st.lists(known, max_size=5) | st.lists(known, max_size=5).map(tuple))
def test_what_is_known_is_the_same_both_ways(value):
    if pack(value) is None:  # several small buffers may not fit one head
        assert len(joined(CODEC.encode(value))) > HEAD_MOST
    else:
        check(value)


@given(anything | st.lists(anything, max_size=16) | st.lists(anything, max_size=16).map(tuple))
def test_what_c_writes_is_what_the_codec_writes(value):
    packed = pack(value)
    if packed is not None:
        assert packed == by_codec(value)
        found = unpack(packed)
        assert found is None or same(found, read_by_codec(packed))


@pytest.mark.parametrize("size", SIZES)
def test_buffers_at_the_edges_of_their_forms(size):
    rows = np.ones((size // 4, 4), np.uint8)
    for value in (bytes(size), bytearray(size), memoryview(bytes(size)), rows.ravel(), rows):
        for given_as in (value, (value,), ("w0", value, 7), [value, None]):
            check(given_as)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_all_numbers(kind):
    for shape in ((), (0,), (3,), (2, 0, 4), (700,), (40, 50), (1,) * 15, (5, 1, 3, 1, 300)):
        check(np.ones(shape, kind))
        check((np.ones(shape, kind),))


def test_parts_are_numbered_aligned_and_not_copied():
    arrays = [np.full(INLINE + 1 + n, n, np.uint8) for n in range(15)]
    check(tuple(arrays))
    check(arrays)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(900, ">u4"),
        np.zeros((60, 60), order="F"),
        np.zeros(9000)[::2],
        np.zeros((60, 60))[:, 1:],
        np.zeros(9, "M8[D]"),
        np.zeros(9, "U3"),
        np.zeros(9, "S3"),
        np.zeros(9, "V3"),
        np.zeros(9, "g"),
        np.zeros(9, [("a", "<i4")]),
        np.array([object()]),
        np.zeros((1,) * 16),
        np.zeros(9).view(np.matrix),
        np.ma.zeros(9),
        np.frombuffer(bytes(33), np.uint8)[1:].view("<f8"),
        np.float64(1.5),
        memoryview(np.zeros((60, 60)).T),
        memoryview(np.zeros(9, "U3")),
        memoryview(np.zeros(9, ">u4")),
        memoryview(np.zeros(90))[::2],
        [[1]],
        [0] * 16,
        {"a": np.zeros(9)},
    ],
    ids=lambda v: f"{type(v).__name__} {getattr(v, 'dtype', '')}",
)
def test_what_is_not_known_is_no_error(value):
    assert pack((value,)) is None
    assert pack([value]) is None
    assert pack((bytes(5000), value)) is None


def test_a_view_that_was_released_is_no_error():
    view = memoryview(b"gone")
    view.release()
    assert pack((view,)) is None


def test_registered_classes_are_the_codecs():
    for kind in (bytearray, memoryview, np.ndarray):
        packs = {kind: (1, bytes)}
        for value in (bytearray(9000), memoryview(bytes(9)), np.zeros(9000)):
            known = link.pack((value,), packs, ANY)
            assert (known is None) == (type(value) is kind)


class Unhashable(type):
    """Asked for, as a key of what is registered, a class of this kind raises."""

    def __hash__(cls):
        raise ValueError("no hash")


def test_a_class_that_cannot_be_looked_up_is_no_error():
    odd = Unhashable("Odd", (), {})()
    assert link.pack((odd,), {complex: (1, bytes)}, ANY) is None


def test_limits_when_sending_are_the_codecs():
    value = (np.zeros(9000, np.uint8), bytes(9000))
    size = len(pack(value))
    assert link.pack(value, {}, size) is not None
    assert link.pack(value, {}, size - 1) is None


def test_small_buffers_that_fill_a_head_are_the_codecs():
    value = (bytes(INLINE), bytes(INLINE))
    assert pack(value) is None
    assert pack(value[:1]) == by_codec(value[:1])


# ---- reading ----

WHOLE = joined(CODEC.encode((7, np.arange(700.0).reshape(7, -1), bytes(5000), bytearray(3000))))
SMALL = joined(CODEC.encode((np.arange(20, dtype=np.int16), bytearray(b"some"), "text")))
ONE = joined(CODEC.encode(np.zeros((5, 600), np.float32)))
HEADER, ROW = 16, 16


def agrees(data):
    """Whether C reads it; if so, as the codec does, or not at all."""
    expected = read_by_codec(data)
    found = unpack(data)
    if found is not None:
        assert same(found, expected)
    several = unpack(data, arguments=True)
    if several is not None:
        assert same(list(several[0]), expected[0])
    narrow = unpack(data, head=NARROW.max_head)
    if narrow is not None:
        assert same(narrow, read_by_codec(data, codec=NARROW))
    return found is not None or several is not None


def test_what_the_codec_writes_is_read():
    for data in (WHOLE, SMALL, ONE):
        assert agrees(data)


@given(st.sampled_from([WHOLE, SMALL, ONE]), st.data())
def test_changed_bytes_are_read_as_the_codec_reads_them_or_not_at_all(data, draw):
    changed = bytearray(data)
    front = len(data) if data is SMALL else 160  # what is behind it are items of arrays
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, front - 1))
        changed[at] = draw.draw(st.integers(0, 255) | st.just((changed[at] + 1) % 256))
    agrees(bytes(changed))


@given(st.sampled_from([WHOLE, ONE]), st.data())
def test_changed_tables_are_read_as_the_codec_reads_them_or_not_at_all(data, draw):
    changed = bytearray(data)
    (count,) = struct.unpack_from("<I", changed, 12)
    words = st.sampled_from([*range(0, len(data) + 65, 32), 1 << 32, (1 << 64) - 1, (1 << 64) - 64])
    for _ in range(draw.draw(st.integers(1, 3))):
        word = draw.draw(st.integers(0, 2 * count - 1))
        struct.pack_into("<Q", changed, HEADER + 8 * word, draw.draw(words))
    for at in (4, 8, 12):
        if draw.draw(st.integers(0, 5)) == 0:
            sizes = st.sampled_from([0, 1, 2, count - 1, count + 1, 40, 1 << 31, (1 << 32) - 1])
            struct.pack_into("<I", changed, at, draw.draw(sizes))
    agrees(bytes(changed))


@given(st.sampled_from([WHOLE, SMALL, ONE]), st.integers(0, 400), st.binary(max_size=9))
def test_cut_or_lengthened_messages(data, cut, more):
    agrees(data[: len(data) - cut])
    agrees(data[:cut])
    agrees(data + more)


def message(head, *parts):
    """A message of this head; the parts have their right places."""
    at = HEADER + ROW * len(parts) + len(head)
    rows, body = b"", b""
    for part in parts:
        body += bytes(-(at + len(body)) % 64)
        rows += struct.pack("<QQ", at + len(body), len(part))
        body += part
    return struct.pack("<4sIII", b"\xc1ru\x01", len(head), 0, len(parts)) + rows + head + body


def array_head(kind, shape, order, content=b"\x00", more=b""):
    about = b"".join((content, kind, bytes([0x90 | len(shape)]), *shape, order))
    inner = bytes([0x94 + bool(more)]) + about + more
    return b"\xc7" + bytes([len(inner), 125]) + inner


@pytest.mark.parametrize(
    ("head", "read"),
    [
        (array_head(b"\xa3<f8", [b"\x02"], b"\xa1C"), True),
        (array_head(b"\xa3<f8", [b"\xcf" + bytes(7) + b"\x02"], b"\xa1C"), True),
        (array_head(b"\xa3<f8", [b"\x02"], b"\xa1C", b"\xcc\x00"), True),
        (array_head(b"\xa3|b1", [b"\x04", b"\x04"], b"\xa1C"), True),
        (array_head(b"\xa3>f8", [b"\x02"], b"\xa1C"), False),
        (array_head(b"\xa3|f8", [b"\x02"], b"\xa1C"), False),
        (array_head(b"\xa3|c1", [b"\x10"], b"\xa1C"), False),
        (array_head(b"\xa2f8", [b"\x02"], b"\xa1C"), False),
        (array_head(b"\xa3|O8", [b"\x02"], b"\xa1C"), False),
        (array_head(b"\xa3<f8", [b"\x03"], b"\xa1C"), False),
        (array_head(b"\xa3<f8", [b"\xff", b"\xfe"], b"\xa1C"), False),
        (array_head(b"\xa3<f8", [b"\xcb" + bytes(8)], b"\xa1C"), False),
        (array_head(b"\xa3<f8", [b"\xcf" + b"\xff" * 8] * 2, b"\xa1C"), False),
        (array_head(b"\xa3<f8", [b"\xcf\x80" + bytes(7), b"\x02"], b"\xa1C"), False),
        (array_head(b"\xa3<f8", [b"\x02"], b"\xa1F"), False),
        (array_head(b"\xa3<f8", [b"\x02"], b"\xa1X"), False),
        (array_head(b"\xa3<f8", [b"\x02"], b"\xa1C", b"\x01"), False),
        (array_head(b"\xa3<f8", [b"\x02"], b"\xa1C", b"\xff"), False),
        (array_head(b"\xa3<f8", [b"\x02"], b"\xa1C", b"\x00", b"\x07"), False),
        (b"\x92" + array_head(b"\xa3<f8", [b"\x02"], b"\xa1C") * 2, False),
        (b"\xd5\x7e\x91\x00", True),
        (b"\xd5\x7f\x91\x00", True),
        (b"\xd6\x7e\x92\x00\x01\xc0", False),
        (b"\xd5\x7d\x91\x00", False),
        (b"\xd5\x05\x91\x00", False),
        (b"\xd4\x7e\x91", False),
        (b"\xc7\x02\x7e\x91\x00", True),
        (b"\xc8\x00\x02\x7e\x91\x00", True),
        (b"\xc9\x00\x00\x00\x02\x7e\x91\x00", False),
        (b"\xc7\x04\x7e\x91\xc4\x01\x07", True),
        (b"\xc7\x05\x7e\x91\xc5\x00\x01\x07", True),
        (b"\xc7\xff\x7e\x91\x00", False),
    ],
)
def test_heads_that_nobody_writes(head, read):
    assert agrees(message(head, bytes(16))) == read


def test_arrays_of_a_type_of_no_bytes_do_not_exist_here():
    assert not agrees(message(array_head(b"\xa3|V0", [b"\x02"], b"\xa1C"), b""))


def test_a_message_with_parts_that_came_in_the_arena_is_the_codecs():
    assert unpack(ONE, received=False) is None


def test_results_in_the_arena_that_are_lists_are_the_codecs():
    data = joined(CODEC.encode([1, 2]))
    assert unpack(data, received=False) is None
    assert unpack(data, received=True) == ([1, 2],)


def test_what_was_read_keeps_its_memory_and_no_more():
    """Parts die in any order; each is intact as long as it lives."""
    parts = [np.full(5000, n, np.uint8) for n in range(4)]
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
        (found,) = unpack(pack(tuple(parts)), arguments=True)
        kept = dict(enumerate(found))
        del found
        for gone in order:
            del kept[gone]
            gc.collect()
            for n, array in kept.items():
                assert array[0] == array[-1] == n
                array[1] = n


def test_nothing_is_counted_twice_or_forgotten():
    """References of what C keeps and makes, over many messages that are read and that are not."""
    shared = np.zeros(5000, np.uint8)
    view = memoryview(bytearray(5000))
    value = ("w0", shared, view, bytearray(10), np.zeros(3))
    broken = bytearray(pack(value))
    broken[16] = 1  # a part overlaps the head
    cut = pack(value)[:-1]
    strange = message(array_head(b"\xa3<f8", [b"\x03"], b"\xa1C"), bytes(16))

    def once():
        packed = pack(value)
        unpack(packed, arguments=True)
        unpack(packed)
        for bad in (bytes(broken), cut, strange):
            assert unpack(bad) is None
        pack((shared, object()))
        link.pack((shared,), {}, 100)

    counted = (shared, view, np.ndarray, np.dtype("u1"), np.dtype("f8"), link.Received, link.Lent)
    for _ in range(10):
        once()
    before = [sys.getrefcount(thing) for thing in counted]
    for _ in range(1000):
        once()
    after = [sys.getrefcount(thing) for thing in counted]
    assert [now - was for was, now in zip(before, after, strict=True)] == [0] * len(counted)
    view.release()  # raises while it is lent


class Shortens:
    """Garbage that empties a list when it is collected."""

    def __init__(self, values):
        self.me, self.values = self, values

    def __del__(self):
        self.values.clear()


def test_a_list_that_becomes_shorter_while_it_is_packed_is_not_read_beyond_its_end():
    """A finalizer runs wherever something is allocated, in some versions of the interpreter."""
    thresholds = gc.get_threshold()
    try:
        for after in range(1, 40):
            gc.set_threshold(100_000)
            gc.collect()
            values = [memoryview(bytearray(100)) for _ in range(14)]
            Shortens(values)
            gc.set_threshold(gc.get_count()[0] + after, 1000, 1000)
            assert (pack(values) or b"\x90")[:1] in (b"\x90", b"\x9e")
    finally:
        gc.set_threshold(*thresholds)
