"""Who moves the bytes of messages that go by lane? Short ones the turn, long ones the C thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

import rudp

KIB = 1024
MESSAGES = 400
NAPS = 250  # wake-ups per second of a C thread that only stands by (Rule 4), and some


def wake_ups() -> dict[str, int]:
    """How often each C thread of this process has slept so far."""
    slept = {}
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text() == "rudp\n":
            status = (task / "status").read_text().splitlines()
            counts = [int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt")]
            slept[task.name] = counts[0]
    return slept


async def woken_by(calls) -> float:
    """The most wake-ups of one C thread meanwhile, less those of its naps."""
    before, began = wake_ups(), asyncio.get_running_loop().time()
    await calls
    naps = (asyncio.get_running_loop().time() - began) * NAPS
    return max(now - before[name] for name, now in wake_ups().items()) - naps


@pytest.fixture
def peer(pair) -> rudp.Peer:
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    return peer


async def echo(peer: rudp.Peer, size: int, times: int = 1) -> None:
    data = os.urandom(size)
    for _ in range(times):
        assert await peer.call("echo", data) == data


@pytest.mark.parametrize("size", [1200, 8 * KIB, 100 * KIB, 250 * KIB])
async def test_a_short_message_wakes_no_thread(peer: rudp.Peer, size: int) -> None:
    """It is written and read in the turn: two threads more would be four wake-ups more."""
    await echo(peer, size, 3)
    assert await woken_by(echo(peer, size, MESSAGES)) < MESSAGES / 10


async def test_a_long_message_is_moved_outside_of_the_turn(peer: rudp.Peer) -> None:
    """Both lanes: one is for long messages only, one becomes the thread's for a while (T9)."""
    for size in (300 * KIB, 1200 * KIB):
        await echo(peer, size, 3)
        assert await woken_by(echo(peer, size, MESSAGES // 10)) > MESSAGES / 10


async def test_a_lane_comes_back_to_the_turn(peer: rudp.Peer) -> None:
    """Long messages for a moment cost short ones the quick way for a moment only."""
    await echo(peer, 900 * KIB, 3)
    await asyncio.sleep(0.1)
    await echo(peer, 8 * KIB, 3)
    assert await woken_by(echo(peer, 8 * KIB, MESSAGES)) < MESSAGES / 10


async def test_short_and_long_messages_mixed_arrive_equal(peer: rudp.Peer) -> None:
    """The lane changes hands again and again, also with bytes that its socket did not take."""
    sizes = [(7919 * n) % (600 * KIB) + 1200 for n in range(150)]
    await asyncio.gather(*[echo(peer, size) for size in sizes])
    for size in sizes[:50]:
        await echo(peer, size)
        await asyncio.sleep(size % 3 * 0.015)


async def test_many_peers_with_short_messages_at_once(pair) -> None:
    """More lanes are ready than one turn serves; all get their turn (Rule 12)."""
    server, _ = pair
    server.register("echo", lambda v: v, inline=True)
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(rudp.Node()) for _ in range(24)]
        peers = [node.peer(server.address) for node in nodes]
        for _ in range(3):
            await asyncio.gather(*[echo(peer, 240 * KIB) for peer in peers])


async def test_messages_by_lane_are_taken_in_while_python_stands_still(start_server) -> None:
    """Rule 4: the C thread stands by for quick lanes too; nothing is sent again."""
    server = start_server()
    async with rudp.Node() as node:
        peer = node.peer(server.address)
        data = os.urandom(8 * KIB)
        assert await peer.call("echo", data) == [data]
        held = asyncio.create_task(peer.call("hold", 3.0))
        await asyncio.sleep(0.2)
        calls = [asyncio.create_task(peer.call("echo", data)) for _ in range(20)]
        await asyncio.sleep(1.5)
        taken = node.statistics().transfers_sent
        assert not held.done()
        assert await asyncio.gather(*calls) == [[data]] * 20
        await held
        assert taken >= 20
        assert node.statistics().lanes_dropped == 0
