"""What does cancelling lose? Nothing of ours, and it stops the handler over there."""

from __future__ import annotations

import asyncio
import threading

import pytest

import rudp


@pytest.fixture
def waiting(pair):
    """A method that waits until it is cancelled, and the lists of what it saw."""
    server, peer = pair
    started, cancelled = [], []

    @server.method
    async def forever(name=0):
        started.append(name)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise

    return server, peer, started, cancelled


async def test_cancelling_the_await_cancels_the_handler(waiting, wait):
    server, peer, started, cancelled = waiting
    task = asyncio.create_task(peer.call("forever"))
    await wait(lambda: bool(started))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait(lambda: bool(cancelled))
    await wait(lambda: not server._running)


async def test_a_timeout_of_asyncio_cancels_the_handler(waiting, wait):
    _, peer, started, cancelled = waiting
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await peer.call("forever")
    await wait(lambda: len(cancelled) == len(started))


async def test_the_deadline_cancels_the_handler(waiting, wait):
    _, peer, _, cancelled = waiting
    with pytest.raises(rudp.DeadlineExceeded) as caught:
        await peer.call("forever", timeout=0.3)
    assert caught.value.outcome is not rudp.Outcome.YES
    assert isinstance(caught.value, TimeoutError)
    await wait(lambda: bool(cancelled))


async def test_a_call_cancelled_before_it_left_never_runs():
    started = []
    async with rudp.Node("127.0.0.1:0") as node:
        async with rudp.Node("127.0.0.1:0") as gone:
            address = gone.address
        peer = node.peer(address)  # nobody answers there, so nothing can leave
        call = asyncio.ensure_future(peer.call("note", "never"))
        asyncio.get_running_loop().call_soon(call.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call
        async with rudp.Node(address) as server:
            server.register("note", started.append)
            await peer.call("note", "later")
        assert started == ["later"]
        assert not node._link.open()


async def test_cancelled_calls_give_their_places_back(wait):
    config = rudp.Config(calls=4)
    async with rudp.Node() as server, rudp.Node(config=config) as client:

        @server.method
        async def forever():
            await asyncio.Event().wait()

        server.register("echo", lambda v: v, inline=True)
        peer = client.peer(server.address)
        for _ in range(25):
            calls = [asyncio.ensure_future(peer.call("forever")) for _ in range(4)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await wait(lambda: not client._link.open())
        assert await peer.call("echo", 1) == 1


async def test_one_call_too_many_is_busy_and_says_why():
    async with rudp.Node() as server, rudp.Node(config=rudp.Config(calls=2)) as client:

        @server.method
        async def forever():
            await asyncio.Event().wait()

        peer = client.peer(server.address)
        calls = [asyncio.ensure_future(peer.call("forever")) for _ in range(2)]
        with pytest.raises(rudp.Busy, match=r"Config\.calls") as caught:
            await peer.call("forever")
        assert caught.value.outcome is rudp.Outcome.NO
        for call in calls:
            call.cancel()


async def test_a_function_in_a_thread_can_ask_whether_it_is_wanted(pair, wait):
    server, peer = pair
    started, asked = threading.Event(), threading.Event()

    @server.method
    def stubborn():
        request = rudp.current_request()
        started.set()
        for _ in range(3000):
            if request.cancelled:
                asked.set()
                return
            threading.Event().wait(0.01)

    call = asyncio.ensure_future(peer.call("stubborn"))
    await wait(started.is_set)
    call.cancel()
    await wait(asked.is_set)


async def test_a_handler_that_ignores_the_cancel_hurts_nobody(pair, wait):
    server, peer = pair
    ended = []

    @server.method
    async def deaf():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(1)
        return "a result nobody waits for"

    server.register("echo", lambda v: v, inline=True)
    for n in range(5):
        call = asyncio.ensure_future(peer.call("deaf"))
        await wait(lambda: bool(server._running))
        call.cancel()
        await wait(lambda n=n: len(ended) == n + 1)
    assert await peer.call("echo", 1) == 1


async def test_gather_cancels_all_of_its_calls(waiting, wait):
    _, peer, started, cancelled = waiting
    group = asyncio.gather(*(peer.call("forever", n) for n in range(10)))
    await wait(lambda: len(started) == 10)
    group.cancel()
    with pytest.raises(asyncio.CancelledError):
        await group
    await wait(lambda: sorted(cancelled) == list(range(10)))
