"""rudp/_codec.py: any value round trips or is refused by name, any bytes decode or are refused."""

from __future__ import annotations

import contextlib
import ctypes
import math
import pickle
import struct

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rudp._codec import ALIGN, MAGIC, Codec
from rudp._config import Config
from rudp._errors import ConfigError, LimitExceeded, SerializationError
from rudp._values import CODE_ARRAY, INLINE

CODEC = Codec(Config())
SMALL = Codec(Config(max_depth=4, max_items=64, max_head=4096, max_message=64 << 10))


def joined(encoded) -> bytearray:
    pieces = [encoded] if isinstance(encoded, bytes) else encoded
    out = bytearray()
    for piece in pieces:
        view = memoryview(piece)
        out += view.cast("B") if view.nbytes else b""
    return out


def there_and_back(value, codec=CODEC):
    return codec.decode(memoryview(joined(codec.encode(value))))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(max_size=3 * INLINE)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner),
    max_leaves=20,
)


@given(values)
def test_values_round_trip(value):
    assert there_and_back(value) == value


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_side=0), fill=st.nothing()))
def test_arrays_round_trip(array):
    found = there_and_back([array])[0]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda b: MAGIC + b))
def test_any_bytes_decode_or_are_refused(data):
    for codec in (CODEC, SMALL):
        with contextlib.suppress(SerializationError):
            codec.decode(data)
        with contextlib.suppress(SerializationError):
            codec.decode_arguments(data, pickled=False)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=4),
    st.binary(max_size=100),
)
def test_any_table_of_parts_is_checked_before_it_is_believed(head, form, table, rest):
    data = struct.pack("<4sIII", MAGIC, head, form, len(table))
    data += b"".join(struct.pack("<QQ", *row) for row in table) + rest
    with contextlib.suppress(SerializationError):
        CODEC.decode(data)


def test_layout_of_parts_is_aligned_and_not_copied():
    first, second = np.arange(5000.0), bytearray(INLINE + 1)
    encoded = CODEC.encode([first, second, b"small"])
    assert isinstance(encoded, list)
    lent = [piece for piece in encoded if isinstance(piece, memoryview)]
    assert np.shares_memory(np.frombuffer(lent[0], np.uint8), first)
    assert lent[1].obj is second
    data = joined(encoded)
    at = data.index(first.tobytes())
    assert at % ALIGN == 0
    found = CODEC.decode(memoryview(data))
    assert np.array_equal(found[0], first)
    found[0][0] = 7  # the array lies in the received memory itself
    assert struct.unpack_from("<d", data, at) == (7.0,)


def test_small_buffers_stay_in_the_head():
    assert isinstance(CODEC.encode([bytes(INLINE), bytearray(INLINE)]), bytes)
    assert isinstance(CODEC.encode([bytes(INLINE + 1)]), list)


def test_bytes_stay_bytes_and_buffers_become_writable_views():
    for size in (0, 1, INLINE, INLINE + 1):
        assert type(there_and_back(bytes(size))) is bytes
        view = there_and_back(bytearray(size))
        assert type(view) is memoryview
        assert not view.readonly


def test_numpy_scalars_become_numbers():
    assert there_and_back([np.float32(1.5), np.int64(3), np.bool_(True)]) == [1.5, 3, True]


@pytest.mark.parametrize(
    ("value", "as_array"),
    [
        (np.complex64(1), True),
        (np.datetime64(1, "s"), True),
        (np.timedelta64(1, "s"), True),
        (np.longdouble(1), True),
        (np.zeros(1, [("a", "<i4"), ("b", "<f8")])[0], True),
        (np.zeros(1, np.dtype("i4,f8", align=True))[0], False),  # has padding
        (np.zeros(1, [("a", object)])[0], False),
    ],
    ids=repr,
)
def test_numpy_scalars_that_python_has_no_number_for_are_refused(value, as_array):
    for sent in ([value], {"a": value}, value):
        with pytest.raises(SerializationError, match="cannot be sent") as caught:
            CODEC.encode(sent)
        assert ("numpy.asarray" in str(caught.value)) == as_array
    if as_array:
        assert there_and_back(np.asarray(value)) == value


