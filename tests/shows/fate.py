"""What becomes of a peer: killed, restarted, vanished, cut off, stalled. When does one know?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import rudp
from tests.shows.bench import Measured, Relay, Server, caller, server, start

FAILURES = (rudp.CallError, OSError)


async def _fails(call: asyncio.Future[object]) -> tuple[float, BaseException]:
    try:
        await call
    except FAILURES as error:
        return time.monotonic(), error
    raise RuntimeError("the call was answered")


async def _met(peer: rudp.Peer) -> asyncio.Future[object]:
    """Talk to the peer, then leave a call open for it."""
    await peer.call("echo", 1)
    call = asyncio.ensure_future(peer.call("slow", 600, timeout=600))
    await asyncio.sleep(0.5)
    return call


async def _succeeds(peer: rudp.Peer, seconds: float = 30.0) -> float:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            await peer.call("echo", 1, timeout=0.5)
        except FAILURES:
            await asyncio.sleep(0.02)
        else:
            return time.monotonic()
    raise RuntimeError("no call succeeded")


def _named(error: BaseException) -> str:
    outcome = getattr(error, "outcome", None)
    return f"{type(error).__name__}, ran: {outcome.name.lower() if outcome else '?'}"


async def killed(*, full: bool) -> AsyncIterator[Measured]:
    """kill -9 with a call open; then a restart at the same port."""
    worst, told = 0.0, 0.0
    error: BaseException | None = None
    for _ in range(10 if full else 3):
        far = start()
        try:
            async with caller() as node:
                peer = node.peer(far.address)
                call = await _met(peer)
                dead = far.kill()
                at, error = await _fails(call)
                worst = max(worst, at - dead)
                again = start(far.address)
                try:
                    began = time.monotonic()
                    told = max(told, await _succeeds(peer) - began)
                finally:
                    again.end()
        finally:
            far.end()
    assert error is not None
    yield Measured("killed: the caller knows after", f"{worst * 1e3:.0f} ms", met=worst < 0.1)
    yield Measured("as", _named(error), met=True)
    yield Measured("restarted: answers after", f"{told * 1e3:.0f} ms", met=told < 1.5)


async def replaced(*, full: bool) -> AsyncIterator[Measured]:
    """Killed and restarted at once behind a relay, which hides the end: told within 1.5 s."""
    del full
    far = start()
    try:
        async with caller() as node:
            relay = Relay(node.address, far.address)
            peer = node.peer(relay.far)
            call = await _met(peer)
            failing = asyncio.ensure_future(_fails(call))
            far.kill()
            far.end()
            again = await asyncio.to_thread(start, far.address)
            born = time.monotonic()
            try:
                at, error = await failing
            finally:
                again.end()
            yield Measured(
                "restarted: the open call fails, after the new life began",
                f"{(at - born) * 1e3:.0f} ms as {_named(error)}",
                met=at - born < 1.5,
            )
    finally:
        far.end()


async def vanished(*, full: bool) -> AsyncIterator[Measured]:
    """Everything is swallowed without a word; later the partition heals."""
    with server() as far:
        async with caller() as node:
            relay = Relay(node.address, far.address)
            peer = node.peer(relay.far)
            call = await _met(peer)
            relay.vanish(gone=True)
            began = time.monotonic()
            at, error = await _fails(call)
            yield Measured(
                "vanished: lost after", f"{at - began:.2f} s as {_named(error)}", met=at - began < 5
            )
            await asyncio.sleep(30 if full else 3)
            relay.vanish(gone=False)
            healed = time.monotonic()
            took = await _succeeds(peer) - healed
            yield Measured("healed: first success after", f"{took * 1e3:.0f} ms", met=took < 2)


async def _stall(far: Server, node: rudp.Node, seconds: float) -> AsyncIterator[Measured]:
    peer = node.peer(far.address)
    await peer.call("echo", 1)
    held = asyncio.ensure_future(peer.call("hold_gil", seconds, timeout=60))
    await asyncio.sleep(0.3)
    during = [peer.call("echo", n, timeout=60) for n in range(100)]
    worst, stalled = rudp.PeerState.UP, False
    while not held.done():
        await asyncio.sleep(0.05)
        stalled = stalled or peer.stalled_since is not None
        if peer.state is rudp.PeerState.LOST:
            worst = rudp.PeerState.LOST
    before = node.statistics()
    answers = await asyncio.gather(*during)
    yield Measured(
        f"GIL held for {await held:.1f} s in C",
        f"state {worst.name.lower()}, seen as stalled: {stalled}",
        met=worst is not rudp.PeerState.LOST and stalled,
    )
    yield Measured(
        "100 requests sent meanwhile",
        f"{len(answers)} answered, {before.messages_resent} messages sent again",
        met=answers == list(range(100)),
    )


async def stalled(*, full: bool) -> AsyncIterator[Measured]:
    """Python stalled on the answering side: acknowledged meanwhile, answered afterwards (L9)."""
    with server() as far:
        async with caller() as node:
            async for measured in _stall(far, node, 10.0 if full else 5.0):
                yield measured
