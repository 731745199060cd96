"""One node of the demo, in a process of its own: ``python -m rudp.demo.member PARENT``.

Its handlers write a journal; its own calls and chunks are written down as they return. The parent's
commands come one per line; it answers each before the next one comes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import mmap
import signal
import sys
import time
from array import array
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

import rudp
from rudp.demo.journal import CallJournal, ChunkJournal, call_id
from rudp.demo.speak import die_with_parent, report

TICK = 0.25  # seconds between reports
CALL_SECONDS = 20.0  # a call's deadline: far above what 5 % of loss can need
CHUNK_SECONDS = 60.0
COUNTERS = ("packets_sent", "messages_resent", "packets_lost", "lanes_dropped", "bulk_bytes_again")
PAUSE = 0.005  # seconds between the small calls that run beside the chunks


@dataclasses.dataclass
class Progress:
    """What one phase has done so far."""

    began: float
    latencies: array[float] = dataclasses.field(default_factory=lambda: array("d"))
    reported: int = 0  # latencies that earlier reports covered
    bytes_done: int = 0
    bytes_total: int = 0


class Member:
    """A node, its journals, and the work it does when told."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self.index: int = setup["index"]
        self.chunk: int = setup["chunk"]
        self.data: int = setup["data"]  # descriptor of the file of real bytes
        self.handled = CallJournal(setup["handled"])
        self.called = CallJournal(setup["called"])
        self.stored = ChunkJournal(setup["stored"])
        self.sent = ChunkJournal(setup["sent"])
        key = bytes.fromhex(setup["key"]) if setup["key"] else None
        self.node = rudp.Node("127.0.0.1:0", key=key, insecure=key is None)
        self.node.register("add", self.add, inline=True)
        self.node.register("store", self.store)
        self.peers: dict[int, rudp.Peer] = {}
        self.sequence = 0
        self.failures: list[str] = []
        self.progress = Progress(time.monotonic())

    # ---- what peers call ----

    def add(self, ident: int, a: int, b: int) -> int:
        """A small call: one packet there, one back."""
        self.handled.append(ident)
        return a + b

    def store(self, sender: int, index: int, chunk: np.ndarray[Any, Any]) -> int:
        """A big one: 4 MiB that came over a lane."""
        self.stored.append(sender, index, _digest(chunk))
        return len(chunk)

    # ---- what it does itself ----

    async def small_calls(self, seconds: float, outstanding: int) -> None:
        """Call every peer for ``seconds``, with so many calls open to each."""
        until = time.monotonic() + seconds
        self.progress = Progress(time.monotonic())
        await asyncio.gather(
            *(
                self._call_on(number, lambda: time.monotonic() < until, 0.0)
                for number in self.peers
                for _ in range(outstanding)
            )
        )

    async def _call_on(self, number: int, more: Callable[[], bool], pause: float) -> None:
        peer, latencies = self.peers[number], self.progress.latencies
        while more():
            self.sequence += 1
            sequence = self.sequence
            ident = call_id(self.index, number, sequence)
            began = time.perf_counter()
            try:
                total = await peer.call("add", ident, sequence, 1, timeout=CALL_SECONDS)
            except rudp.CallError as error:
                self.failures.append(f"call to node {number}: {error!r}")
                continue
            latencies.append(time.perf_counter() - began)
            if total == sequence + 1:
                self.called.append(ident)
            else:
                self.failures.append(f"call to node {number}: {sequence} + 1 gave {total!r}")
            if pause:
                await asyncio.sleep(pause)

    async def bulk(self, target: int, chunks: int, offset: int, window: int) -> None:
        """Send the file in chunks, ``window`` at a time, with small calls beside it."""
        self.progress = Progress(time.monotonic(), bytes_total=chunks * self.chunk)
        indices = iter(range(chunks))
        sending = True
        beside = [
            asyncio.create_task(self._call_on(number, lambda: sending, PAUSE))
            for number in self.peers
        ]
        # Never unmapped by hand: the arrays cut from it keep it, as long as a lane needs them.
        data = np.frombuffer(mmap.mmap(self.data, 0, prot=mmap.PROT_READ), dtype=np.uint8)
        try:
            senders = (self._send(target, data, offset, indices) for _ in range(window))
            await asyncio.gather(*senders)
        finally:
            sending = False
            await asyncio.gather(*beside)

    async def _send(
        self, target: int, data: np.ndarray[Any, Any], offset: int, indices: Any
    ) -> None:
        peer = self.peers[target]
        for index in indices:
            start = offset + index * self.chunk
            chunk = data[start : start + self.chunk]
            call = peer.call("store", self.index, index, chunk, timeout=CHUNK_SECONDS)
            digest = await asyncio.to_thread(_digest, chunk)
            try:
                taken = await call
            except rudp.CallError as error:
                self.failures.append(f"chunk {index} to node {target}: {error!r}")
                continue
            self.sent.append(self.index, index, digest)
            self.progress.bytes_done += taken

    # ---- reports ----

    async def tick(self) -> None:
        """Report for ever."""
        while True:
            await asyncio.sleep(TICK)
            self._flush()
            report(event="tick", **self._numbers(all_of_it=False))

    def _flush(self) -> None:
        self.handled.flush()
        self.called.flush()

    def _numbers(self, *, all_of_it: bool) -> dict[str, Any]:
        """Where the present phase stands; percentiles of the last tick, or of the whole phase."""
        p = self.progress
        recent = p.latencies if all_of_it else p.latencies[p.reported :]
        p.reported = len(p.latencies)
        p50, p99 = np.percentile(recent, [50, 99]) if recent else (None, None)
        return {
            "seconds": time.monotonic() - p.began,
            "calls": len(p.latencies),
            "p50": p50,
            "p99": p99,
            "bytes_done": p.bytes_done,
            "bytes_total": p.bytes_total,
            "failures": len(self.failures),
        }

    def _counters(self) -> dict[str, int]:
        s = self.node.statistics()
        return {name: getattr(s, name) for name in COUNTERS}

    # ---- commands ----

    async def obey(self, command: dict[str, Any]) -> None:
        """Carry one command out and report what came of it."""
        what = command.pop("do")
        if what == "meet":
            self.peers = {int(n): self.node.peer(at) for n, at in command["peers"].items()}
            for number in self.peers:  # sessions are made before anything is measured
                await self._call_on(number, _times(1), 0.0)
        elif what == "small":
            await self.small_calls(**command)
        elif what == "bulk":
            await self.bulk(**command)
        self._flush()
        report(
            event="done",
            phase=what,
            counters=self._counters(),
            first_failures=self.failures[:3],
            **self._numbers(all_of_it=True),
        )


def _times(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is not None


def _digest(chunk: np.ndarray[Any, Any]) -> bytes:
    return hashlib.sha256(chunk.data).digest()


async def _commands() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def _obey(member: Member, command: dict[str, Any]) -> None:
    try:
        await member.obey(command)
    except Exception as error:  # noqa: BLE001  the parent shows it and ends the demo
        report(event="failed", text=f"node {member.index}: {error!r}")


async def _run() -> None:
    commands = _commands()
    member = Member(await anext(commands))
    async with member.node:
        report(event="ready", address=member.node.address)
        tasks = {asyncio.create_task(member.tick())}
        async for command in commands:
            tasks.add(asyncio.create_task(_obey(member, command)))
        for task in tasks:  # the parent has closed our input: whatever runs has lost its purpose
            task.cancel()
        await asyncio.wait(tasks)


def main() -> None:
    """Run until the parent closes our standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    die_with_parent(int(sys.argv[1]))
    asyncio.run(_run())


if __name__ == "__main__":
    main()
