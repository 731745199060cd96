"""Does a call bring what the handler returned, in every form it may take?"""

from __future__ import annotations

import asyncio
import threading

import pytest

import rudp


async def test_coroutines_threads_and_inline_functions_answer(pair):
    server, peer = pair
    where = {}

    @server.method
    async def on_loop(a, b):
        where["loop"] = threading.get_ident()
        return a + b

    @server.method
    def in_pool(a, b):
        where["pool"] = threading.get_ident()
        return a + b

    @server.method(inline=True)
    def in_place(a, b):
        where["inline"] = threading.get_ident()
        return a + b

    assert await peer.call("on_loop", 1, 2) == 3
    assert await peer.call("in_pool", 1, 2) == 3
    assert await peer.call("in_place", 1, 2) == 3
    here = threading.get_ident()
    assert where["loop"] == here
    assert where["inline"] == here
    assert where["pool"] != here


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        1.5,
        "",
        "äöü\N{SNOWMAN}",
        b"",
        b"\x00\xff",
        [],
        [1, [2, [3]]],
        {},
        {"a": {"b": [None]}},
        {1: "x", 2.5: "y"},
    ],
    ids=repr,
)
async def test_values_come_back_equal(pair, value):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    found = await peer.call("echo", value)
    assert found == value
    assert type(found) is type(value)


async def test_tuples_arrive_as_lists(pair):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    assert await peer.call("echo", (1, (2, 3))) == [1, [2, 3]]


async def test_keyword_arguments(pair):
    server, peer = pair

    @server.method(inline=True)
    def scale(x, *, factor=1, offset=0):
        return x * factor + offset

    assert await peer.call("scale", 2) == 2
    assert await peer.call("scale", 2, factor=10, offset=1) == 21
    assert await peer.call("scale", x=3) == 3
    server.register("names", lambda **names: sorted(names), inline=True)
    assert await peer.call("names", method=1, self=2, node=3) == ["method", "node", "self"]


async def test_no_arguments_and_no_result(pair):
    server, peer = pair
    server.register("nothing", lambda: None, inline=True)
    assert await peer.call("nothing") is None


async def test_a_method_has_the_name_it_was_given(pair):
    server, peer = pair

    @server.method(name="math.add", inline=True)
    def add(a, b):
        return a + b

    assert await peer.call("math.add", 1, 2) == 3
    with pytest.raises(rudp.NoSuchMethod):
        await peer.call("add", 1, 2)


@pytest.mark.parametrize("size", [1, 255])
async def test_names_of_any_allowed_length(pair, size):
    server, peer = pair
    server.register("n" * size, lambda: size, inline=True)
    assert await peer.call("n" * size) == size


async def test_objects_with_a_coroutine_call_are_coroutine_methods(pair):
    server, peer = pair

    class Adder:
        async def __call__(self, a, b):
            await asyncio.sleep(0)
            return a + b

    server.register("add", Adder())
    assert await peer.call("add", 1, 2) == 3


async def test_many_calls_at_once_each_get_their_own_result(pair):
    server, peer = pair

    @server.method
    async def square(n):
        await asyncio.sleep(0)
        return n * n

    found = await asyncio.gather(*(peer.call("square", n) for n in range(2000)))
    assert found == [n * n for n in range(2000)]


async def test_a_call_is_accepted_where_a_coroutine_is(pair):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    assert await asyncio.create_task(peer.call("echo", 1)) == 1
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(peer.call("echo", n)) for n in range(3)]
    assert [task.result() for task in tasks] == [0, 1, 2]
    assert await asyncio.wait_for(peer.call("echo", 2), 30) == 2
    with pytest.raises(rudp.NoSuchMethod):
        await asyncio.create_task(peer.call("nothing"))


async def test_a_node_may_call_itself_and_arguments_are_copies(pair):
    server, _ = pair
    seen = []
    server.register("keep", lambda v: seen.append(v) or v, inline=True)
    sent = [1, 2]
    found = await server.peer(server.address).call("keep", sent)
    assert found == sent
    assert seen[0] is not sent


async def test_calls_go_both_ways_over_one_pair_of_nodes(pair):
    server, peer = pair
    client = peer._node

    @client.method
    async def half(n):
        return n / 2

    @server.method
    async def quarter(n):
        caller = rudp.current_request().peer
        return await caller.call("half", await caller.call("half", n))

    assert await peer.call("quarter", 8) == 2


async def test_a_handler_knows_its_request(pair):
    server, peer = pair

    @server.method
    async def look():
        request = rudp.current_request()
        await asyncio.sleep(0)
        assert rudp.current_request() is request
        return [request.method, request.peer.address, request.remaining]

    @server.method
    def look_in_thread():
        return rudp.current_request().remaining

    method, address, remaining = await peer.call("look", timeout=20)
    assert method == "look"
    assert address == peer._node.address
    assert 0 < remaining <= 20
    assert 0 < await peer.call("look_in_thread", timeout=20) <= 20
    with pytest.raises(LookupError):
        rudp.current_request()


async def test_context_does_not_leak_from_request_to_request(pair):
    import contextvars

    server, peer = pair
    mark = contextvars.ContextVar("mark", default=0)

    def bump():
        mark.set(mark.get() + 1)
        return mark.get()

    async def bump_on_loop():
        return bump()

    server.register("inline", bump, inline=True)
    server.register("thread", bump)
    server.register("loop", bump_on_loop)
    for name in ("inline", "thread", "loop"):
        assert [await peer.call(name) for _ in range(3)] == [1, 1, 1]


async def test_nested_calls_share_the_deadline(pair):
    server, peer = pair

    @server.method
    async def inner():
        return rudp.current_request().remaining

    @server.method
    async def outer():
        return await server.peer(server.address).call("inner", timeout=1000)

    assert 0 < await peer.call("outer", timeout=10) <= 10


async def test_registered_types_travel(pair):
    import fractions

    server, peer = pair
    for node in (server, peer._node):
        node.register_type(7, fractions.Fraction, pack=lambda f: str(f).encode(), unpack=_fraction)
    server.register("double", lambda f: f * 2, inline=True)
    found = await peer.call("double", fractions.Fraction(1, 3))
    assert found == fractions.Fraction(2, 3)
    assert await peer.call("double", [fractions.Fraction(1, 3)]) == [fractions.Fraction(1, 3)] * 2


def _fraction(data):
    import fractions

    return fractions.Fraction(data.decode())


async def test_reprs_are_useful(pair):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    assert repr(server) == f"<rudp.Node {server.address} methods=1>"
    assert repr(peer) == f"<Peer {server.address}>"


async def test_statistics_count_calls(pair):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    for n in range(10):
        await peer.call("echo", n)
    client = peer._node.statistics()
    assert client.calls == 10
    assert client.calls_ok == 10
    assert server.statistics().requests == 10
    assert not client.other


async def test_nothing_is_left_behind_by_many_calls(pair):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    for _ in range(200):
        await asyncio.gather(*(peer.call("echo", n) for n in range(20)))
    client = peer._node
    assert client._link.places <= 40
    assert not client._link.open()
    assert not server._running
    assert not client._core.lent
