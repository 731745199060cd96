"""How does a numpy array become bytes and a few words about them, and an array again?

The words are type, shape and order; the bytes are the array's own memory. numpy is not needed to
use this package: it is imported when the first array arrives.
"""

from __future__ import annotations

import sys
from typing import Any

from rudp._errors import SerializationError


def array_out(value: Any) -> tuple[memoryview, Any, list[int], str]:
    """The memory of an array, its type, shape and order; nothing is copied."""
    numpy = sys.modules["numpy"]
    if type(value) not in (numpy.ndarray, numpy.memmap):
        hint = "numpy.asarray(value) makes a plain one"
        if isinstance(value, numpy.ma.MaskedArray):
            hint = "send value.filled(), or value.data and value.mask as two"
        raise SerializationError(f"an array of type {type(value).__name__}: {hint}")
    if value.dtype.hasobject:
        raise SerializationError("an array of Python objects cannot be sent")
    if not (value.flags.c_contiguous or value.flags.f_contiguous):
        hint = "numpy.ascontiguousarray(value) makes a copy that is"
        raise SerializationError(f"the array is not contiguous: {hint}")
    order = "C" if value.flags.c_contiguous else "F"
    flat = value.reshape(-1, order=order).view(numpy.uint8) if value.size else b""
    return memoryview(flat), _dtype_out(value.dtype), list(value.shape), order


def scalar_out(value: Any) -> bool | int | float | None:
    """A numpy scalar as Python's number; None if there is none: its bytes alone say nothing."""
    found = value.item() if value.dtype.kind in "biuf" else None
    return found if isinstance(found, bool | int | float) else None


def is_array_of_one(value: Any) -> bool:
    """Whether a numpy scalar can be sent as an array."""
    try:
        array_out(sys.modules["numpy"].asarray(value))
    except SerializationError:
        return False
    return True


def array_in(data: memoryview, kind: Any, shape: list[int], order: Any) -> Any:
    """The array in ``data``: writable, and the same memory."""
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
