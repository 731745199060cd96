"""Who owns memory, and until when? Rules 20 and 21."""

from __future__ import annotations

import array
import asyncio
import gc

import numpy as np
import pytest

import rudp


async def test_an_array_arrives_writable_with_type_and_shape(pair):
    server, peer = pair
    kept = []

    @server.method(inline=True)
    def store(name, values):
        values[0, 0] = -1  # writable, and ours
        kept.append(values)
        return [name, values.dtype.str, list(values.shape)]

    sent = np.arange(1 << 19, dtype=np.float64).reshape(1024, -1)
    assert await peer.call("store", "w0", sent) == ["w0", "<f8", [1024, 512]]
    assert sent[0, 0] == 0
    assert kept[0][0, 0] == -1
    assert np.array_equal(kept[0][1:], sent[1:])


@pytest.mark.parametrize(
    "value",
    [
        np.arange(5, dtype=np.int16),
        np.asfortranarray(np.arange(6000.0).reshape(60, 100)),
        np.zeros((0, 7)),
        np.array(2.5),
        np.array(["2020-01-01"] * 1000, dtype="datetime64[D]"),
        np.zeros(300, dtype=[("a", "<i4"), ("b", "<f8", (2,))]),
        np.arange(4000, dtype=">u4"),
        np.ones(5000, dtype=bool),
        np.ones(5000, dtype=np.complex128),
    ],
    ids=lambda v: f"{v.dtype}{v.shape}",
)
async def test_kinds_of_arrays(pair, value):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    found = await peer.call("echo", value)
    assert found.dtype == value.dtype
    assert found.shape == value.shape
    assert found.flags.f_contiguous == value.flags.f_contiguous
    assert np.array_equal(found, value)
    assert found.flags.writeable


@pytest.mark.parametrize("size", [10, 100_000])
async def test_other_buffers_arrive_as_writable_views_and_bytes_as_bytes(pair, size):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    for value in (bytearray(size), memoryview(bytes(size)), array.array("d", [1.5]) * (size // 8)):
        found = await peer.call("echo", value)
        assert type(found) is memoryview
        assert not found.readonly
        assert found == memoryview(value).cast("B")
    assert type(await peer.call("echo", bytes(size))) is bytes


async def test_received_arrays_outlive_the_node():
    async with rudp.Node() as server, rudp.Node() as client:
        server.register("make", np.arange, inline=True)
        found = await client.peer(server.address).call("make", 1 << 20)
        part = found[1000:2000]
        del found
    gc.collect()
    assert part.sum() == sum(range(1000, 2000))
    part += 1


async def test_sent_memory_is_locked_only_until_the_core_lets_go(pair, wait):
    server, peer = pair
    server.register("size", len, inline=True)
    data = bytearray(1 << 20)
    assert await peer.call("size", data) == 1 << 20
    await wait(lambda: not peer._node._core.lent)
    data.extend(b"more")  # would raise BufferError while it is lent


async def test_an_array_that_is_not_contiguous_is_refused_with_a_hint(pair):
    _, peer = pair
    with pytest.raises(rudp.SerializationError, match="ascontiguousarray"):
        await peer.call("any", np.arange(100)[::2])


async def test_arrays_of_objects_are_refused(pair):
    _, peer = pair
    with pytest.raises(rudp.SerializationError, match="objects"):
        await peer.call("any", np.array([object()]))


async def test_a_cancelled_transfer_gives_its_memory_back(pair, wait):
    server, peer = pair

    @server.method
    async def slow(_):
        await asyncio.sleep(60)

    data = bytearray(8 << 20)
    call = asyncio.ensure_future(peer.call("slow", data, timeout=60))
    await wait(lambda: bool(server._running) or call.done())
    call.cancel()
    await wait(lambda: not peer._node._core.lent)
    data.extend(b"more")
