"""Is each mistake a clear error, and does the node serve on?"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import pickle
import socket
import threading

import msgpack
import pytest

import rudp
from rudp import sync


@pytest.fixture
def served(pair):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    return server, peer


@pytest.fixture(params=["asyncio", "sync"])
def twin(request):
    """Makes a node of either kind, of which there is a function that calls."""

    @contextlib.contextmanager
    def open_one(config):
        with sync.Node(config=config) as node:

            async def call(address, *given):
                if request.param == "sync":
                    return await asyncio.to_thread(node.peer(address).call, *given)
                async with rudp.Node(config=config) as other:
                    return await other.peer(address).call(*given)

            yield call

    return open_one


def host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


# ---- calls ----


async def test_an_unknown_method(served):
    _, peer = served
    with pytest.raises(rudp.NoSuchMethod, match="nope") as caught:
        await peer.call("nope")
    assert caught.value.outcome is rudp.Outcome.NO
    assert caught.value.ran is False
    assert await peer.call("echo", 1) == 1


@pytest.mark.parametrize("kind", ["loop", "thread", "inline"])
async def test_an_exception_arrives_with_type_message_and_traceback(pair, kind):
    server, peer = pair

    def fail(what):
        raise ValueError(f"no {what}")

    async def fail_on_loop(what):
        fail(what)

    server.register("fail", fail_on_loop if kind == "loop" else fail, inline=kind == "inline")
    with pytest.raises(rudp.RemoteError) as caught:
        await peer.call("fail", "way")
    error = caught.value
    assert str(error) == "ValueError: no way"
    assert error.type_name == "ValueError"
    assert error.remote_message == "no way"
    assert "test_errors.py" in error.remote_traceback
    assert error.outcome is rudp.Outcome.YES
    assert error.method == "fail"
    assert any("Remote traceback" in note for note in error.__notes__)
    with pytest.raises(rudp.RemoteError, match="TypeError"):
        await peer.call("fail")


async def test_wide_and_broken_exceptions_are_carried(pair):
    server, peer = pair

    class Broken(Exception):
        def __str__(self):
            raise RuntimeError

    def fail(which):
        raise Broken if which == "broken" else ValueError("\ud800" + "x" * 100_000)

    server.register("fail", fail, inline=True)
    with pytest.raises(rudp.RemoteError, match="Broken"):
        await peer.call("fail", "broken")
    with pytest.raises(rudp.RemoteError, match="ValueError"):
        await peer.call("fail", "wide")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1, 2}, "set"),
        (object(), "object"),
        (2**64, "64 bits"),
        ("\ud800", "Unicode"),
        ({(1, 2): 3}, "keys"),
        ([[[{"x": {1}}]]], "set"),
    ],
    ids=["set", "object", "integer", "surrogate", "key", "nested"],
)
async def test_an_argument_or_result_that_cannot_be_sent(served, value, text):
    server, peer = served
    server.register("give", lambda: value, inline=True)
    with pytest.raises(rudp.SerializationError, match=text):
        await peer.call("echo", value)
    with pytest.raises(rudp.RemoteError, match=text):
        await peer.call("give")
    assert await peer.call("echo", 1) == 1


async def test_too_deep_and_too_many_name_the_limit():
    config = rudp.Config(max_depth=5, max_items=100, max_head=5000)
    async with rudp.Node(config=config) as server, rudp.Node() as wide:
        server.register("echo", lambda v: v, inline=True)
        async with rudp.Node(config=config) as narrow:
            peer = narrow.peer(server.address)
            for value, limit in [
                ([[[[[[]]]]]], "max_depth"),
                (list(range(101)), "max_items"),
                ("x" * 5001, "max_head"),
            ]:
                with pytest.raises(rudp.LimitExceeded, match=limit) as caught:
                    await peer.call("echo", value)
                assert caught.value.limit == limit
        peer = wide.peer(server.address)
        for value in ([[[[[[]]]]]], list(range(101)), "x" * 5001):
            with pytest.raises(rudp.BadRequest):
                await peer.call("echo", value)
        assert await peer.call("echo", 1) == 1


async def test_a_reply_that_cannot_be_read_says_that_the_handler_ran(served, twin):
    server, _ = served
    ran = []

    @server.method
    def count(size):
        ran.append(size)
        return list(range(size))

    with twin(rudp.Config(max_items=100)) as call:
        with pytest.raises(rudp.BadReply, match="max_items") as caught:
            await call(server.address, "count", 101)
        assert isinstance(caught.value, rudp.SerializationError)
        assert caught.value.outcome is rudp.Outcome.YES
        assert ran == [101]
        assert await call(server.address, "count", 3) == [0, 1, 2]


async def test_what_is_wrong_with_a_call_is_told_where_it_is_awaited():
    async with rudp.Node(config=rudp.Config(peers=1)) as node:
        calls = [node.peer(f"127.0.0.{n}:9").call("echo", timeout=0.1) for n in (1, 2)]
        first, second = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(first, rudp.CallError)
        assert isinstance(second, rudp.Busy)


async def test_an_address_of_the_family_that_the_node_has_not(twin):
    text = r"\[::1\]:9.* is IPv6, and the node uses IPv4"
    with twin(rudp.Config()) as call, pytest.raises(rudp.AddressError, match=text):
        await call("[::1]:9", "echo")


async def test_bytes_that_are_no_request_are_refused(served, monkeypatch):
    server, peer = served
    ran = []
    server.register("note", lambda *a, **k: ran.append((a, k)), inline=True)
    bodies = [
        b"",
        b"\xc1",
        b"\xc1ru\x01" + b"\xff" * 40,
        b"\xff",
        msgpack.packb(3),
        msgpack.packb({0: [], 1: {2: 3}}),
        msgpack.packb([msgpack.ExtType(5, b"x")]),
        msgpack.packb([msgpack.ExtType(125, msgpack.packb([3, "<f8", [1], "C"]))]),
        msgpack.packb([msgpack.ExtType(125, msgpack.packb([b"12345678", "|O", [1], "C"]))]),
        b"\x91" * 900,
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xd9\x05abc",
    ]
    peer._node._link.simple = False  # or the core would encode by itself
    for body in bodies:
        monkeypatch.setattr(peer._node, "_encode", lambda *_, body=body: body)
        with pytest.raises(rudp.BadRequest):
            await peer.call("note")
    monkeypatch.undo()
    assert not ran
    assert await peer.call("echo", 1) == 1


async def test_a_timeout_that_is_over_before_it_begins(served):
    _, peer = served
    for timeout in (0, -1, float("nan")):
        with pytest.raises(rudp.DeadlineExceeded) as caught:
            await peer.call("echo", 1, timeout=timeout)
        assert caught.value.outcome is rudp.Outcome.NO
    assert await peer.call("echo", 1, timeout=float("inf")) == 1


# ---- addresses ----


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", ":80", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:80"],
)
async def test_malformed_addresses(pair, address):
    _, peer = pair
    with pytest.raises(rudp.AddressError):
        rudp.Node(address)
    with pytest.raises(rudp.AddressError):
        peer._node.peer(address)


async def test_a_name_that_does_not_resolve(pair):
    _, peer = pair
    with pytest.raises(rudp.AddressError, match="does not resolve"):
        await peer._node.peer("no-such-host.invalid:7400").call("x", timeout=60)
    with pytest.raises(rudp.AddressError, match="does not resolve"):
        await rudp.Node("no-such-host.invalid:0").open()


async def test_a_name_that_does(served):
    server, peer = served
    _, port = host_port(server.address)
    named = peer._node.peer(f"localhost:{port}")
    assert named.address == f"localhost:{port}"
    assert await asyncio.gather(*(named.call("echo", n) for n in range(5))) == list(range(5))
    assert named.address == server.address


async def test_nobody_at_the_address(pair):
    _, peer = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(rudp.Unreachable) as caught:
        await peer._node.peer(f"127.0.0.1:{port}").call("x", timeout=10)
    assert caught.value.outcome is rudp.Outcome.NO
    assert isinstance(caught.value, ConnectionError)


async def test_a_port_in_use(pair):
    server, _ = pair
    with pytest.raises(rudp.BindError, match=server.address):
        await rudp.Node(server.address).open()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(rudp.BindError):
        await rudp.Node(f"127.0.0.1:{taken.getsockname()[1]}").open()


async def test_an_address_of_another_host():
    with pytest.raises(rudp.BindError):
        await rudp.Node("192.0.2.1:0", insecure=True).open()


# ---- keys ----


async def test_without_a_key_only_loopback(caplog):
    with pytest.raises(rudp.ConfigError, match="insecure=True"):
        await rudp.Node("0.0.0.0:0").open()
    async with rudp.Node("0.0.0.0:0", insecure=True):
        pass


async def test_a_wrong_key_is_told_apart_from_silence():
    async with rudp.Node(key=bytes(32)) as server, rudp.Node(key=bytes(31) + b"x") as other:
        with pytest.raises((rudp.Unreachable, rudp.DeadlineExceeded)) as caught:
            await other.peer(server.address).call("echo", 1, timeout=8)
        assert caught.value.outcome is rudp.Outcome.NO


async def test_pickle_needs_a_key_and_both_sides_to_agree(caplog):
    async with rudp.Node() as open_node:
        with pytest.raises(rudp.ConfigError, match="key"):
            open_node.register("any", print, pickle=True)
        with pytest.raises(rudp.ConfigError, match="key"):
            await open_node.peer("127.0.0.1:9").call("any", {1}, pickle=True)
    key = rudp.generate_key()
    async with rudp.Node(key=key) as server, rudp.Node(key=key) as client:
        server.register("twice", lambda s=frozenset(): s | {9}, pickle=True, inline=True)
        server.register("plain", lambda s: s, inline=True)
        peer = client.peer(server.address)
        assert await peer.call("twice", {1, 2}, pickle=True) == {1, 2, 9}
        with pytest.raises(rudp.BadRequest):
            await peer.call("plain", {1, 2}, pickle=True)
        with pytest.raises(rudp.SerializationError, match="pickle"):
            await peer.call("twice")  # the result comes as pickle, and this call did not ask


# ---- strangers ----


async def test_garbage_on_both_ports(served):
    server, peer = served
    where = host_port(server.address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
        for size in (0, 1, 10, 100, 1200, 1472, 9000):
            noise.sendto(os.urandom(size), where)
    for size in (1, 2, 100, 70_000):
        with socket.create_connection(where) as stream:
            stream.settimeout(30)
            try:
                stream.sendall(os.urandom(size))
                stream.shutdown(socket.SHUT_WR)
            except OSError:
                continue  # closed on us meanwhile: fine
    for n in range(20):
        assert await peer.call("echo", n) == n
    assert sum(server.statistics().dropped.values()) > 0


async def test_a_connection_that_says_nothing(served):
    server, peer = served
    with socket.create_connection(host_port(server.address)) as silent:
        silent.settimeout(60)
        for n in range(20):
            assert await peer.call("echo", n) == n
        # It is closed after a while, without a byte.
        assert await asyncio.to_thread(silent.recv, 1) == b""
    assert await peer.call("echo", 1) == 1


# ---- misuse ----


async def test_a_call_from_another_thread_names_the_twin(served):
    _, peer = served
    caught = []

    def use():
        try:
            peer.call("echo", 1)
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "rudp.sync" in caught[0]


async def test_a_call_from_another_loop_names_the_twin(served):
    _, peer = served

    async def use():
        peer.call("echo", 1)

    with pytest.raises(RuntimeError, match=r"rudp\.sync"):
        await asyncio.to_thread(asyncio.run, use())


async def test_several_loops_and_nodes_in_one_process(served):
    server, _ = served

    async def elsewhere(n):
        async with rudp.Node() as node:
            return await node.peer(server.address).call("echo", n)

    found = await asyncio.gather(*(asyncio.to_thread(asyncio.run, elsewhere(n)) for n in range(4)))
    assert found == [0, 1, 2, 3]


async def test_registration_mistakes(pair):
    server, _ = pair
    server.register("echo", lambda v: v)
    for name, function, options in [
        ("echo", print, {}),
        ("", print, {}),
        ("n" * 256, print, {}),
        ("x", 3, {}),
        (None, print, {}),
        ("\ud800", print, {}),
        ("y", asyncio.sleep, {"inline": True}),
    ]:
        with pytest.raises(rudp.ConfigError):
            server.register(name, function, **options)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("name", r"'name' is not callable: use method\(name="),
        (5, "5 is not callable"),
        (functools.partial(print), r"has no __name__: use method\(name="),
    ],
)
def test_a_decorator_that_is_given_no_function_says_what_it_needs(function, words):
    with pytest.raises(rudp.ConfigError, match=words):
        rudp.Node().method(function)


class Waits:
    async def __call__(self, event):
        return event


@pytest.mark.parametrize("kind", [rudp.Node, sync.Node])
@pytest.mark.parametrize("function", [5, None, asyncio.sleep, Waits()])
def test_news_go_to_plain_functions_only(kind, function):
    with pytest.raises(rudp.ConfigError, match="on_peer takes"):
        kind().on_peer(function)


@pytest.mark.parametrize("address", [5, None, ("127.0.0.1", "0"), ["127.0.0.1", 1]])
async def test_what_is_no_address_of_a_peer(pair, address):
    with pytest.raises(rudp.AddressError, match="host:port"):
        pair[1]._node.peer(address)


@pytest.mark.parametrize("address", ["127.0.0.1:0", ("127.0.0.1", 0), "localhost:0"])
async def test_port_0_is_only_to_listen_at(pair, address):
    with pytest.raises(rudp.AddressError, match="port 0 cannot be called"):
        pair[1]._node.peer(address)


async def test_a_method_name_that_is_too_long_to_call(pair):
    _, peer = pair
    with pytest.raises(rudp.ConfigError, match="255"):
        await peer.call("n" * 256)


def test_call_errors_survive_pickle():
    error = rudp.DeadlineExceeded("late", outcome=rudp.Outcome.UNKNOWN, method="m", peer="p")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is rudp.DeadlineExceeded
    assert (str(copy), copy.outcome, copy.method) == ("late", rudp.Outcome.UNKNOWN, "m")
