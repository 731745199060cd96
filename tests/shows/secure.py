"""With a key: what can floods, replays and wrong keys do, and who notices a new key? (issue 3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator

import rudp
from tests.shows.bench import ROOT, Measured, Server, caller, server, start
from tests.wiretap import B, Said, Tap, host_port, say_again

MIB = 1 << 20
RATE = 20_000  # datagrams a second of a flood
BIG = 300_000  # bytes of a message that goes by a lane


@contextlib.contextmanager
def keyed() -> Iterator[bytes]:
    """A key for all nodes made meanwhile, here and in processes started from here."""
    key = rudp.generate_key()
    os.environ["RUDP_KEY"] = key.hex()
    try:
        yield key
    finally:
        del os.environ["RUDP_KEY"]


async def recorded(far: Server, first: int) -> Said:
    """A conversation of a member with the server, as an eavesdropper has it."""
    async with caller() as node:
        with Tap(node.address, far.address) as tap:
            peer = node.peer(tap.address(B))
            for number in range(first, first + 20):
                await peer.call("once", number)
            await peer.call("store", bytes(BIG))
            return tap.said[0]


async def latencies(peer: rudp.Peer, seconds: float) -> list[float]:
    """Of calls one after the other, 1 ms apart; each of them must succeed."""
    took = []
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        await peer.call("echo", b"x" * 64)
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.001)
    return sorted(took)


def p99(sorted_: list[float]) -> float:
    return sorted_[len(sorted_) * 99 // 100]


async def flooded(said: Said, port: int, count: int) -> asyncio.subprocess.Process:
    """A flood, under way."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.shows.flood", str(port), str(count), str(RATE)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    parts = [("d", part) for part in said.datagrams] + [("s", bytes(s)) for s in said.streams]
    process.stdin.write("".join(f"{kind} {part.hex()}\n" for kind, part in parts if part).encode())
    process.stdin.close()
    await process.stdout.readline()
    return process


async def flood(*, full: bool) -> AsyncIterator[Measured]:
    """Forged, cut, altered and replayed datagrams and connections against a node under load."""
    count = 1_000_000 if full else 50_000
    with keyed(), server() as far:
        said = await recorded(far, 0)
        port = host_port(far.address)[1]
        async with caller() as node:
            peer = node.peer(far.address)
            await (await flooded(said, port, 20_000)).communicate()  # the tables are warm
            quiet = await latencies(peer, 5)
            # How much of it is the flooder's own use of the machine? Port 9 is closed.
            elsewhere = await flooded(said, 9, RATE * 5)
            beside = await latencies(peer, 4)
            await elsewhere.communicate()
            before = far.resident()
            process = await flooded(said, port, count)
            loud = await latencies(peer, count / RATE * 0.8)
            began = time.monotonic()
            async with caller() as late:
                await late.peer(far.address).call("store", bytes(BIG), timeout=30)
            joined = time.monotonic() - began
            found = json.loads((await process.communicate())[0])
            await asyncio.sleep(6)  # its last connections end
            after = far.resident()
            reasons = await peer.call("dropped")
            yield Measured(
                f"{found['datagrams']} datagrams and {found['connections']} connections "
                f"in {found['seconds']:.0f} s",
                f"{found['answers']} bytes of answer {', '.join(found['first'])}",
                met=found["answers"] == 0,
            )
            yield Measured(
                "counted there, from all floods",
                ", ".join(f"{why} {count}" for why, count in reasons.items()),
                met=sum(reasons.values()) > 0,
            )
            yield Measured("members' calls meanwhile", f"{len(loud)} made, all answered", met=True)
            yield Measured(
                "their p99: quiet, beside a flood of a closed port, under the flood",
                f"{p99(quiet) * 1e6:.0f}, {p99(beside) * 1e6:.0f}, {p99(loud) * 1e6:.0f} us",
                met=p99(loud) <= 2 * max(p99(quiet), p99(beside)),
            )
            yield Measured(
                "a new member joins meanwhile", f"first big call after {joined:.2f} s", met=True
            )
            yield Measured(
                "resident size",
                f"{before / MIB:.1f} MiB, then {after / MIB:.1f} MiB",
                met=after - before < 4 * MIB,
            )


