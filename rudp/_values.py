"""Which values can be sent, and what stands for them in msgpack?

``Walk`` goes over a value before it is packed: it finds the buffers, holds the limits, and refuses
by name what msgpack would refuse in a riddle. ``Extensions`` undoes it while msgpack unpacks.

    127 bytes, 126 any other buffer   [index of the part, or the bytes themselves if few]
    125 numpy array                   [the same, type, shape, order]
    0 to 111                          what the application has registered
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from msgpack import ExtType, unpackb  # type: ignore[import-untyped]  # it ships none

from rudp._arrays import array_in, array_out, is_array_of_one, scalar_out
from rudp._errors import LimitExceeded, SerializationError

INLINE = 2048  # bytes: a larger buffer becomes a part of its own
CODE_ARRAY, CODE_BUFFER, CODE_BYTES = 125, 126, 127
CODES_FREE = range(112)  # for the application; 112 and above are ours

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]

SCALARS = frozenset({type(None), bool, int, float, str})
_only_scalars = SCALARS.issuperset
# In a buffer's format (PEP 3118), behind the names of fields: objects and pointers; Zd is complex.
_NAME = re.compile(":[^:]*:")
_POINTER = re.compile("[OPzX&]|Z(?![fdg])")
# Their values are packed without a look at what is registered.
BUILT_IN = SCALARS | {bytes, tuple, list, dict}
KEYS = "str, int, float, bool, bytes or None"
_KEYS = frozenset({str, int, float, bool, bytes, type(None)})
_only_keys = _KEYS.issuperset


class Walk:
    """One pass over a value: finds buffers, holds the limits, refuses what msgpack would hide."""

    def __init__(
        self,
        *,
        pack: Callable[[Any], bytes],
        packs: dict[type, tuple[int, Pack]],
        max_depth: int,
        max_items: int,
    ) -> None:
        self.parts: list[memoryview] = []
        self.items = 0
        self._pack = pack
        self._packs = packs
        self._max_depth = max_depth
        self._max_items = max_items

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
            raise SerializationError(f"keys of a dictionary must be {KEYS}")
        if _only_scalars(map(type, value.values())):
            return value
        return {key: self.value(item, depth + 1) for key, item in value.items()}

    def _enter(self, count: int, depth: int) -> None:
        self.items += count
        if depth > self._max_depth:
            raise LimitExceeded("max_depth", "lists or dictionaries nested deeper than allowed")
        if self.items > self._max_items:
            raise LimitExceeded("max_items", "more values in one message than allowed")

    def _other(self, value: Any, depth: int) -> Any:
        registered = self._packs.get(value.__class__)
        if registered is not None:
            return ExtType(registered[0], _packed(registered[1], value))
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            if isinstance(value, numpy.ndarray):
                return self._placed(CODE_ARRAY, *array_out(value))
            if isinstance(value, numpy.generic) and not isinstance(value, str | bytes):
                return _number(value)
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
            raise _unsendable(value) from None
        if not view.c_contiguous:
            raise SerializationError("the buffer is not contiguous: send a copy, bytes(value)")
        if _POINTER.search(_NAME.sub(" ", view.format)):
            raise SerializationError("a buffer of Python objects or pointers cannot be sent")
        flat = view.cast("B") if view.nbytes else memoryview(b"")
        code = CODE_BYTES if isinstance(value, bytes) else CODE_BUFFER
        return self._placed(code, flat)

    def _placed(self, code: int, data: memoryview, *about: Any) -> ExtType:
        """Puts the bytes into the head if small, else into a part of its own."""
        if data.nbytes <= INLINE:
            content: Any = bytes(data)
        else:
            self.items += 1
            content = len(self.parts)
            self.parts.append(data)
        return ExtType(code, self._pack([content, *about]))


class Extensions:
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
        return found if code == CODE_BUFFER else array_in(found, *about)


def _number(value: Any) -> bool | int | float:
    """What a numpy scalar is sent as."""
    found = scalar_out(value)
    if found is None:
        hint = " (numpy.asarray(value) makes an array of it)" if is_array_of_one(value) else ""
        raise _unsendable(value, hint)
    return found


def _unsendable(value: Any, hint: str = "") -> SerializationError:
    return SerializationError(
        f"values of type {type(value).__name__!r} cannot be sent: convert them{hint}, "
        "register the type (register_type), or use a method with pickle=True"
    )


def _packed(pack: Pack, value: Any) -> bytes:
    data: Any = pack(value)
    if not isinstance(data, bytes | bytearray | memoryview):
        made = f"made {type(data).__name__!r} of it, not bytes"
        raise SerializationError(f"the pack of {type(value).__name__!r} {made}")
    return bytes(data)


def _all_keys(value: dict[Any, Any]) -> bool:
    return _only_keys(map(type, value)) or all(isinstance(k, str | int | float) for k in value)
