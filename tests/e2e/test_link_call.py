"""What is a Call to those who await it? A coroutine, and once its result is there, a future."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings

import pytest

import rudp
from rudp._lib import link


@pytest.fixture
def served(pair):
    """A peer whose node echoes, fails, and waits for an event."""
    server, peer = pair
    gate = asyncio.Event()

    @server.method(inline=True)
    def echo(value=None):
        return value

    @server.method(inline=True)
    def fail():
        raise KeyError("no")

    @server.method
    async def forever():
        await gate.wait()
        return "open"

    return peer, gate


async def test_it_is_a_coroutine_and_no_future(served):
    peer, _ = served
    call = peer.call("echo", 1)
    assert type(call) is link.Call
    assert asyncio.iscoroutine(call)
    assert inspect.isawaitable(call)
    assert not asyncio.isfuture(call)
    assert await call == 1


async def test_it_is_awaited_once(served):
    peer, _ = served
    call = peer.call("echo", 1)
    assert await call == 1
    with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
        await call


async def test_two_do_not_wait_for_one(served):
    peer, gate = served
    call = peer.call("forever")

    async def wait():
        return await call

    first = asyncio.create_task(wait())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="being awaited already"):
        await asyncio.create_task(wait())
    gate.set()
    assert await first == "open"


@pytest.mark.parametrize("ended", [False, True])
async def test_one_that_nobody_awaits_warns(served, ended):
    peer, _ = served
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        peer.call("echo", 1)
        if ended:
            assert await peer.call("echo", 2) == 2
        for _ in range(1000):
            gc.collect()
            if caught:
                break
            await asyncio.sleep(0.005)
    assert [str(w.message) for w in caught] == ["coroutine 'Peer.call' was never awaited"]


async def test_whatever_takes_a_coroutine_takes_it(served):
    peer, _ = served
    assert await asyncio.gather(*(peer.call("echo", n) for n in range(50))) == list(range(50))
    assert await asyncio.create_task(peer.call("echo", 1)) == 1
    assert await asyncio.ensure_future(peer.call("echo", 2)) == 2
    assert await asyncio.wait_for(peer.call("echo", 3), 30) == 3
    assert await asyncio.shield(peer.call("echo", 4)) == 4
    async with asyncio.timeout(30):
        assert await peer.call("echo", 5) == 5
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(peer.call("echo", n)) for n in range(20)]
    assert [task.result() for task in tasks] == list(range(20))
    done, _ = await asyncio.wait([asyncio.create_task(peer.call("echo", 6))])
    assert [task.result() for task in done] == [6]
    assert [await one for one in asyncio.as_completed([peer.call("echo", 7)])] == [7]


async def test_its_task_can_be_shown(served):
    peer, gate = served
    task = asyncio.create_task(peer.call("forever"))
    await asyncio.sleep(0)
    assert repr(task)
    assert task.get_stack() == []
    assert type(task.get_coro()) is link.Call
    gate.set()
    assert await task == "open"


async def test_a_task_of_pure_python_awaits_it(served):
    peer, gate = served
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **o: asyncio.tasks._PyTask(coro, loop=loop, **o))

    async def both():
        return await peer.call("echo", 1), await peer.call("echo", 2)

    try:
        assert await loop.create_task(both()) == (1, 2)
        assert await loop.create_task(peer.call("echo", 3)) == 3
        waiting = loop.create_task(peer.call("forever"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.call("forever"), 0.05)
    finally:
        loop.set_task_factory(None)
        gate.set()


async def test_cancelled_before_its_first_step(served):
    peer, _ = served
    task = asyncio.create_task(peer.call("echo", 1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await peer.call("echo", 2) == 2


async def test_cancelled_while_waiting(served, wait):
    peer, _ = served
    task = asyncio.create_task(peer.call("forever"))
    await asyncio.sleep(0.02)
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait(lambda: not peer._node._link.open())


async def test_cancelled_in_any_turn_it_ends_once(served, wait):
    """The cancel meets the reply at every distance, the moment it is there among them."""
    peer, _ = served
    ends = []
    for turns in range(60):
        task = asyncio.create_task(peer.call("echo", turns))
        for _ in range(turns // 6):
            await asyncio.sleep(0)
        task.cancel()
        ends += await asyncio.gather(task, return_exceptions=True)
    for turns, end in enumerate(ends):
        assert end == turns or isinstance(end, asyncio.CancelledError)
    await wait(lambda: not peer._node._link.open())
    assert await peer.call("echo", "after") == "after"


async def test_cancelled_by_the_task_stepped_before_it(served):
    """Both replies are there, and one who gets his cancels the other."""
    peer, _ = served
    for _ in range(50):
        others: list[asyncio.Task] = []

        async def first(others=others):
            await peer.call("echo", 1)
            return others[0].cancel()

        task = asyncio.create_task(first())
        others.append(asyncio.create_task(peer.call("echo", 2)))
        end, other = await asyncio.gather(task, others[0], return_exceptions=True)
        assert end in (True, False)
        assert other == 2 or isinstance(other, asyncio.CancelledError)


async def test_close_and_throw(served, wait):
    peer, _ = served
    call = peer.call("forever")
    call.close()
    call.close()
    with pytest.raises(RuntimeError, match="cannot reuse"):
        await call
    begun = peer.call("forever")
    begun.send(None)
    begun.close()
    with pytest.raises(RuntimeError, match="cannot reuse"):
        begun.send(None)
    for how in ((ValueError("x"),), (ValueError, ValueError("x")), (ValueError, "x", None)):
        with pytest.raises(ValueError, match="x"):
            peer.call("echo", 1).throw(*how)
    with pytest.raises(KeyError):
        peer.call("echo", 1).throw(KeyError)
    gone = peer.call("forever", timeout=0.2)
    gone.send(None)
    assert gone.cancel() is False  # nobody left a wake-up
    with pytest.raises(rudp.DeadlineExceeded):
        await gone
    await wait(lambda: len(peer._node._link.open()) <= 1)


async def test_every_value_comes_through(served):
    peer, _ = served
    simple = (None, "", b"", 0, -1, (1 << 64) - 1, 1.5, True)
    for value in (*simple, (), (1, 2), [], [1, 2], {"a": 1}, "x" * 5000):
        expected = list(value) if type(value) is tuple else value
        assert await peer.call("echo", value) == expected
        assert await asyncio.create_task(peer.call("echo", value)) == expected


@pytest.mark.parametrize("value", [(1, 2), (), StopIteration(3), ValueError("v"), None], ids=repr)
async def test_a_value_that_looks_like_arguments_of_an_exception(served, value):
    peer, _ = served
    for step in (lambda call: call.send(None), next):
        call = peer.call("echo", 0)
        call.settle(link.FAILED, None)  # ended, as far as the caller knows
        node = peer._node
        own, node._ended = node._ended, lambda *_: value
        try:
            with pytest.raises(StopIteration) as stop:
                step(call)
        finally:
            node._ended = own
        assert stop.value.value is value


async def test_a_call_that_fails_raises_where_it_is_awaited(served):
    peer, _ = served
    calls = [peer.call("fail") for _ in range(40)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {rudp.RemoteError}
    assert all("KeyError" in str(result) for result in results)
    with pytest.raises(rudp.RudpError):
        await peer.call("nothing")


async def test_a_place_is_used_again_and_again(served):
    peer, _ = served
    handles = []
    for n in range(500):
        call = peer.call("echo", n)
        handles.append(call.handle)
        assert await call == n
    assert len(set(handles)) == len(handles)
    assert peer._node._link.places <= 2


def test_an_exception_out_of_a_resumed_task_loses_no_other_task():
    loop = asyncio.new_event_loop()
    ends = []

    async def begin():
        server, client = await rudp.Node().open(), await rudp.Node().open()
        server.register("echo", lambda v: v, inline=True)
        peer = client.peer(server.address)
        await peer.call("echo", 0)
        return server, client, peer

    async def one(peer, n):
        got = await peer.call("echo", n)
        ends.append(got)
        if n in (2, 7):
            raise KeyboardInterrupt
        return got

    async def finish(server, client, tasks):
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await server.close()
        await client.close()
        return results

    server, client, peer = loop.run_until_complete(begin())
    tasks = [loop.create_task(one(peer, n)) for n in range(10)]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
    results = loop.run_until_complete(finish(server, client, tasks))
    loop.close()
    assert sorted(ends) == list(range(10))
    assert [r for r in results if type(r) is int] == [0, 1, 3, 4, 5, 6, 8, 9]


async def test_what_python_cannot_end_does_not_hang(served):
    """The caller is told also where the node could not read the reply (Rule 9)."""
    peer, _ = served
    node, own = peer._node, peer._node._finished
    loop, told = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, about: told.append(about["exception"]))

    def broken(call, event):
        raise ValueError("broken")

    node._finished = broken
    try:
        with pytest.raises(ValueError, match="broken"):
            await peer.call("echo", [1])
    finally:
        node._finished = own
        loop.set_exception_handler(None)
    assert [type(error) for error in told] == [ValueError]
    assert await peer.call("echo", [1]) == [1]


def test_with_debug_mode(script):
    done = script(
        """
import asyncio, rudp
async def main():
    async with rudp.Node() as server, rudp.Node() as client:
        server.register("echo", lambda v: v, inline=True)
        @server.method
        async def slow(v):
            await asyncio.sleep(0)
            return v
        peer = client.peer(server.address)
        assert await asyncio.gather(*(peer.call("echo", n) for n in range(9))) == list(range(9))
        assert await asyncio.gather(*(peer.call("slow", n) for n in range(9))) == list(range(9))
        task = asyncio.create_task(peer.call("slow", 1))
        task.cancel()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0],
                          asyncio.CancelledError)
asyncio.run(main(), debug=True)
print("fine")
"""
    )
    assert done.stdout.strip() == "fine", done.stderr