async def replay(*, full: bool) -> AsyncIterator[Measured]:
    """A whole conversation said again: at once, and to the node's next life."""
    rounds = 20 if full else 3
    with keyed(), server() as far:
        said = await recorded(far, 0)
        where = host_port(far.address)
        pieces = f"{len(said.datagrams)} datagrams and {len(said.streams)} connections"
        again = far
        for life in ("the same life", "the next life"):
            if life != "the same life":
                far.kill()
                far.end()
                again = start(far.address)
            try:
                answered = [await asyncio.to_thread(say_again, said, where) for _ in range(rounds)]
                async with caller() as node:
                    ran, wrong = await node.peer(far.address).call("journal")
            finally:
                if again is not far:
                    again.end()
            datagrams = sum(len(one) for one, _ in answered)
            size = sum(len(part) for one, stream in answered for part in (*one, stream))
            first = life == "the same life"
            yield Measured(
                f"{pieces}, {rounds} times, to {life}",
                f"{datagrams} datagrams ({size} bytes) of answer to {said.firsts} captured dials; "
                f"{ran} calls have run there, {wrong} more than once",
                met=(ran, wrong) == ((20, 0) if first else (0, 0))
                and size <= (0 if first else 1202 * said.firsts),
            )


async def rotation(*, full: bool) -> AsyncIterator[Measured]:
    """Three nodes that call each other without a pause get new keys, one after the other."""
    rounds = 10 if full else 2
    key = rudp.generate_key()
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(rudp.Node(key=key)) for _ in range(3)]
        for node in nodes:
            node.register("echo", lambda value: value, inline=True)
        going, done, slowest = True, 0, 0.0

        async def load(peer: rudp.Peer) -> None:
            nonlocal done, slowest
            while going:
                began = time.monotonic()
                await peer.call("echo", bytes(BIG) if done % 1000 == 0 else b"x" * 64)
                slowest = max(slowest, time.monotonic() - began)
                done += 1

        pairs = [(a, b) for a in nodes for b in nodes if a is not b]
        tasks = [asyncio.create_task(load(a.peer(b.address))) for a, b in pairs]
        for _ in range(rounds):
            new = rudp.generate_key()
            for held in ((key, new), (new, key), (new, None)):
                for node in nodes:
                    node.rotate(held[0], other_key=held[1])
                    await asyncio.sleep(0.1)
                await asyncio.sleep(1)
            key = new
        going = False
        failed = [e for e in await asyncio.gather(*tasks, return_exceptions=True) if e]
        made = sum(node.statistics().sessions_made for node in nodes)
        yield Measured(
            f"{done} calls over {rounds} rotations, {made} sessions",
            f"{len(failed)} failed {failed[:1] or ''}; the slowest took {slowest * 1e3:.0f} ms",
            met=not failed and made >= 6 * rounds,
        )


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


async def wrong_key(*, full: bool) -> AsyncIterator[Measured]:
    """One node has another key: what each side is told, and who else notices."""
    del full
    lines = _Lines()
    logging.getLogger("rudp").addHandler(lines)
    key = rudp.generate_key()
    other = rudp.generate_key()
    async with rudp.Node(key=key) as a, rudp.Node(key=key) as b, rudp.Node(key=other) as wrong:
        b.register("echo", lambda value: value, inline=True)
        peer = a.peer(b.address)
        await peer.call("echo", 0)
        began = time.monotonic()
        dial = asyncio.create_task(_failure(wrong.peer(b.address)))
        calls = 0
        while not dial.done():
            await peer.call("echo", calls)
            calls += 1
            await asyncio.sleep(0.001)
        error = await dial
        took = time.monotonic() - began
    logging.getLogger("rudp").removeHandler(lines)
    yield Measured(
        f"its caller hears after {took:.1f} s",
        f"{type(error).__name__}: {error}",
        met=isinstance(error, rudp.Unverified) and took < 10,
    )
    told = [line for line in lines.said if "unverified" in line]
    yield Measured("the other side logs", f"{told}", met=len(told) == 1)
    yield Measured("calls of others meanwhile", f"{calls}, all answered", met=calls > 0)


async def _failure(peer: rudp.Peer) -> BaseException:
    try:
        await peer.call("echo", 1, timeout=30)
    except rudp.CallError as error:
        return error
    raise RuntimeError("a wrong key was accepted")
