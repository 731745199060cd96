"""What goes wrong in a program at a bad moment costs a call at most, and never the node."""

from __future__ import annotations

import math
import sys
import threading
import time

import pytest

import rudp
import rudp._dispatch
import rudp.sync
from rudp._serving import limited


@pytest.fixture
def both():
    with rudp.sync.Node() as server, rudp.sync.Node() as client:
        server.register("echo", lambda v: v)
        yield server, client.peer(server.address)


def refuse_to_start(_thread):
    raise RuntimeError("can't start new thread")


# ---- handlers ----


def test_sys_exit_in_an_inline_method_ends_the_handler_and_not_the_reader(both):
    server, peer = both
    server.register("leave", lambda: sys.exit(3), inline=True)
    with pytest.raises(rudp.RemoteError, match="SystemExit: 3"):
        peer.call("leave")
    assert peer.call("echo", 1, timeout=5) == 1


def test_what_an_inline_method_has_closed_is_not_answered_through(both):
    """The request is not simple, so Python answers it, and the node is freed memory by then."""
    server, peer = both
    closed = []

    def close(**_options):
        server.close(timeout=0.1)
        closed.append(server._core.open)
        return 1

    server.register("close", close, inline=True)
    with pytest.raises(rudp.PeerClosed):
        peer.call("close", how="now", timeout=10)
    server._reader.join(10)
    assert closed == [False]
    assert not server._reader.is_alive()


@pytest.mark.parametrize("options", [{}, {"named": 1}], ids=["simple", "not simple"])
def test_calls_of_an_inline_method_are_bound_by_its_requests_deadline(both, options):
    server, peer = both
    requests = []

    def left(**_options):
        requests.append(rudp.current_request())
        return limited(1e6)

    server.register("left", left, inline=True)
    assert peer.call("left", timeout=20, **options) <= 20
    assert not requests[0].open  # what it may have started goes on without that deadline


@pytest.mark.parametrize("kind", ["loop", "thread", "inline"])
async def test_an_error_whose_text_is_over_the_limits_is_shortened(kind):
    config = rudp.Config(max_head=4096)
    async with rudp.Node(config=config) as server, rudp.Node() as client:

        def fail():
            raise ValueError("ü" * 4_000)

        async def fail_on_loop():
            fail()

        server.register("fail", fail_on_loop if kind == "loop" else fail, inline=kind == "inline")
        with pytest.raises(rudp.RemoteError) as caught:
            await client.peer(server.address).call("fail", timeout=5)
        assert caught.value.type_name == "ValueError"
        assert set(caught.value.remote_message) == {"ü"}
        assert "in fail" in caught.value.remote_traceback


# ---- threads that cannot be had ----


async def test_a_request_for_which_there_is_no_thread_comes_again(monkeypatch):
    """It is refused as by any node without room (C4)."""
    real, refused = threading.Thread.start, []

    def start(thread):
        if not refused and thread.name.startswith("rudp-method"):
            refused.append(thread)
            refuse_to_start(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    async with rudp.Node() as server, rudp.Node() as client:
        server.register("echo", lambda v: v)
        assert await client.peer(server.address).call("echo", 1, timeout=20) == 1
        assert len(refused) == 1
        assert server._running == {}


def test_a_node_without_a_thread_to_read_is_not_open(monkeypatch):
    node = rudp.sync.Node()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_to_start)
        with pytest.raises(RuntimeError, match="start new thread"):
            node.open()
    assert not node.is_open
    node.close()


def test_a_reply_that_found_no_room_leaves_a_little_later(both, monkeypatch):
    _, peer = both
    full = [rudp._dispatch.FULL]
    real = rudp._dispatch.rudp_reply
    monkeypatch.setattr(
        rudp._dispatch, "rudp_reply", lambda *given: full.pop() if full else real(*given)
    )
    assert peer.call("echo", {"a": [1]}, timeout=10) == {"a": [1]}
    assert full == []


# ---- closing ----


@pytest.mark.parametrize("seconds", [math.inf, math.nan, 1e300])
async def test_any_time_may_be_given_to_a_close(seconds):
    node = await rudp.Node().open()
    await node.close(timeout=seconds)
    assert not node.is_open
    twin = rudp.sync.Node().open()
    twin.close(timeout=seconds)
    assert not twin.is_open


def test_ctrl_c_in_a_close_closes_at_once(both, monkeypatch):
    server, peer = both
    event = threading.Event()
    server.register("wait", event.wait)
    caller = threading.Thread(target=_ignoring, args=(peer, "wait"))
    caller.start()
    while not server._running:
        time.sleep(0.001)
    address = server.address

    def interrupt(_seconds):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(rudp.sync.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        server.close(timeout=60)
    event.set()
    caller.join(30)
    assert not caller.is_alive()
    with rudp.sync.Node(address):
        pass  # the port is free


def _ignoring(peer, method):
    with pytest.raises(rudp.CallError):
        peer.call(method, timeout=30)


def test_a_forked_child_ends_without_waiting_for_the_parents_loop(script):
    ended = script(
        """
import asyncio, atexit, os, time, rudp, rudp._node
rudp._node.EXIT_SECONDS = 20

def child():
    if os.fork() == 0:
        began = time.monotonic()
        atexit._run_exitfuncs()
        print("waited" if time.monotonic() - began > 20 else "at once", flush=True)
        os._exit(0)
    os.wait()

async def main():
    async with rudp.Node():
        await asyncio.to_thread(child)

asyncio.run(main())
"""
    )
    assert ended.stdout == "at once\n", ended.stderr
