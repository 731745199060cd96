"""How do Python values become the bytes of a message, and back?

A small message is msgpack as it is. A message with large buffers is a head and its parts, and the
parts are never copied here: the core sends them from where they lie.

    +------------------------+------------------------------+------+---------+-----+---------+----
    | magic, size of the head| offset and size of each part | head | padding | part| padding | part
    | format, count of parts |                              |      | to 64   |     | to 64   |
    +------------------------+------------------------------+------+---------+-----+---------+----
      c1 'r' 'u' 01, 3 x u32   u64, u64                       msgpack, with an extension in the
                                                              place of each buffer

msgpack never begins with c1, so the first byte tells the two layouts apart. Arguments are a list;
with keyword arguments a map {0: list, 1: map}.

What arrives: tuples as lists; ``bytes`` as ``bytes`` (copied out once if large); every other buffer
(bytearray, memoryview, array.array, Arrow) as a writable ``memoryview`` of bytes; numpy arrays as
writable numpy arrays of the same type, shape and order. The type never depends on the size.

The trap: limits must hold on both sides. What is sent is walked before it is packed; what is
received is checked by size first, and walked only if it is large enough to break a limit at all.
"""

from __future__ import annotations

import pickle
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from msgpack import (  # type: ignore[import-untyped]  # it ships none
    ExtType,
    Packer,
    unpackb,
)

from rudp._config import Config
from rudp._errors import ConfigError, LimitExceeded, SerializationError

Encoded = bytes | list[Any]
"""One piece of bytes, or the pieces of a big message in order."""

INLINE = 2048  # bytes: a larger buffer becomes a part of its own
ALIGN = 64  # bytes: what numpy and SIMD code like
MAGIC = b"\xc1ru\x01"
MAGIC_FIRST = MAGIC[0]
FORMAT_MSGPACK, FORMAT_PICKLE = 0, 1

CODE_ARRAY, CODE_BUFFER, CODE_BYTES = 125, 126, 127
CODES_FREE = range(112)  # for register_type; 112 and above are ours

_header = struct.Struct("<4sIII")
_part = struct.Struct("<QQ")

SCALARS = frozenset({type(None), bool, int, float, str})
_only_scalars = SCALARS.issuperset
# Every byte that cannot be the header of a msgpack list or map: what is left bounds the depth.
_NOT_CONTAINERS = bytes(b for b in range(256) if not (0x80 <= b <= 0x9F or 0xDC <= b <= 0xDF))

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]


