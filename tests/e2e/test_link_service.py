"""How does a coroutine method live, whose first step is done where its request was read?"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import types

import pytest

import rudp

word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="none")

# A caller in a process whose node serves a handler that ends the program.
ENDS = """
import asyncio, sys, rudp
from rudp import RemoteError
loop = asyncio.new_event_loop()
kind = {"KeyboardInterrupt": KeyboardInterrupt, "SystemExit": SystemExit}[sys.argv[1]]
async def begin():
    server, client = await rudp.Node().open(), await rudp.Node().open()
    @server.method
    async def end(when):
        if when == "later":
            await asyncio.sleep(0)
        if when == "looked":
            asyncio.current_task().get_name()
        raise kind("over")
    @server.method
    async def echo(value):
        return value
    return server, client, client.peer(server.address)
async def finish(tasks):
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
    await server.close()
    return results
server, client, peer = loop.run_until_complete(begin())
loop.set_exception_handler(lambda *_: None)  # of the task that nobody asks for its exception
async def call(name, value):
    return await peer.call(name, value)
tasks = [loop.create_task(call(*c)) for c in (("echo", 1), ("end", sys.argv[2]), ("echo", 2))]
try:
    loop.run_forever()
except kind:
    print("ended")
results = loop.run_until_complete(finish(tasks))
loop.close()
print(results[0], results[2], isinstance(results[1], RemoteError), kind.__name__ in str(results[1]))
"""


async def test_what_a_handler_sets_in_its_context_is_its_own(pair):
    server, peer = pair
    seen = []

    @server.method
    async def keep(value):
        seen.append(word.get())
        word.set(value)
        await asyncio.sleep(0)
        return word.get()

    @server.method(inline=True)
    def look():
        found = word.get()
        word.set("inline")
        return found

    values = [str(n) for n in range(20)]
    assert await asyncio.gather(*(peer.call("keep", v) for v in values)) == values
    assert await asyncio.gather(*(peer.call("look") for _ in range(20))) == ["none"] * 20
    assert seen == ["none"] * 20


async def test_each_request_has_a_task_of_its_own(pair):
    server, peer = pair
    tasks = []

    @server.method
    async def who(later):
        task = asyncio.current_task()
        tasks.append(task)
        if later:
            await asyncio.sleep(0)
            assert asyncio.current_task() is task

    await asyncio.gather(*(peer.call("who", n % 2) for n in range(20)))
    assert len(set(map(id, tasks))) == 20
    assert all(isinstance(task, asyncio.Task) and task.done() for task in tasks)


async def test_a_handler_may_use_all_of_asyncio(pair):
    server, peer = pair

    @server.method
    async def much(value):
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(asyncio.sleep(0, n)) for n in range(3)]
        first = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(first.set_result, value)
        return [sum(p.result() for p in parts), await first]

    @server.method
    async def late():
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    assert await asyncio.gather(*(peer.call("much", n) for n in range(9))) == [
        [3, n] for n in range(9)
    ]
    with pytest.raises(rudp.RemoteError, match="TimeoutError"):
        await peer.call("late")


async def test_a_handler_may_call_its_caller(pair):
    server, peer = pair
    client = peer._node

    @server.method
    async def down(n):
        caller = rudp.current_request().peer
        return 1 + await caller.call("up", n - 1) if n else 0

    @client.method
    async def up(n):
        caller = rudp.current_request().peer
        return 1 + await caller.call("down", n - 1) if n else 0

    assert await peer.call("down", 9) == 9
    assert await asyncio.gather(*(peer.call("down", n) for n in range(8))) == list(range(8))


@pytest.mark.parametrize("swallow", [False, True])
async def test_cancelled_by_the_caller(pair, wait, swallow):
    server, peer = pair
    started, ended = [], []

    @server.method
    async def forever(steps):
        started.append(steps)
        try:
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(steps)
            if not swallow:
                raise
        return "anyway"

    for steps in (0, 1, 5):
        task = asyncio.create_task(peer.call("forever", steps))
        await wait(lambda steps=steps: steps in started)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait(lambda steps=steps: steps in ended)
    await wait(lambda: not server._running)
    assert ended == [0, 1, 5]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize("when", ["at once", "looked", "later"])
def test_a_handler_that_ends_the_program_answers_first(script, kind, when):
    done = script(ENDS, kind, when)
    assert done.stdout.split("\n")[:2] == ["ended", "1 2 True True"], done.stderr


async def test_a_value_that_cannot_be_sent_is_the_callers_error(pair):
    server, peer = pair

    @server.method
    async def strange(later):
        if later:
            await asyncio.sleep(0)
        return object()

    server.register("inline", lambda: {object()}, inline=True)
    for call in (peer.call("strange", 0), peer.call("strange", 1), peer.call("inline")):
        with pytest.raises(rudp.RemoteError, match="SerializationError"):
            await call
    assert not server._running


class Callable:
    async def __call__(self, value):
        await asyncio.sleep(0)
        return value

    async def method(self, value):
        return value


class Awaitable:
    def __init__(self, value, steps):
        self.value, self.steps = value, steps

    def __await__(self):
        for _ in range(self.steps):
            yield
        return self.value


class Returns:
    """Called like a coroutine function, by its word, and returns what it likes."""

    def __init__(self, made):
        self.made = made

    __call__ = functools.wraps(Callable.__call__)(lambda self, *args: self.made(*args))


@types.coroutine
def generator(value):
    yield
    return value


async def test_what_is_called_like_a_coroutine_function(pair):
    server, peer = pair
    server.register("object", Callable())
    server.register("bound", Callable().method)
    server.register("partial", functools.partial(Callable().method, 7))
    assert await peer.call("object", 1) == 1
    assert await peer.call("bound", 2) == 2
    assert await peer.call("partial") == 7


@pytest.mark.parametrize(
    "made",
    [
        generator,
        lambda value: Awaitable(value, 0),
        lambda value: Awaitable(value, 3),
        lambda value: asyncio.sleep(0, value),
        lambda value: asyncio.ensure_future(asyncio.sleep(0, value)),
    ],
    ids=["generator", "at once", "later", "coroutine", "task"],
)
async def test_whatever_await_takes_may_be_returned(pair, made):
    server, peer = pair
    # Said to be a coroutine function, as a decorator may.
    server._simple[b"made"] = (made, "made", True, [0])
    server._methods[b"made"] = rudp._serving.Method("made", Callable(), inline=False, pickle=False)
    assert await peer.call("made", 5) == 5


async def test_what_await_does_not_take_is_the_callers_error(pair):
    server, peer = pair
    server._simple[b"made"] = (lambda: 5, "made", True, [0])
    server._methods[b"made"] = rudp._serving.Method("made", Callable(), inline=False, pickle=False)
    with pytest.raises(rudp.RemoteError):
        await peer.call("made")


async def test_the_loop_is_as_it_was(pair):
    server, peer = pair
    loop = asyncio.get_running_loop()
    found = []

    @server.method
    async def look():
        found.append("call_soon" in vars(loop))

    await peer.call("look")
    assert found == [False]
    assert "call_soon" not in vars(loop)


async def test_the_applications_own_call_soon_stays(pair):
    server, peer = pair
    loop = asyncio.get_running_loop()
    asked = []

    def own(callback, *args, context=None):
        asked.append(callback)
        return type(loop).call_soon(loop, callback, *args, context=context)

    @server.method
    async def step(value):
        await asyncio.sleep(0)
        return value

    loop.call_soon = own
    try:
        assert await asyncio.gather(*(peer.call("step", n) for n in range(9))) == list(range(9))
        assert vars(loop)["call_soon"] is own
    finally:
        del loop.call_soon
    assert asked
    assert await peer.call("step", 1) == 1


@pytest.mark.parametrize("step", ["not asked for", "asked for"])
async def test_no_task_can_be_made(monkeypatch, step):
    """Its caller hears of it, also from 3.12 on, where the loop may have the task all the same."""

    class Broken(asyncio.Task):
        broken = False

        def __init__(self, *args, **options):
            if self.broken and step == "not asked for":
                raise ValueError("no task")
            super().__init__(*args, **options)
            if self.broken:
                self._log_destroy_pending = False
                raise ValueError("no task")

    monkeypatch.setattr(asyncio, "Task", Broken)
    loop = asyncio.get_running_loop()
    told = []
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    async with rudp.Node() as server, rudp.Node() as client:

        @server.method
        async def echo(value):
            await asyncio.sleep(0)
            return value

        peer = client.peer(server.address)
        assert await peer.call("echo", 1) == 1
        Broken.broken = True
        try:
            with pytest.raises(rudp.RemoteError, match="no task"):
                await peer.call("echo", 2)
        finally:
            Broken.broken = False
        assert "call_soon" not in vars(loop)
        assert await peer.call("echo", 3) == 3
        assert not server._running
    assert told == []


async def test_a_finalizer_may_use_the_loop_while_a_task_is_made(monkeypatch):
    """A collection of garbage may happen anywhere, and what it ends may use the loop."""
    loop = asyncio.get_running_loop()
    ran = []

    class Busy(asyncio.Task):
        def __init__(self, *args, **options):
            loop.call_soon(ran.append, 1)
            loop.call_soon(ran.append, 2, context=contextvars.copy_context())
            super().__init__(*args, **options)
            loop.call_soon(lambda: ran.append(3), context=contextvars.copy_context())

    monkeypatch.setattr(asyncio, "Task", Busy)
    async with rudp.Node() as server, rudp.Node() as client:

        @server.method
        async def echo(value):
            await asyncio.sleep(0)
            return value

        assert await client.peer(server.address).call("echo", 1) == 1
    assert ran == [1, 2, 3]


async def test_its_task_can_be_shown(pair, wait):
    server, peer = pair
    shown = []
    gate = asyncio.Event()

    def show(task):
        shown.append((repr(task), task.get_stack(), task.get_coro(), repr(task.get_coro())))

    @server.method
    async def shows():
        show(asyncio.current_task())
        await gate.wait()
        show(asyncio.current_task())

    call = asyncio.create_task(peer.call("shows"))
    await wait(lambda: bool(server._running))
    (task,) = server._running.values()
    show(task)
    gate.set()
    await call
    await wait(task.done)
    show(task)
    assert len(shown) == 4
    assert all("shows" in text for text, *_ in shown[:3])
    assert shown[1][1]  # where it stands


async def test_a_request_is_known_to_its_handler(pair):
    server, peer = pair
    client = peer._node

    def facts():
        request = rudp.current_request()
        return [request.method, 0 < request.remaining <= 20, request.peer.address, request.open]

    @server.method
    async def coroutine():
        first = facts()
        await asyncio.sleep(0)
        assert facts() == first
        inside = await asyncio.create_task(asyncio.sleep(0, rudp.current_request()))
        assert inside is rudp.current_request()
        return first

    server.register("inline", facts, inline=True)
    where = str(client.address)
    assert await peer.call("coroutine", timeout=20) == ["coroutine", True, where, True]
    assert (await peer.call("inline", timeout=20))[:3] == ["inline", True, where]
    with pytest.raises(LookupError):
        rudp.current_request()


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_handler_may_close_its_own_node(steps):
    """In its first step that runs a round inside of the one that reads (link.h)."""
    async with rudp.Node() as client:
        server = await rudp.Node().open()

        @server.method
        async def close():
            for _ in range(steps):
                await asyncio.sleep(0)
            await server.close(timeout=1)
            return "closed"

        server.register("echo", lambda v: v, inline=True)
        peer = client.peer(server.address)
        assert await peer.call("echo", 0) == 0
        calls = [peer.call("close", timeout=2)] + [
            peer.call("echo", n, timeout=2) for n in range(60)
        ]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(end == n or isinstance(end, rudp.CallError) for n, end in enumerate(ends[1:]))
        await server.close()


async def test_a_task_that_got_its_reply_may_close_its_node(pair):
    server, peer = pair
    node = peer._node
    server.register("echo", lambda v: v, inline=True)
    await peer.call("echo", 0)

    async def one(n):
        got = await peer.call("echo", n)
        if n == 5:
            await node.close()
        return got

    ends = await asyncio.gather(*(one(n) for n in range(60)), return_exceptions=True)
    assert ends[5] == 5
    assert all(end == n or isinstance(end, rudp.CallError) for n, end in enumerate(ends))


async def test_a_handler_may_register_methods_and_call(pair):
    server, peer = pair

    @server.method(inline=True)
    def more(name):
        server.register(name, lambda: name, inline=True)
        begun.append(asyncio.ensure_future(peer.call("echo", name)))

    server.register("echo", lambda v: v, inline=True)
    begun: list[asyncio.Future] = []
    await asyncio.gather(*(peer.call("more", f"method-{n}") for n in range(100)))
    assert await asyncio.gather(*begun) == [f"method-{n}" for n in range(100)]
    assert await peer.call("method-99") == "method-99"


async def test_a_turn_asked_for_by_a_handler_is_not_run_in_its_context(pair):
    """Who asks the loop for a turn lends it a context, and requests are read in the turn."""
    server, peer = pair
    back = peer._node
    seen = []
    back.register("up", lambda: None, inline=True)

    @server.method
    async def sets(value):
        seen.append(word.get())
        word.set(value)
        await asyncio.sleep(0)
        await rudp.current_request().peer.call("up")
        return value

    @server.method(inline=True)
    def look():
        seen.append(word.get())

    async def caller(n):
        word.set("caller's")
        return await peer.call("sets", str(n)), await peer.call("look")

    await asyncio.gather(*(caller(n) for n in range(50)))
    assert set(seen) == {"none"}
