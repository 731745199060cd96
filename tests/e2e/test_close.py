"""How does a node end? With what was accepted delivered, in bounded time, and never hanging."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

import rudp
import rudp.sync


async def test_running_handlers_may_finish_and_their_replies_arrive(wait):
    client = await rudp.Node().open()
    server = await rudp.Node().open()
    started = []

    @server.method
    async def work():
        started.append(1)
        await asyncio.sleep(0.2)
        return "done"

    call = client.peer(server.address).call("work")
    await wait(lambda: bool(started))
    await server.close()
    assert await call == "done"
    await client.close()


async def test_replies_of_threads_are_delivered_too(wait):
    client = await rudp.Node().open()
    server = await rudp.Node().open()

    @server.method
    def work():
        time.sleep(0.2)
        return "done"

    call = client.peer(server.address).call("work")
    await wait(lambda: bool(server._running))
    await server.close()
    assert await call == "done"
    await client.close()


async def test_open_calls_end_with_node_closed(pair, wait):
    server, peer = pair
    started = []

    @server.method
    async def forever():
        started.append(1)
        await asyncio.Event().wait()

    call = asyncio.ensure_future(peer.call("forever"))
    await wait(lambda: bool(started))
    await peer._node.close()
    with pytest.raises(rudp.NodeClosed) as caught:
        await call
    assert caught.value.outcome is not rudp.Outcome.NO


async def test_a_handler_that_does_not_end_is_cancelled_in_the_end(wait):
    client = await rudp.Node().open()
    server = await rudp.Node().open()
    ended = []

    @server.method
    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    call = client.peer(server.address).call("forever")
    await wait(lambda: bool(server._running))
    await server.close(timeout=0.1)
    with pytest.raises(rudp.CallCancelled) as caught:
        await call
    assert caught.value.outcome is rudp.Outcome.YES
    assert ended
    await client.close()


@pytest.mark.parametrize("inside", ["a task", "a thread"])
async def test_handlers_and_the_last_packets_share_the_seconds_of_a_close(
    wait, inside, monkeypatch
):
    client = await rudp.Node().open()
    server = await rudp.Node().open()
    go_on = threading.Event()

    async def forever():
        await asyncio.Event().wait()

    server.register("work", forever if inside == "a task" else go_on.wait)
    call = asyncio.ensure_future(client.peer(server.address).call("work"))
    await wait(lambda: bool(server._running))
    left = []
    free = server._core.free
    monkeypatch.setattr(
        server._core, "free", lambda timeout, taken: (left.append(timeout), free(timeout, taken))
    )
    await server.close(timeout=0.1)
    assert left == [0.0]
    with pytest.raises(rudp.CallError):
        await call
    go_on.set()
    await client.close()


async def test_callers_hear_that_the_peer_closed(pair, wait):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    assert await peer.call("echo", 1) == 1
    await server.close()
    with pytest.raises(rudp.CallError):
        await peer.call("echo", 2, timeout=2)


@pytest.mark.parametrize("size", [10, 40_000, 4 << 20])
async def test_a_call_that_meets_a_closing_node_is_told_so_and_not_that_it_is_busy(wait, size):
    client = await rudp.Node().open()
    server = await rudp.Node().open()
    started, go_on = [], asyncio.Event()

    @server.method
    async def work(_):
        started.append(1)
        await go_on.wait()

    peer = client.peer(server.address)
    first = asyncio.ensure_future(peer.call("work", b""))
    await wait(lambda: bool(started))
    closing = asyncio.ensure_future(server.close())
    await asyncio.sleep(0)
    with pytest.raises(rudp.PeerClosed) as caught:
        await peer.call("work", bytes(size))
    assert caught.value.outcome is rudp.Outcome.NO
    assert not closing.done()  # it still waits for the handler
    go_on.set()
    assert await first is None
    await closing
    await client.close()
    assert started == [1]


async def test_closing_twice_or_unopened_is_fine():
    node = rudp.Node()
    await node.close()
    await node.open()
    await asyncio.gather(node.close(), node.close())
    await node.close()
    assert not node.is_open


async def test_a_closed_node_says_so(pair):
    _, peer = pair
    node = peer._node
    await node.close()
    assert repr(node) == "<rudp.Node closed>"
    for use in (
        lambda: peer.call("x"),
        lambda: node.peer("127.0.0.1:1"),
        node.statistics,
        lambda: node.address,
        lambda: peer.state,
    ):
        with pytest.raises(rudp.NodeClosed):
            use()


async def test_a_node_that_was_not_opened_says_so():
    node = rudp.Node("127.0.0.1:0")
    with pytest.raises(rudp.NodeClosed, match="not open yet: use `async with` on"):
        node.peer("127.0.0.1:1")
    assert "not open" in repr(node)
    with pytest.raises(rudp.NodeClosed, match="not open yet: use `with` on"):
        rudp.sync.Node("127.0.0.1:0").peer("127.0.0.1:1")


async def test_a_handler_may_close_its_own_node(wait):
    server = await rudp.Node().open()
    async with rudp.Node() as client:

        @server.method
        async def stop():
            task = asyncio.ensure_future(server.close())
            tasks.append(task)
            return "stopping"

        tasks = []
        assert await client.peer(server.address).call("stop") == "stopping"
        await wait(lambda: not server.is_open)
        await tasks[0]


async def test_calls_of_a_node_whose_core_stopped_end(pair, wait):
    server, peer = pair

    @server.method
    async def forever():
        await asyncio.Event().wait()

    call = asyncio.ensure_future(peer.call("forever"))
    await wait(lambda: bool(server._running))
    peer._node._stopped()  # what the event of a broken invariant leads to (E10)
    with pytest.raises(rudp.NodeBroken) as caught:
        await call
    assert caught.value.outcome is rudp.Outcome.UNKNOWN


async def test_a_port_can_be_used_again_at_once():
    async with rudp.Node() as node:
        address = node.address
    async with rudp.Node(address) as node:
        assert node.address == address


async def test_late_results_of_threads_do_no_harm(wait):
    ended = []
    async with rudp.Node() as client:
        server = await rudp.Node().open()

        @server.method
        def slow():
            time.sleep(0.3)
            ended.append(1)
            return 1

        call = client.peer(server.address).call("slow")
        await wait(lambda: bool(server._running))
        await server.close(timeout=0.01)
        with pytest.raises(rudp.CallError):
            await call
    await wait(lambda: bool(ended))


def test_forgetting_to_close_warns_and_stops_the_node(script):
    ended = script(
        """