class Codec:
    """Packs and unpacks with the limits and extension types of one node.

    Thread-safe: what has state (the packer) exists once per thread.
    """

    def __init__(self, config: Config) -> None:
        self.max_head = config.max_head
        self.max_depth = config.max_depth
        self.max_items = config.max_items
        self.max_message = config.max_message
        self._unsuspicious = min(config.max_depth, config.max_items)
        self.packs: dict[type, tuple[int, Pack]] = {}
        self._unpacks: dict[int, Unpack] = {}
        self._local = threading.local()

    def register_type(self, code: int, kind: type, pack: Pack, unpack: Unpack) -> None:
        """Allow values of class ``kind``: ``pack`` makes bytes of one, ``unpack`` one of bytes."""
        if code not in CODES_FREE:
            raise ConfigError(f"an extension type's code is between 0 and 111, not {code!r}")
        if code in self._unpacks or kind in self.packs:
            raise ConfigError(f"extension type {code} or {kind.__name__} is registered already")
        self.packs[kind] = (code, pack)
        self._unpacks[code] = unpack

    # ---- packing ----

    def packer(self) -> Callable[[Any], bytes]:
        """The ``pack`` of this thread's reused packer (Rule 25)."""
        try:
            pack: Callable[[Any], bytes] = self._local.pack
        except AttributeError:
            pack = self._local.pack = Packer(default=_refuse, use_bin_type=True).pack
        return pack

    def encode_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Encoded:
        """The body of a request."""
        return self.encode({0: args, 1: kwargs} if kwargs else args)

    def encode(self, value: Any) -> Encoded:
        """The body of a reply, or of a request without keyword arguments."""
        if value.__class__ is tuple and _only_scalars(map(type, value)) and len(value) < 64:
            return self._encode_scalars(value)
        parts: list[memoryview] = []
        try:
            walked = _Walk(self, parts).value(value, 1)
            head = self.packer()(walked)
        except SerializationError:
            raise
        except (OverflowError, ValueError, TypeError, UnicodeError) as error:
            raise SerializationError(_why(error)) from error
        return self._assemble(head, parts, FORMAT_MSGPACK)

    def _encode_scalars(self, value: tuple[Any, ...]) -> Encoded:
        try:
            head = self.packer()(value)
        except (OverflowError, ValueError, UnicodeError) as error:
            raise SerializationError(_why(error)) from error
        return head if len(head) <= INLINE else self._assemble(head, [], FORMAT_MSGPACK)

    def encode_pickle(self, value: Any) -> Encoded:
        """The same by pickle 5: for methods that were registered with ``pickle=True``."""
        buffers: list[pickle.PickleBuffer] = []
        try:
            head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
            parts = [buffer.raw() for buffer in buffers]
        except Exception as error:
            raise SerializationError(f"cannot be pickled: {error}") from error
        return self._assemble(head, parts, FORMAT_PICKLE)

    def _assemble(self, head: bytes, parts: list[memoryview], form: int) -> Encoded:
        if len(head) > self.max_head:
            raise LimitExceeded("max_head", f"{len(head)} bytes outside of buffers")
        if not parts and form == FORMAT_MSGPACK:
            return head
        at = _header.size + _part.size * len(parts) + len(head)
        table: list[bytes] = []
        pieces: list[Any] = []
        for part in parts:
            gap = -at % ALIGN
            table.append(_part.pack(at + gap, part.nbytes))
            pieces += [bytes(gap), part] if gap else [part]
            at += gap + part.nbytes
        if at > self.max_message:
            raise LimitExceeded("max_message", f"a message of {at} bytes")
        front = _header.pack(MAGIC, len(head), form, len(parts)) + b"".join(table) + head
        return [front, *pieces]

    # ---- unpacking ----

    def decode(self, data: bytes | memoryview, *, pickled: bool = False) -> Any:
        """The value in a body. ``pickled``: whether pickle is accepted, which runs its code."""
        try:
            if data[0] == MAGIC_FIRST:
                return self._decode_parts(memoryview(data), pickled)
            if len(data) > self.max_head:
                raise LimitExceeded("max_head", f"{len(data)} bytes outside of buffers")
            value = unpackb(data, ext_hook=self._small_extension, strict_map_key=False)
            if len(data) > self._unsuspicious:
                self._check(data, value)
        except SerializationError:
            raise
        except Exception as error:
            raise SerializationError(f"cannot be decoded: {_why(error)}") from error
        return value

    def decode_arguments(self, data: bytes | memoryview, *, pickled: bool) -> tuple[Any, Any]:
        """The positional and keyword arguments of a request."""
        value = self.decode(data, pickled=pickled)
        if type(value) is list:
            return value, None
        if pickled and type(value) is tuple:
            return value, None
        if isinstance(value, dict) and value.keys() == {0, 1}:
            args, kwargs = value[0], value[1]
            plain = isinstance(args, list | tuple) and isinstance(kwargs, dict)
            if plain and all(type(key) is str for key in kwargs):
                return args, kwargs
        raise SerializationError("a request must hold a list of arguments")

    def _decode_parts(self, data: memoryview, pickled: bool) -> Any:  # noqa: FBT001
        head, form, parts = self._split(data)
        if form == FORMAT_PICKLE:
            if not pickled:
                raise SerializationError("pickle is not accepted here: see method(pickle=True)")
            return pickle.loads(head, buffers=parts)  # noqa: S301  the application opted in
        value = unpackb(head, ext_hook=_Extensions(self._unpacks, parts), strict_map_key=False)
        if len(head) > self._unsuspicious:
            self._check(head, value)
        return value

    def _split(self, data: memoryview) -> tuple[memoryview, int, list[memoryview]]:
        """Head, format and parts; nothing in the header is believed before it is checked."""
        magic, head_size, form, count = _header.unpack_from(data)
        if magic != MAGIC or form not in (FORMAT_MSGPACK, FORMAT_PICKLE):
            raise SerializationError("not a message of this version")
        if head_size > self.max_head:
            raise LimitExceeded("max_head", f"{head_size} bytes outside of buffers")
        if count > self.max_items:
            raise LimitExceeded("max_items", f"{count} buffers in one message")
        at = _header.size + _part.size * count
        if at + head_size > len(data):
            raise SerializationError("the head is longer than the message")
        head = data[at : at + head_size]
        end, parts = at + head_size, []
        for offset, size in _part.iter_unpack(data[_header.size : at]):
            if offset < end or offset + size > len(data):  # disjoint, so no array aliases another
                raise SerializationError("the buffers of the message overlap or are cut off")
            end = offset + size
            parts.append(data[offset:end])
        return head, form, parts

    def _small_extension(self, code: int, data: bytes) -> Any:
        return _Extensions(self._unpacks, [])(code, data)

    def _check(self, data: bytes | memoryview, value: Any) -> None:
        """Depth and count of what was received, exactly, if the bytes allow a breach at all."""
        containers = len(bytes(data).translate(None, _NOT_CONTAINERS))
        if containers <= self.max_depth and len(data) <= self.max_items:
            return
        level, items = [value], 0
        for _ in range(self.max_depth + 1):
            level = [v for v in level if v.__class__ is list or v.__class__ is dict]
            if not level:
                return
            items += sum(map(len, level))
            if items > self.max_items:
                raise LimitExceeded("max_items", "more values in one message than allowed")
            level = [v for c in level for v in (c.values() if c.__class__ is dict else c)]
        raise LimitExceeded("max_depth", "lists or dictionaries nested deeper than allowed")


