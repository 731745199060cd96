"""The parts of the core, called from Python: the call itself is a share of each number."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.engine_module import load

CORE = load("seal")
ffi, lib = CORE.ffi, CORE.lib
CIPHERS = {
    "aes-256-gcm": lib.CIPHER_AES_256_GCM,
    "chacha20-poly1305": lib.CIPHER_CHACHA20_POLY1305,
}
PACKET = 1200  # bytes
SEGMENT = 256 << 10


def request(body: bytes) -> tuple[Any, list[Any]]:
    """A request frame, and what it points into."""
    method, held = ffi.new("char[]", b"echo"), ffi.new("uint8_t[]", body)
    frame = ffi.new("frame *", {"type": lib.FRAME_REQUEST, "slot": 1, "sequence": 7})
    frame.method, frame.method_size = ffi.cast("uint8_t *", method), 4
    frame.body, frame.body_size = held, len(body)
    return frame, [method, held]


def test_frame_write(benchmark: BenchmarkFixture) -> None:
    """A request of 64 bytes into a packet."""
    frame, _alive = request(bytes(64))
    out, writer = ffi.new("uint8_t[]", PACKET), ffi.new("writer *")

    def write() -> bool:
        writer[0] = lib.writer_of(out, PACKET)
        return bool(lib.frame_write(writer, frame))

    assert benchmark(write)


def test_frame_read(benchmark: BenchmarkFixture) -> None:
    """The same out of a packet."""
    frame, _alive = request(bytes(64))
    out = ffi.new("uint8_t[]", PACKET)
    writer = ffi.new("writer *", lib.writer_of(out, PACKET))
    assert lib.frame_write(writer, frame)
    size = writer.at - out
    reader, found = ffi.new("reader *"), ffi.new("frame *")

    def read() -> int:
        reader[0] = lib.reader_of(out, size)
        return int(lib.frame_read(reader, found))

    assert benchmark(read) == lib.FRAME_READ


@pytest.mark.parametrize("size", [64, PACKET, SEGMENT])
def test_crc32c(benchmark: BenchmarkFixture, size: int) -> None:
    """The tag of plaintext packets and segments."""
    data = bytes(size)
    assert benchmark(lib.crc32c, 0, data, size) >= 0


@pytest.mark.parametrize("size", [PACKET, SEGMENT])
@pytest.mark.parametrize("cipher", CIPHERS)
def test_seal(benchmark: BenchmarkFixture, cipher: str, size: int) -> None:
    """A packet or a lane's segment, in place."""
    context, tag = ffi.new("aead_context *"), ffi.new("uint8_t[16]")
    data = ffi.new("uint8_t[]", size)
    for_sealing = True
    lib.aead_key(context, CIPHERS[cipher], for_sealing, bytes(32))
    number = 0

    def seal() -> None:
        nonlocal number
        number += 1  # a nonce is used once, also here
        lib.aead_begin(context, number, b"header", 6)
        lib.aead_update(context, data, data, size)
        lib.aead_seal_finish(context, tag)

    benchmark(seal)
    lib.aead_drop(context)