def test_numpy_texts_and_bytes_are_sent_as_such():
    assert there_and_back([np.str_("x"), np.bytes_(b"y")]) == ["x", b"y"]


class Record(ctypes.Structure):
    _fields_ = (("O", ctypes.c_int), ("P", ctypes.c_double))


class Linked(ctypes.Structure):
    _fields_ = (("n", ctypes.c_int), ("next", ctypes.POINTER(ctypes.c_int)))


@pytest.mark.parametrize(
    "value",
    [
        (ctypes.c_void_p * 3)(),
        (ctypes.py_object * 3)(),
        (ctypes.c_char_p * 3)(),
        (ctypes.c_wchar_p * 3)(),
        (ctypes.POINTER(ctypes.c_int) * 3)(),
        ctypes.CFUNCTYPE(None)(),
        Linked(),
        memoryview(np.zeros(3, [("a", "<i4"), ("b", object)])),
        memoryview(np.zeros(3, object)),
    ],
    ids=lambda v: memoryview(v).format,
)
def test_addresses_are_not_sent_as_bytes(value):
    with pytest.raises(SerializationError, match="objects or pointers"):
        CODEC.encode([value])


def test_names_of_fields_and_complex_numbers_are_no_pointers():
    for value in (Record(1, 2.0), np.ones(3, [("O", "<i4"), ("b", "<c16")]), np.ones(3, "<c8")):
        assert there_and_back([memoryview(value)]) == [bytes(value)]


def test_a_masked_array_is_not_told_to_lose_its_mask():
    with pytest.raises(SerializationError, match=r"MaskedArray.*value\.mask"):
        CODEC.encode([np.ma.zeros(9)])


def test_keys_of_dictionaries_are_named_as_they_are():
    assert there_and_back({None: 1, b"b": 2}) == {None: 1, b"b": 2}
    with pytest.raises(SerializationError, match="bytes or None"):
        CODEC.encode({(1,): 1})


def test_subclasses_are_sent_as_what_they_are():
    import collections
    import enum

    class Color(enum.IntEnum):
        RED = 1

    Point = collections.namedtuple("Point", "x y")  # noqa: PYI024
    found = there_and_back([Color.RED, Point(1, 2), collections.OrderedDict(a=1)])
    assert found == [1, [1, 2], {"a": 1}]


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ([[[[[1]]]]], "max_depth"),
        ({"a": {"a": {"a": {"a": {}}}}}, "max_depth"),
        (list(range(65)), "max_items"),
        ([[1] * 30] * 3, "max_items"),
        ("x" * 4096, "max_head"),
        (bytearray(64 << 10), "max_message"),
    ],
)
def test_limits_when_sending(value, limit):
    with pytest.raises(LimitExceeded, match=limit) as caught:
        SMALL.encode(value)
    assert caught.value.limit == limit


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ([[[[[1]]]]], "max_depth"),
        ([[[[[]]]]], "max_depth"),
        ({"a": {"a": {"a": {"a": {}}}}}, "max_depth"),
        (list(range(65)), "max_items"),
        ([[1] * 30] * 3, "max_items"),
        ("x" * 4096, "max_head"),
    ],
)
def test_limits_when_receiving(value, limit):
    with pytest.raises(LimitExceeded, match=limit):
        SMALL.decode(msgpack.packb(value))


def test_what_the_limits_allow_passes_both_ways():
    for value in ([[[[1]]]], list(range(63)), "x" * 4000, [b"\x91" * 60]):
        assert SMALL.decode(bytes(joined(SMALL.encode(value)))) == value


