"""A first step is done with a spare task as the current one: does anybody ever notice?"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref

import pytest

import rudp

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")
kept: list[object] = []
by_task: weakref.WeakKeyDictionary[asyncio.Task, str] = weakref.WeakKeyDictionary()


@pytest.fixture(autouse=True)
def nothing_kept():
    yield
    kept.clear()


@pytest.fixture
def made(monkeypatch):
    """How many tasks are made."""
    count = []

    class Counted(asyncio.Task):
        def __init__(self, *args, **options):
            count.append(1)
            super().__init__(*args, **options)

    monkeypatch.setattr(asyncio, "Task", Counted)
    return count


async def test_a_method_that_does_not_wait_gets_no_task(made):
    """What it is all for; one that waits gets an ordinary one."""
    async with rudp.Node() as server, rudp.Node() as client:

        @server.method
        async def echo(value):
            return value

        @server.method
        async def later(value):
            await asyncio.sleep(0)
            return value

        peer = client.peer(server.address)
        for n in range(20):
            assert await peer.call("echo", n) == n
        assert not made
        for n in range(20):
            assert await peer.call("later", n) == n
        assert len(made) == 20


async def test_a_method_that_looks_gets_tasks_for_a_while(made):
    async with rudp.Node() as server, rudp.Node() as client:

        @server.method
        async def looks():
            return asyncio.current_task().cancelling()

        @server.method
        async def echo(value):
            return value

        peer = client.peer(server.address)
        for _ in range(303):
            assert await peer.call("looks") == 0
        assert len(made) == 300
        assert await peer.call("echo", [1]) == [1]
        assert len(made) == 300


async def test_an_idle_one_is_nobodys(pair):
    server, peer = pair
    before = asyncio.all_tasks()

    @server.method
    async def echo(value):
        return value

    for n in range(3):
        assert await peer.call("echo", n) == n
        assert asyncio.all_tasks() == before


def keep(task):
    kept.append(task)


def keep_in_a_cycle(task):
    cycle = [task]
    cycle.append(cycle)


def keep_weakly(task):
    kept.append(weakref.ref(task))


def key(task):
    by_task[task] = "of the first"


def name(task):
    task.set_name("of the first")


def attribute(task):
    task.belongs_to = "the first"


def call_back(task):
    task.add_done_callback(kept.append)


def cancel_and_not(task):
    task.cancel()
    task.uncancel()


LOOKS = (keep, keep_in_a_cycle, keep_weakly, key, name, attribute, call_back, cancel_and_not)


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "waits"])
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.__name__)
async def test_whose_task_was_looked_at_keeps_it(pair, look, waits):
    """The next request sees nothing of it."""
    server, peer = pair
    seen = []

    @server.method
    async def first():
        task = asyncio.current_task()
        look(task)
        mine = id(task)
        del task
        word.set("of the first")
        if waits:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:  # uncancel takes back the count alone
                assert look is cancel_and_not
        assert id(asyncio.current_task()) == mine
        assert word.get() == "of the first"
        assert asyncio.current_task() in asyncio.all_tasks()
        return "ended"

    @server.method
    async def second():
        task = asyncio.current_task()
        seen.append(word.get())
        seen.append(task in by_task)
        seen.append(hasattr(task, "belongs_to"))
        seen.append(task.cancelling())
        return task.get_name()

    assert await peer.call("first") == "ended"
    assert await peer.call("second") != "of the first"
    assert seen == ["none", False, False, 0]
    await asyncio.sleep(0)
    for thing in kept:
        task = thing() if isinstance(thing, weakref.ref) else thing
        assert task is None or task.done()
    if look is call_back:
        assert len(kept) == 1


async def test_the_task_of_a_method_can_be_awaited(pair):
    """By another that it told of itself; a task ends when its method does."""
    server, peer = pair

    @server.method
    async def tell(wait):
        kept.append(asyncio.current_task())
        if wait:
            await asyncio.sleep(0)

    for wait in (False, True):
        await peer.call("tell", wait)
        assert await asyncio.wait_for(kept.pop(), 20) is None


@pytest.mark.parametrize("look", [False, True], ids=["not looked at", "looked at"])
async def test_each_request_has_a_context_of_its_own(pair, look):
    server, peer = pair
    seen = []

    async def child():
        return word.get(), rudp.current_request().method

    @server.method
    async def sets(value, steps):
        seen.append(word.get())
        task = asyncio.current_task() if look else None
        word.set(value)
        begun = asyncio.create_task(child())
        for _ in range(steps):
            await asyncio.sleep(0)
            assert word.get() == value
        if task and sys.version_info >= (3, 12):
            assert task.get_context()[word] == value
        assert rudp.current_request().method == "sets"
        return list(await begun) if steps else None

    calls = [peer.call("sets", str(n), n % 3) for n in range(30)]
    for n, ended in enumerate(await asyncio.gather(*calls)):
        assert ended == ([str(n), "sets"] if n % 3 else None)
    assert set(seen) == {"none"}


async def test_cancelled_in_its_first_step_it_still_answers(pair):
    """As a task that is cancelled right before it returns: that is the task's fate alone."""
    server, peer = pair

    @server.method
    async def give_up():
        kept.append(asyncio.current_task())
        asyncio.current_task().cancel()
        return "answered"

    assert await peer.call("give_up") == "answered"
    assert kept.pop().cancelled()


