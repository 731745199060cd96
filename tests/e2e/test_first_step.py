"""A coroutine method's first step is done where its request is read: is it still a task's step?

And the other way round: does a loop that has something else to do get to it?
"""

from __future__ import annotations

import asyncio
import contextvars
import time

import pytest

import rudp

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_the_first_step_is_done_at_once_and_the_rest_later(pair):
    server, peer = pair
    order = []

    @server.method
    async def coroutine():
        order.append("first step")
        await asyncio.sleep(0)
        order.append("second step")

    @server.method(inline=True)
    def inline():
        order.append("inline")

    await asyncio.gather(peer.call("coroutine"), peer.call("inline"))
    assert order == ["first step", "inline", "second step"]


@pytest.mark.parametrize("suspend", [False, True], ids=["at once", "suspended"])
async def test_every_step_belongs_to_a_task_of_its_own(pair, suspend):
    server, peer = pair
    tasks = set()

    @server.method
    async def work():
        if suspend:
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.get_loop() is asyncio.get_running_loop()
        assert task in asyncio.all_tasks()
        tasks.add(task)
        return task.get_name()

    mine = asyncio.current_task()
    assert len({await peer.call("work") for _ in range(3)}) == 3
    assert len(tasks) == 3
    assert mine not in tasks
    assert asyncio.current_task() is mine


@pytest.mark.parametrize("suspend", [False, True], ids=["at once", "suspended"])
async def test_what_needs_a_task_works_in_every_step(pair, suspend):
    server, peer = pair

    async def double(n):
        await asyncio.sleep(0)
        return 2 * n

    @server.method
    async def grouped(n):
        if suspend:
            await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(double(i)) for i in range(n)]
        return [part.result() for part in parts]

    @server.method
    async def limited():
        if suspend:
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"

    @server.method
    async def waiting():
        if suspend:
            await asyncio.sleep(0)
        return await asyncio.wait_for(double(4), 20)

    assert await peer.call("grouped", 3) == [0, 2, 4]
    assert await peer.call("limited") == "timed out"
    assert await peer.call("waiting") == 8


async def test_a_method_has_a_context_of_its_own_in_all_its_steps(pair):
    server, peer = pair
    variable.set("ours")

    @server.method
    async def remember(value):
        before = variable.get()
        variable.set(value)
        method = rudp.current_request().method
        await asyncio.sleep(0)
        assert rudp.current_request().method == method
        return [before, variable.get()]

    calls = [peer.call("remember", f"value {n}") for n in range(3)]
    results = await asyncio.gather(*calls)
    assert [after for _, after in results] == ["value 0", "value 1", "value 2"]
    assert len({before for before, _ in results}) == 1  # nothing of the others
    assert variable.get() == "ours"


@pytest.mark.parametrize("suspend", [False, True], ids=["at once", "suspended"])
async def test_a_method_is_cancelled_wherever_it_waits(pair, wait, suspend):
    server, peer = pair
    seen = []

    @server.method
    async def hang():
        try:
            if suspend:
                await asyncio.sleep(0)
            seen.append("begun")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    call = asyncio.create_task(peer.call("hang", timeout=20))
    await wait(lambda: seen == ["begun"])
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wait(lambda: seen == ["begun", "cancelled"])


async def test_a_method_may_cancel_its_own_task_in_its_first_step(pair):
    server, peer = pair
    seen = []

    @server.method
    async def give_up():
        asyncio.current_task().cancel()
        seen.append("asked")
        await asyncio.sleep(0)
        seen.append("never")

    with pytest.raises(rudp.CallCancelled):
        await peer.call("give_up", timeout=20)
    assert seen == ["asked"]


async def test_a_first_step_finds_and_leaves_the_loop_as_it_was(pair):
    server, peer = pair
    loop = asyncio.get_running_loop()
    before = dict(vars(loop)).keys()
    order = []

    @server.method
    async def schedule():
        loop.call_soon(order.append, "scheduled")
        order.append("first step")

    @server.method
    async def fail():
        raise ValueError

    @server.method
    async def call_back():
        task = asyncio.create_task(asyncio.sleep(0, "done"))  # makes a task within a first step
        return await task

    await peer.call("schedule")
    await asyncio.sleep(0)
    assert order == ["first step", "scheduled"]
    with pytest.raises(rudp.RemoteError):
        await peer.call("fail")
    assert await peer.call("call_back") == "done"
    assert "call_soon" not in vars(loop)
    assert vars(loop).keys() == before


@pytest.mark.parametrize("suspend", [False, True], ids=["at once", "suspended"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_gets_through_and_loses_no_call(kind, suspend):
    """As from any task: the loop stops; run again, it goes on."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # asyncio mentions that nobody awaited the task
    results = []

    async def begin():
        server, client = await rudp.Node().open(), await rudp.Node().open()

        async def stop():
            if suspend:
                await asyncio.sleep(0)
            raise kind

        async def note(n):
            return n

        server.register("stop", stop)
        server.register("note", note)
        peer = client.peer(server.address)
        assert await peer.call("note", 0) == 0
        return server, client, peer

    async def gathered(calls):
        results.extend(await asyncio.gather(*calls, return_exceptions=True))

    server, client, peer = loop.run_until_complete(begin())

    def submit():
        calls = [peer.call("note", 1), peer.call("stop", timeout=20), peer.call("note", 2)]
        kept.append(loop.create_task(gathered(calls)))

    kept = []
    loop.call_soon(submit)
    with pytest.raises(kind):
        loop.run_forever()
    loop.run_until_complete(kept[0])
    assert results[0] == 1
    assert isinstance(results[1], rudp.RemoteError)
    assert results[2] == 2
    loop.run_until_complete(server.close())
    loop.run_until_complete(client.close())
    loop.close()


async def test_callbacks_that_are_ready_come_before_a_reply_that_is_not(start_server):
    """Rule 15: the node looks again for a moment only if the loop had nothing else to do."""
    server = start_server()
    async with rudp.Node() as node:
        peer = node.peer(server.address)
        loop = asyncio.get_running_loop()
        for _ in range(300):
            order = []
            call = peer.call("pid")
            loop.call_soon(order.append, "other")
            await call
            order.append("reply")
            assert order == ["other", "reply"]


async def test_timers_fire_between_the_rounds_of_one_turn(start_server):
    """Rule 12: a task that is resumed, computes and calls again keeps the loop 5 ms at most."""
    computing, calls, fired = 0.006, 30, 0
    server = start_server()
    loop = asyncio.get_running_loop()

    def fire():
        nonlocal fired
        fired += 1
        loop.call_later(0.001, fire)

    async with rudp.Node("127.0.0.1:0") as node:
        peer = node.peer(server.address)
        await peer.call("echo")
        fire()
        for _ in range(calls):
            await peer.call("echo")
            time.sleep(computing)  # noqa: ASYNC251 - holds the loop, as a computation does
        assert fired >= calls // 2