def test_types_on_the_allow_list():
    codec = Codec(Config())
    codec.register_type(1, complex, lambda c: repr(c).encode(), lambda b: complex(b.decode()))
    assert there_and_back([1 + 2j, {"z": 3j}], codec) == [1 + 2j, {"z": 3j}]
    with pytest.raises(SerializationError, match="allow list"):
        CODEC.decode(codec.encode([1j]))
    for code, kind in ((1, set), (2, complex), (112, set), (-1, set)):
        with pytest.raises(ConfigError):
            codec.register_type(code, kind, bytes, bytes)


@pytest.mark.parametrize("kind", [type(None), bool, int, float, str, bytes, tuple, list, dict])
def test_a_type_that_would_never_be_asked_for_is_refused(kind):
    with pytest.raises(ConfigError, match=kind.__name__):
        Codec(Config()).register_type(1, kind, bytes, bytes)


@pytest.mark.parametrize(
    "arguments",
    [
        ("1", set, bytes, bytes),
        (1.0, set, bytes, bytes),
        (1, "set", bytes, bytes),
        (1, set, None, bytes),
        (1, set, bytes, 5),
    ],
)
def test_what_is_no_type_is_refused_when_it_is_registered(arguments):
    with pytest.raises(ConfigError):
        Codec(Config()).register_type(*arguments)


@pytest.mark.parametrize("made", [5, "text", None, [1, 2]])
def test_a_pack_that_makes_no_bytes_is_named(made):
    codec = Codec(Config())
    codec.register_type(1, complex, lambda _: made, bytes)
    with pytest.raises(SerializationError, match=f"'complex' made '{type(made).__name__}'"):
        codec.encode([1j])


def test_a_type_that_fails_is_an_error_of_the_codec():
    codec = Codec(Config())
    codec.register_type(1, complex, lambda _: b"x", lambda _: 1 / 0)
    with pytest.raises(SerializationError):
        codec.decode(codec.encode([1j]))


def test_arrays_of_objects_cannot_be_smuggled_in():
    for kind in ("|O", [["a", "|O", []]]):
        inner = msgpack.packb([bytes(8), kind, [1], "C"])
        with pytest.raises(SerializationError):
            CODEC.decode(msgpack.packb([msgpack.ExtType(CODE_ARRAY, inner)]))


def test_pickle_is_read_only_when_asked():
    encoded = bytes(joined(CODEC.encode_pickle({1, 2})))
    assert CODEC.decode(encoded, pickled=True) == {1, 2}
    with pytest.raises(SerializationError, match="pickle"):
        CODEC.decode(encoded)
    array = np.arange(10_000)
    pieces = CODEC.encode_pickle([array])
    assert len(pieces) > 1  # out of band
    assert np.array_equal(CODEC.decode(memoryview(joined(pieces)), pickled=True)[0], array)
    with pytest.raises(SerializationError, match="pickled"):
        CODEC.encode_pickle(lambda: 0)


def test_arguments():
    for args, kwargs in (((), {}), ((1, b"x"), {}), ((1,), {"a": 2}), ((), {"a": [1]})):
        found = CODEC.decode_arguments(joined(CODEC.encode_arguments(args, kwargs)), pickled=False)
        assert (list(found[0]), found[1] or {}) == (list(args), kwargs)
    for wrong in (3, {0: []}, {0: 1, 1: {}}, {0: [], 1: {1: 2}}, "ab"):
        with pytest.raises(SerializationError):
            CODEC.decode_arguments(msgpack.packb(wrong), pickled=False)


def test_a_codec_is_used_by_many_threads():
    from concurrent.futures import ThreadPoolExecutor

    def work(n):
        value = [n, "x" * n, bytearray(n)]
        return all(there_and_back(value) == value for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_not_a_number_travels():
    assert math.isnan(there_and_back(math.nan))


def test_errors_survive_pickle():
    error = LimitExceeded("max_depth", "too deep")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.limit) == (LimitExceeded, str(error), "max_depth")
