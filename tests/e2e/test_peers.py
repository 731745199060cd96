"""What does one learn of peers that come, go, stop and come back?"""

from __future__ import annotations

import asyncio
import signal

import pytest

import rudp


async def test_many_nodes_call_each_other():
    count = 20
    nodes = [await rudp.Node().open() for _ in range(count)]
    try:
        for index, node in enumerate(nodes):
            node.register("who", lambda index=index: index, inline=True)
        found = await asyncio.gather(
            *(a.peer(b.address).call("who", timeout=60) for a in nodes for b in nodes)
        )
        assert found == list(range(count)) * count
    finally:
        await asyncio.gather(*(node.close() for node in nodes))


async def test_the_state_of_a_peer(pair):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    assert peer.state is rudp.PeerState.IDLE
    await peer.call("echo", 1)
    assert peer.state is rudp.PeerState.UP
    assert peer.stalled_since is None
    view = peer.view()
    assert view.address == server.address
    assert view.path in (rudp.Path.UDP, rudp.Path.TCP)
    assert view.incarnation != 0
    assert view.rtt is None or view.rtt > 0


async def test_a_handle_is_the_same_for_the_same_address(pair):
    server, peer = pair
    assert peer._node.peer(server.address) is peer
    host, port = server.address.split(":")
    assert peer._node.peer((host, int(port))) is peer
    assert server.address in peer._node.peers


async def test_a_killed_peer_fails_its_calls_and_is_reported(start_server, wait):
    server = start_server()
    async with rudp.Node() as node:
        news = []
        node.on_peer(news.append)
        peer = node.peer(server.address)
        peer.watch()
        assert await peer.call("echo", 1) == [1]
        await wait(lambda: any(n.state is rudp.PeerState.UP for n in news))
        call = asyncio.ensure_future(peer.call("sleep", 60, timeout=60))
        await asyncio.sleep(0.3)
        server.signal(signal.SIGKILL)
        with pytest.raises((rudp.PeerLost, rudp.Unreachable)) as caught:
            await call
        assert caught.value.outcome is not rudp.Outcome.YES
        await wait(lambda: news[-1].state is rudp.PeerState.LOST)
        assert news[-1].peer is peer
        assert news[-1].reason
        assert issubclass(news[-1].error, rudp.CallError)


async def test_a_peer_restarted_at_the_same_port_is_called_again(start_server):
    first = start_server()
    async with rudp.Node() as node:
        peer = node.peer(first.address)
        before = await peer.call("pid")
        call = asyncio.ensure_future(peer.call("sleep", 60, timeout=60))
        await asyncio.sleep(0.2)
        first.end()
        with pytest.raises((rudp.PeerLost, rudp.Unreachable)):
            await call
        second = start_server(first.address)
        after = await _until_answered(peer, "pid")
        assert (before, after) == (first.pid, second.pid)


async def _until_answered(peer, method):
    for _ in range(100):
        try:
            return await peer.call(method, timeout=2)
        except (rudp.CallError, OSError):
            await asyncio.sleep(0.1)
    raise AssertionError("the restarted peer never answered")


async def test_a_stopped_peer_is_suspected_and_recovers(start_server, wait):
    server = start_server()
    async with rudp.Node() as node:
        peer = node.peer(server.address)
        await peer.call("echo", 1)
        call = asyncio.ensure_future(peer.call("sleep", 0, timeout=60))
        server.signal(signal.SIGSTOP)
        again = asyncio.ensure_future(peer.call("echo", 2, timeout=60))
        await wait(lambda: peer.state in (rudp.PeerState.SUSPECT, rudp.PeerState.LOST))
        server.signal(signal.SIGCONT)
        for open_call in (call, again):
            (result,) = await asyncio.gather(open_call, return_exceptions=True)
            if isinstance(result, BaseException):  # it was declared lost in the meantime
                assert isinstance(result, rudp.PeerLost)
                assert result.outcome is not rudp.Outcome.YES
        assert await _until_answered(peer, "pid") == server.pid


async def test_a_peer_whose_python_computes_is_stalled_and_not_lost(start_server, wait):
    server = start_server()
    async with rudp.Node() as node:
        peer = node.peer(server.address)
        await peer.call("echo", 1)
        call = asyncio.ensure_future(peer.call("hold", 7, timeout=60))
        stalled = []
        for _ in range(2000):
            if call.done():
                break
            assert peer.state is not rudp.PeerState.LOST
            stalled.append(peer.stalled_since is not None)
            await asyncio.sleep(0.02)
        await call
        assert any(stalled)


async def test_a_watcher_that_fails_does_not_stop_the_others(pair, wait, caplog):
    server, peer = pair
    server.register("echo", lambda v: v, inline=True)
    news = []

    @peer._node.on_peer
    def broken(_):
        raise ValueError

    peer._node.on_peer(news.append)
    await peer.call("echo", 1)
    await wait(lambda: bool(news))
    assert await peer.call("echo", 2) == 2