class _Walk:
    """One pass over a value: finds buffers, holds the limits, refuses what msgpack would hide."""

    def __init__(self, codec: Codec, parts: list[memoryview]) -> None:
        self.codec = codec
        self.parts = parts
        self.items = 0

    def value(self, value: Any, depth: int) -> Any:
        """What msgpack is to pack in the place of ``value``: itself, mostly."""
        kind = value.__class__
        if kind in SCALARS:
            return value
        if kind is bytes:
            return value if len(value) <= INLINE else self._placed(CODE_BYTES, memoryview(value))
        if kind is tuple or kind is list:
            return self._sequence(value, depth)
        if kind is dict:
            return self._mapping(value, depth)
        return self._other(value, depth)

    def _sequence(self, value: Sequence[Any], depth: int) -> Any:
        self._enter(len(value), depth)
        if _only_scalars(map(type, value)):
            return value
        return [self.value(item, depth + 1) for item in value]

    def _mapping(self, value: dict[Any, Any], depth: int) -> Any:
        self._enter(len(value), depth)
        if not _all_keys(value):
            raise SerializationError("keys of a dictionary must be str, int, float, bool or bytes")
        if _only_scalars(map(type, value.values())):
            return value
        return {key: self.value(item, depth + 1) for key, item in value.items()}

    def _enter(self, count: int, depth: int) -> None:
        self.items += count
        if depth > self.codec.max_depth:
            raise LimitExceeded("max_depth", "lists or dictionaries nested deeper than allowed")
        if self.items > self.codec.max_items:
            raise LimitExceeded("max_items", "more values in one message than allowed")

    def _other(self, value: Any, depth: int) -> Any:
        registered = self.codec.packs.get(value.__class__)
        if registered is not None:
            return ExtType(registered[0], bytes(registered[1](value)))
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            if isinstance(value, numpy.ndarray):
                return self._array(numpy, value)
            if isinstance(value, numpy.generic) and value.dtype.kind in "biuf":
                return value.item()
        if isinstance(value, list | tuple):
            return self._sequence(value, depth)
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, int | float | str):
            return value
        return self._buffer(value)

    def _buffer(self, value: Any) -> ExtType:
        try:
            view = memoryview(value)
        except TypeError:
            raise SerializationError(
                f"values of type {type(value).__name__!r} cannot be sent: convert them, "
                "register the type (register_type), or use a method with pickle=True"
            ) from None
        if not view.c_contiguous:
            raise SerializationError("the buffer is not contiguous: send a copy, bytes(value)")
        if view.format in ("O", "P"):
            raise SerializationError("a buffer of Python objects cannot be sent")
        flat = view.cast("B") if view.nbytes else memoryview(b"")
        code = CODE_BYTES if isinstance(value, bytes) else CODE_BUFFER
        return self._placed(code, flat)

    def _array(self, numpy: Any, value: Any) -> ExtType:
        if type(value) not in (numpy.ndarray, numpy.memmap):
            hint = "numpy.asarray(value) makes a plain one"
            raise SerializationError(f"an array of type {type(value).__name__}: {hint}")
        if value.dtype.hasobject:
            raise SerializationError("an array of Python objects cannot be sent")
        if not (value.flags.c_contiguous or value.flags.f_contiguous):
            hint = "numpy.ascontiguousarray(value) makes a copy that is"
            raise SerializationError(f"the array is not contiguous: {hint}")
        order = "C" if value.flags.c_contiguous else "F"
        flat = value.reshape(-1, order=order).view(numpy.uint8) if value.size else b""
        kind = _dtype_out(value.dtype)
        return self._placed(CODE_ARRAY, memoryview(flat), kind, list(value.shape), order)

    def _placed(self, code: int, data: memoryview, *about: Any) -> ExtType:
        """Puts the bytes into the head if small, else into a part of its own."""
        if data.nbytes <= INLINE:
            content: Any = bytes(data)
        else:
            self.items += 1
            content = len(self.parts)
            self.parts.append(data)
        return ExtType(code, self.codec.packer()([content, *about]))