import asyncio, gc, threading, warnings
import rudp
import rudp.sync

async def main():
    node = await rudp.Node().open()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del node
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning], caught
    assert "was not closed" in str(caught[0].message)

asyncio.run(main())
print("end")
"""
    )
    assert ended.stdout == "end\n", ended.stderr


def test_a_loop_that_ended_without_close_leaves_a_clear_error(script):
    ended = script(
        """
import asyncio
import rudp
import rudp.sync

async def main():
    node = await rudp.Node().open()
    return node, node.peer("127.0.0.1:9")

node, peer = asyncio.run(main())
try:
    peer.call("x")
except RuntimeError as error:
    print("rudp.sync" in str(error))

async def again():
    try:
        peer.call("x")
    except RuntimeError as error:
        print("rudp.sync" in str(error))

asyncio.run(again())
"""
    )
    assert ended.stdout == "True\nTrue\n", ended.stderr


@pytest.mark.parametrize("kind", ["asyncio", "sync"])
def test_the_interpreter_exits_with_nodes_open_and_calls_under_way(script, kind):
    sources = {
        "asyncio": """
import asyncio, rudp
async def main():
    global server, client
    server = await rudp.Node().open()
    client = await rudp.Node().open()
    @server.method
    async def forever(): await asyncio.Event().wait()
    global call
    call = asyncio.ensure_future(client.peer(server.address).call("forever"))
    await asyncio.sleep(0.2)
asyncio.run(main())
print("end")
""",
        "sync": """
import threading, time, rudp, rudp.sync
server, client = rudp.sync.Node().open(), rudp.sync.Node().open()
server.register("forever", lambda: time.sleep(1000))
peer = client.peer(server.address)
threading.Thread(target=peer.call, args=("forever",), daemon=True).start()
time.sleep(0.2)
print("end")
""",
    }
    ended = script(sources[kind])
    assert ended.stdout == "end\n", ended.stderr
    assert ended.returncode == 0, ended.stderr


async def test_the_node_is_not_kept_alive_by_its_loop():
    import weakref

    node = await rudp.Node().open()
    await node.close()
    reference = weakref.ref(node)
    del node
    gc.collect()
    assert reference() is None
