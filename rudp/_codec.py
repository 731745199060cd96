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
import threading
from collections.abc import Callable
from typing import Any

from msgpack import Packer, unpackb  # type: ignore[import-untyped]  # it ships none

from rudp._config import Config
from rudp._errors import ConfigError, LimitExceeded, SerializationError
from rudp._values import BUILT_IN, CODES_FREE, INLINE, SCALARS, Extensions, Pack, Unpack, Walk

Encoded = bytes | list[Any]
"""One piece of bytes, or the pieces of a big message in order."""

ALIGN = 64  # bytes: what numpy and SIMD code like
FEW = 64  # arguments that are looked at one by one
MAGIC = b"\xc1ru\x01"
MAGIC_FIRST = MAGIC[0]
FORMAT_MSGPACK, FORMAT_PICKLE = 0, 1

_header = struct.Struct("<4sIII")
_part = struct.Struct("<QQ")
# Every byte that cannot be the header of a msgpack list or map: what is left bounds the depth.
_NOT_CONTAINERS = bytes(b for b in range(256) if not (0x80 <= b <= 0x9F or 0xDC <= b <= 0xDF))


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
        self._hook = Extensions(self._unpacks, [])  # of messages without parts
        self._local = threading.local()

    def register_type(self, code: int, kind: type, pack: Pack, unpack: Unpack) -> None:
        """Allow values of class ``kind``: ``pack`` makes bytes of one, ``unpack`` one of bytes."""
        _check_type(code, kind, pack, unpack)
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
        kind = value.__class__
        if kind is tuple and len(value) < FEW:
            for item in value:
                kind = item.__class__
                if kind not in SCALARS and (kind is not bytes or len(item) > INLINE):
                    return self._encode_walked(value)
        elif kind not in SCALARS and (kind is not bytes or len(value) > INLINE):
            return self._encode_walked(value)
        try:  # nothing to walk: most calls
            head: bytes = self._local.pack(value)
        except AttributeError:
            self.packer()  # the first of this thread
            return self.encode(value)
        except (OverflowError, ValueError, UnicodeError) as error:
            raise SerializationError(_why(error)) from error
        return head if len(head) <= INLINE else self._assemble(head, [], FORMAT_MSGPACK)

    def _encode_walked(self, value: Any) -> Encoded:
        pack = self.packer()
        walk = Walk(pack=pack, packs=self.packs, max_depth=self.max_depth, max_items=self.max_items)
        try:
            head = pack(walk.value(value, 1))
        except SerializationError:
            raise
        except (OverflowError, ValueError, TypeError, UnicodeError) as error:
            raise SerializationError(_why(error)) from error
        return self._assemble(head, walk.parts, FORMAT_MSGPACK)

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
            value = unpackb(data, ext_hook=self._hook, strict_map_key=False)
            # Each level and each value takes a byte at least.
            if len(data) > self._unsuspicious and not _flat(value):
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
                raise SerializationError("it is pickled, which is not accepted: pickle=True is")
            return pickle.loads(head, buffers=parts)  # noqa: S301  the application opted in
        value = unpackb(head, ext_hook=Extensions(self._unpacks, parts), strict_map_key=False)
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


_no_containers = frozenset({list, dict}).isdisjoint


def _flat(value: Any) -> bool:
    """Whether a received value cannot break a limit: a scalar, or a few of them in a list."""
    if value.__class__ is list:
        return len(value) < FEW and _no_containers(map(type, value))
    return value.__class__ is not dict


def _check_type(code: Any, kind: Any, pack: Any, unpack: Any) -> None:
    """Refuse what could not be packed, or would never be asked for."""
    if not isinstance(code, int) or code not in CODES_FREE:
        raise ConfigError(f"an extension type's code is between 0 and 111, not {code!r}")
    if not isinstance(kind, type):
        raise ConfigError(f"an extension type is a class, not {kind!r}")
    if kind in BUILT_IN:
        raise ConfigError(f"{kind.__name__} is always sent as it is, never by an extension")
    if not callable(pack) or not callable(unpack):
        raise ConfigError(f"pack and unpack of {kind.__name__} must be callable")


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