@pytest.mark.parametrize("what", ["event", "task", "call", "pass"])
async def test_what_it_then_waits_for_is_cancelled(pair, wait, what):
    server, peer = pair
    back = peer._node
    seen = []

    @back.method
    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("call")

    @server.method
    async def give_up():
        begun = {
            "event": asyncio.Event().wait,
            "task": lambda: asyncio.create_task(asyncio.Event().wait()),
            "call": lambda: rudp.current_request().peer.call("forever"),
            "pass": lambda: asyncio.sleep(0),
        }[what]()
        kept.append(begun)
        asyncio.current_task().cancel("enough")
        try:
            await begun
        finally:
            seen.append("cancelled")

    with pytest.raises(rudp.CallCancelled):
        await peer.call("give_up", timeout=20)
    assert "cancelled" in seen
    if what == "task":
        await wait(kept[0].cancelled)


async def test_a_group_whose_child_fails_at_once(pair):
    """Its parent is cancelled while it is still in its first step."""
    server, peer = pair
    if sys.version_info < (3, 12):
        return  # no task begins at once there

    async def fail():
        raise ValueError("at once")

    @server.method
    async def grouped():
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(asyncio.eager_task_factory)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.Event().wait()
        except ExceptionGroup as errors:
            return str(errors.exceptions[0])
        finally:
            loop.set_task_factory(before)

    assert await peer.call("grouped", timeout=20) == "at once"


async def test_a_method_may_call_itself_through_the_network(pair):
    server, _ = pair

    @server.method
    async def count(n):
        own = server.peer(server.address)
        return 0 if n == 0 else 1 + await own.call("count", n - 1)

    assert await server.peer(server.address).call("count", 60, timeout=20) == 60


async def test_an_exception_is_the_callers_and_leaves_nothing(pair):
    server, peer = pair

    @server.method
    async def fail(look):
        if look:
            kept.append(asyncio.current_task())
        raise ValueError("no")

    for look in (False, True, False):
        with pytest.raises(rudp.RemoteError, match="no"):
            await peer.call("fail", look)
    assert kept.pop().exception() is None


def test_a_method_may_stop_its_loop():
    loop = asyncio.new_event_loop()

    async def begin():
        server, client = await rudp.Node().open(), await rudp.Node().open()
        stops = []

        @server.method
        async def stop():
            loop.stop()
            stops.append(1)
            return len(stops)

        return server, client, client.peer(server.address)

    server, client, peer = loop.run_until_complete(begin())

    async def call():
        return await peer.call("stop")

    try:
        for n in (1, 2):
            task = loop.create_task(call())
            loop.run_forever()
            assert loop.run_until_complete(task) == n
        loop.run_until_complete(client.close())
        loop.run_until_complete(server.close())
    finally:
        loop.close()


def test_a_program_that_never_closes_its_node_ends_quietly():
    """An idle task holds up no asyncio.run, and nothing is said of it."""
    said = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, about: said.append(about))
        server, client = await rudp.Node().open(), await rudp.Node().open()

        @server.method
        async def echo(value):
            return value

        return await client.peer(server.address).call("echo", 7)

    def run():
        assert asyncio.run(main()) == 7
        gc.collect()

    with pytest.warns(ResourceWarning):
        run()
    assert not said