class _Extensions:
    """Turns extensions back into values: ours, and those on the allow list."""

    def __init__(self, unpacks: dict[int, Unpack], parts: list[memoryview]) -> None:
        self.unpacks = unpacks
        self.parts = parts

    def __call__(self, code: int, data: bytes) -> Any:
        unpack = self.unpacks.get(code)
        if unpack is not None:
            return unpack(data)
        if code not in (CODE_ARRAY, CODE_BUFFER, CODE_BYTES):
            raise SerializationError(f"extension type {code} is not on the allow list")
        content, *about = unpackb(data, strict_map_key=True)
        if type(content) is bytes:
            found = memoryview(bytearray(content))
        elif type(content) is int and 0 <= content < len(self.parts):
            found = self.parts[content]
        else:
            raise SerializationError("a buffer is named that is not in the message")
        if code == CODE_BYTES:
            return found.tobytes()
        return found if code == CODE_BUFFER else _restore_array(found, *about)


def _restore_array(data: memoryview, kind: Any, shape: list[int], order: Any) -> Any:
    try:
        import numpy  # noqa: PLC0415  not everybody who receives has it
    except ImportError:
        raise SerializationError("a numpy array came, and numpy is not installed here") from None
    dtype = _dtype_in(numpy, kind)
    if dtype.hasobject:
        raise SerializationError("an array of Python objects is not accepted")
    expected = dtype.itemsize
    for length in shape:
        expected *= length
    if expected != data.nbytes or order not in ("C", "F"):
        raise SerializationError("the size of an array does not match its shape")
    return numpy.ndarray(tuple(shape), dtype=dtype, buffer=data, order=order)


def _dtype_out(dtype: Any) -> Any:
    """``"<f8"``, or for a record the list of its fields (``descr``)."""
    if dtype.names is None:
        return dtype.str
    return [[name, _dtype_out(field), list(shape)] for name, field, shape in _fields(dtype)]


def _fields(dtype: Any) -> list[tuple[str, Any, tuple[int, ...]]]:
    fields = []
    packed = 0
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        base, shape = field.subdtype or (field, ())
        if offset != packed:
            raise SerializationError("a record type with padding cannot be sent: repack its fields")
        packed += field.itemsize
        fields.append((name, base, shape))
    if packed != dtype.itemsize:
        raise SerializationError("a record type with padding cannot be sent: repack its fields")
    return fields


def _dtype_in(numpy: Any, kind: Any) -> Any:
    if isinstance(kind, str):
        return numpy.dtype(kind)
    return numpy.dtype([(n, _dtype_in(numpy, field), tuple(shape)) for n, field, shape in kind])


_KEYS = frozenset({str, int, float, bool, bytes, type(None)})
_only_keys = _KEYS.issuperset


def _all_keys(value: dict[Any, Any]) -> bool:
    return _only_keys(map(type, value)) or all(isinstance(k, str | int | float) for k in value)


def _refuse(value: Any) -> Any:
    if isinstance(value, int):
        raise OverflowError(f"{value.bit_length()} bits")
    raise SerializationError(f"values of type {type(value).__name__!r} cannot be sent")


def _why(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OverflowError):
        return f"an integer does not fit 64 bits ({text})"
    if isinstance(error, UnicodeError):
        return f"text that is not valid Unicode ({text})"
    if type(error).__name__ == "StackError":
        return "nested deeper than msgpack can read"
    return text
