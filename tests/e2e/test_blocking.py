"""A blocking call is one step: can an exception, a close, a fork or a thread get in between?"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

import rudp
import rudp.sync

PATIENCE = 30.0
LARGE = np.arange(200_000)
CALLS = 2_000
KINDS = ("Lent", "Received", "memoryview", "Request", "Context", "RemoteError", "cdata")
GROWTH = 40  # references to what is shared: caches and frames come and go
INDEX = 0xFF_FFFF  # of a handle: its place
TEXT = "a text that is in no cache"


@contextmanager
def alarms(handler):
    """What SIGALRM does meanwhile."""
    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


came = []


def interrupt(*_, **__):
    came.append(1)
    raise KeyboardInterrupt


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


# An exception of a signal handler may come out of a destructor, and then it is nobody's.
swallowed = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def both():
    with rudp.sync.Node() as server, rudp.sync.Node() as client:
        server.register("echo", lambda v: v, inline=True)
        server.register("fail", fail, inline=True)
        server.register("work", lambda v: v)
        yield server, client.peer(server.address)


def fail(*_):
    raise KeyError(TEXT)


def failing(peer):
    with pytest.raises(rudp.RemoteError):
        peer.call("fail")


def refused(peer):
    with pytest.raises(rudp.DeadlineExceeded):
        peer.call("echo", 1, timeout=0)
    with pytest.raises(rudp.ConfigError):
        peer.call("x" * 300)


def call_until_alarm(peer, value):
    came.clear()
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
    while not came:
        peer.call("echo", value)


def interrupted(peer, value=LARGE[:1000]):
    """Whether the exception came out; a destructor may swallow it."""
    try:
        call_until_alarm(peer, value)
    except KeyboardInterrupt:
        return True
    return False


WAYS = {
    "simple": lambda peer: peer.call("echo", TEXT),
    "array": lambda peer: peer.call("echo", LARGE[:1000]),
    "large": lambda peer: peer.call("echo", bytes(5000)),
    "not simple": lambda peer: peer.call("echo", {"a": [TEXT]}),
    "not simple, large": lambda peer: peer.call("echo", {"a": bytes(5000)}),
    "by name": lambda peer: peer.call("echo", v=TEXT),
    "by a thread": lambda peer: peer.call("work", TEXT),
    "failing": failing,
    "refused": refused,
    "interrupted": interrupted,
}


def objects():
    gc.collect()
    found = Counter(type(thing).__name__ for thing in gc.get_objects())
    return {name: found[name] for name in KINDS}


def references(*nodes):
    return [sys.getrefcount(thing) for thing in (TEXT, LARGE, None, NotImplemented, *nodes)]


def at_rest(*nodes):
    return not any(n._open_handles() or n._running or n._core.lent for n in nodes)


@swallowed
def test_nothing_stays_behind(both):
    server, peer = both
    client = peer._node
    with alarms(interrupt):
        for way in WAYS.values():
            for _ in range(20):
                way(peer)
        for name, way in WAYS.items():
            until(lambda: at_rest(server, client))
            before, counts = objects(), references(server, client)
            for _ in range(CALLS // 10 if way is interrupted else CALLS):
                way(peer)
            until(lambda: at_rest(server, client))
            assert objects() == before, name
            grown = [now - was for was, now in zip(counts, references(server, client), strict=True)]
            assert max(grown) < GROWTH, (name, grown)
    assert client._link.places <= 2


# ---- exceptions of signal handlers ----


@swallowed
@pytest.mark.parametrize("value", [TEXT, LARGE, {"a": [1]}, {"a": bytes(50_000)}], ids=range(4))
def test_an_interrupt_leaves_nothing_behind(both, value, caplog):
    """Rule 17, wherever it comes: the place is free again, and what was lent is ours."""
    server, peer = both
    with alarms(interrupt):
        out = [interrupted(peer, value) for _ in range(200)]
    assert any(out)
    until(lambda: at_rest(server, peer._node))
    assert peer._node._link.places == 1
    assert np.array_equal(peer.call("echo", LARGE), LARGE)
    peer._node.close()
    assert not caplog.records


STEPS = {
    "encode": ("_encode", {"a": 1}),
    "before it is handed over": ("_wait_body", {"a": 1}),
    "what was lent": ("_look_for_released", LARGE),
    "decode": ("_ended", [1]),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_exception_in_any_step_that_is_python(both, step, monkeypatch):
    server, peer = both
    node = peer._node
    peer.call("echo", 0)
    name, value = STEPS[step]
    with monkeypatch.context() as patch:
        patch.setattr(type(node), name, interrupt)
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                peer.call("echo", value)
        assert node._open_handles() == []
    until(lambda: at_rest(server, node))
    assert node._link.places == 1
    assert peer.call("echo", 1) == 1


def test_an_interrupt_cancels_the_call_at_its_peer(both):
    server, peer = both
    seen, cancelled = threading.Event(), []

    @server.method
    def wait(value):
        request = rudp.current_request()
        seen.set()
        until(lambda: request.cancelled)
        cancelled.append(value)

    def alarm(*_):
        assert seen.wait(PATIENCE)
        raise KeyboardInterrupt

    for n, call in enumerate([lambda: peer.call("wait", 0), lambda: peer.call("wait", value=1)]):
        seen.clear()
        with alarms(alarm):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyboardInterrupt):
                call()
        until(lambda n=n: cancelled == list(range(n + 1)))
        assert peer._node._open_handles() == []
    assert peer._node._link.places == 1


def test_a_signal_handler_that_returns_ends_no_wait(both):
    """It runs while the call waits, it may use the node itself, and the call goes on."""
    server, peer = both
    ran = []

    @server.method
    def wait_for_three():
        until(lambda: len(ran) >= 3)
        return "done"

    with alarms(lambda *_: ran.append(peer.call("echo", TEXT))):
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        assert peer.call("wait_for_three", timeout=PATIENCE) == "done"
    assert ran[:3] == [TEXT] * 3


def test_a_signal_handler_may_fork(both):
    """The child's copy of the call ends, the parent's goes on (section 7)."""
    server, peer = both
    children = []

    def fork(*_):
        if not children:
            children.append(os.fork())

    @server.method
    def wait_for_fork():
        until(lambda: children)
        return "done"

    with alarms(fork):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            found = peer.call("wait_for_fork", timeout=PATIENCE)
        except BaseException as error:
            if children == [0]:
                os._exit(42 if type(error) is rudp.ForkedError else 1)
            raise
        if children == [0]:
            os._exit(2)
    assert found == "done"
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 42


# ---- closing ----


def test_a_close_ends_calls_of_every_kind(both, caplog):
    """However far a call has come: each thread gets a whole result, or hears that it is over."""
    server, _ = both
    values = [TEXT, LARGE, {"a": [1]}, {"a": bytes(50_000)}]
    for _ in range(20):
        node = rudp.sync.Node().open()
        peer = node.peer(server.address)
        ends = []

        def run(value, peer=peer, ends=ends):
            try:
                while True:
                    assert np.array_equal(peer.call("echo", value), value)
            except rudp.NodeClosed:
                ends.append("closed")

        threads = [threading.Thread(target=run, args=(value,)) for value in values]
        for thread in threads:
            thread.start()
        peer.call("echo", 0)
        node.close()
        for thread in threads:
            thread.join(PATIENCE)
        assert ends == ["closed"] * len(values)
        assert node._core.lent == {}
    assert not caplog.records


@pytest.mark.parametrize("inline", [True, False])
def test_a_handler_may_close_its_own_node(both, inline, caplog):
    server, peer = both
    server.register("close", lambda: server.close(timeout=1.0), inline=inline)
    with pytest.raises(rudp.CallError):
        peer.call("close", timeout=PATIENCE)
    until(lambda: not server._reader.is_alive())
    with pytest.raises(rudp.NodeClosed):
        server.peer(peer.address)
    assert not [record for record in caplog.records if "could not" in record.message]


def serve_and_forget(client):
    """Its reader, and a weak reference to it."""
    node = rudp.sync.Node().open()
    node.register("number", lambda: 7 if node.is_open else 0, inline=True)
    assert client.peer(node.address).call("number") == 7
    return node._reader, weakref.ref(node)


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
def test_a_node_that_nobody_closed_goes(both):
    """Its reader holds it only weakly, also where a method refers to it."""
    reader, reference = serve_and_forget(both[1]._node)
    until(lambda: gc.collect() >= 0 and reference() is None)
    reader.join(PATIENCE)
    assert not reader.is_alive()


def test_a_node_is_refused_before_it_is_open_and_after_it_was():
    node = rudp.sync.Node()
    with pytest.raises(rudp.NodeClosed, match="not open yet"):
        node.peer("127.0.0.1:1")
    with node:
        peer = node.peer("127.0.0.1:1")
    for value in (1, {"a": 1}):
        with pytest.raises(rudp.NodeClosed):
            peer.call("echo", value)


# ---- threads ----


def test_handles_are_never_the_same_twice():
    with rudp.sync.Node(config=rudp.Config(calls=2)) as node:
        link, seen = node._link, set()
        for _ in range(100):
            handle = link.reserve()
            assert handle not in seen
            assert handle & INDEX == 0
            seen.add(handle)
            link.drop(handle)
        assert [link.reserve() & INDEX, link.reserve() & INDEX, link.reserve()] == [0, 1, 0]


def test_threads_make_calls_of_every_kind_at_once(both):
    server, peer = both
    ways = [
        lambda n: peer.call("echo", n) == n,
        lambda n: peer.call("work", f"{n}") == f"{n}",
        lambda n: np.array_equal(peer.call("echo", LARGE[n:]), LARGE[n:]),
        lambda n: peer.call("echo", {"n": n}) == {"n": n},
        lambda n: peer.call("echo", v=[n, bytes(5000)]) == [n, bytes(5000)],
        lambda n: [failing(peer)] == [None],
    ]

    def run(thread):
        return all(ways[(n + thread) % len(ways)](n) for n in range(60))

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(run, range(12)))
    until(lambda: at_rest(server, peer._node))
    assert peer._node._link.places <= 12


def test_the_limit_of_calls():
    with (
        rudp.sync.Node() as server,
        rudp.sync.Node(config=rudp.Config(calls=3)) as client,
    ):
        go = threading.Event()
        server.register("wait", lambda: go.wait(PATIENCE))
        server.register("echo", lambda v: v, inline=True)
        peer = client.peer(server.address)
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(peer.call, "wait", timeout=PATIENCE) for _ in range(3)]
            until(lambda: len(client._open_handles()) == 3)
            for value in (1, {"a": 1}, LARGE):
                with pytest.raises(rudp.Busy, match=r"3 calls of this node") as caught:
                    peer.call("echo", value)
                assert caught.value.outcome is rudp.Outcome.NO
            go.set()
            assert [one.result(PATIENCE) for one in waiting] == [True] * 3
        until(lambda: at_rest(client))
        assert peer.call("echo", 1) == 1
        assert client._link.places == 3


def test_a_method_that_is_registered_late_is_served(both):
    """Who looks for what was lent and the thread that reads do not meet."""
    _, peer = both
    client = peer._node
    over = threading.Event()

    def run():
        while not over.is_set():
            assert np.array_equal(peer.call("echo", LARGE), LARGE)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(run) for _ in range(4)]
        client.register("late", lambda v: v, inline=True)
        back = both[0].peer(client.address)
        assert [back.call("late", n) for n in range(200)] == list(range(200))
        over.set()
        assert [one.result(PATIENCE) for one in running] == [None] * 4
    until(lambda: at_rest(client))
