"""Python values to bytes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rudp import Config
from rudp._codec import Codec

CODEC = Codec(Config())
VALUES: dict[str, tuple[Any, ...]] = {
    "numbers": (2, 3.5),
    "64_bytes": (bytes(64),),
    "text_and_list": ("name", [1, 2, 3], {"a": 1}),
    "array_of_4_mib": (np.zeros(4 << 20, dtype=np.uint8),),
}


@pytest.mark.parametrize("name", VALUES)
def test_encode(benchmark: BenchmarkFixture, name: str) -> None:
    """A request's arguments; an array is never copied."""
    assert benchmark(CODEC.encode_arguments, VALUES[name], {})


@pytest.mark.parametrize("name", VALUES)
def test_decode(benchmark: BenchmarkFixture, name: str) -> None:
    """The same at the other side."""
    body = CODEC.encode_arguments(VALUES[name], {})
    data = body if isinstance(body, bytes) else memoryview(bytearray(b"".join(body)))
    args, _ = benchmark(lambda: CODEC.decode_arguments(data, pickled=False))
    assert len(args) == len(VALUES[name])
