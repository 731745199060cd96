"""What happens in the demo, in which order?

open -> meet -> small calls -> chunks with small calls beside them -> close -> verdict
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import secrets
import tempfile
import threading
from typing import IO, Any

from rudp.demo import display as show
from rudp.demo.children import Child, ChildFailed, Children
from rudp.demo.data import CHUNK, SHIFT, fill, open_file
from rudp.demo.journal import Verdict, compare, read_calls, read_chunks
from rudp.demo.links import links_between, seen_by

JOURNALS = ("handled", "called", "stored", "sent")
DROP = 0.05  # of the datagrams, each way
LIFE = 0.7  # seconds until a TCP connection is cut, on average
WINDOW = 8  # chunks on their way from each node


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What was asked for on the command line."""

    members: int = 3
    seconds: float = 4.0
    outstanding: int = 16
    size: int = 1 << 30
    clean: bool = False
    plain: bool = False
    seed: int = 1


def _unfinished() -> Verdict:
    return Verdict(0, 0, ("the demo did not come to its end",))


@dataclasses.dataclass
class Outcome:
    """What the members said at the end of each phase, the relay's counts, and the verdict."""

    meet: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    small: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    bulk: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    relay: dict[str, Any] = dataclasses.field(default_factory=dict)
    verdict: Verdict = dataclasses.field(default_factory=_unfinished)


class Cluster:
    """The nodes, the relay, and what they do."""

    def __init__(self, plan: Plan, children: Children, display: show.Display) -> None:
        self._plan = plan
        self._children = children
        self._display = display
        self._members: list[Child] = []
        self._relay: Child | None = None
        self._journals: dict[str, list[IO[bytes]]] = {name: [] for name in JOURNALS}

    async def run(self) -> Outcome:
        """All of it."""
        plan, stopped = self._plan, threading.Event()
        with open_file(plan.size, plan.members) as data:
            filling = asyncio.create_task(
                asyncio.to_thread(fill, data, plan.size, plan.members, plan.seed, stopped)
            )
            try:
                self._display.title = (
                    f"starting {plan.members} nodes, writing {plan.size >> 20} MiB"
                )
                self._show()
                seen = await self._open(data.fileno())
                await asyncio.shield(filling)
                return await self._work(seen)
            finally:
                stopped.set()  # its thread must not write to a closed file
                await asyncio.wait([filling])

    async def _work(self, seen: list[dict[int, str]]) -> Outcome:
        """The phases, once every node runs and knows where it finds the others."""
        plan, outcome, display = self._plan, Outcome(), self._display
        display.title = "the nodes meet"
        outcome.meet = await self._everybody([{"do": "meet", "peers": peers} for peers in seen])
        display.title = f"small calls, all to all, {plan.outstanding} open per pair"
        command = {"do": "small", "seconds": plan.seconds, "outstanding": plan.outstanding}
        outcome.small = await self._everybody([command] * plan.members)
        display.title = f"{plan.size >> 20} MiB from each node to the next, calls beside it"
        outcome.bulk = await self._everybody([self._bulk(n) for n in range(plan.members)])
        outcome.relay = dict(self._relay.latest) if self._relay is not None else {}
        await self._everybody([{"do": "report"}] * plan.members)  # journals are written out
        outcome.verdict = await asyncio.to_thread(self._compare)
        return outcome

    # ---- starting ----

    async def _open(self, data: int) -> list[dict[int, str]]:
        """Start everything; returns where each member finds the others."""
        plan = self._plan
        key = "" if plan.plain else secrets.token_hex(32)
        for number in range(plan.members):
            journals = self._new_journals()
            keep = [data, *journals.values()]
            child = await self._start(f"node {number}", "rudp.demo.member", keep)
            child.tell({"index": number, "chunk": CHUNK, "key": key, "data": data, **journals})
            self._members.append(child)
        addresses = [(await child.answer())["address"] for child in self._members]
        if plan.clean:
            return [seen_by(addresses, [], n) for n in range(plan.members)]
        links = links_between(addresses, 1 + os.getpid() % 254)
        self._relay = await self._start("the relay", "rudp.demo.relay", [])
        self._relay.tell({"links": [dataclasses.asdict(x) for x in links], "seed": plan.seed})
        await self._relay.answer()
        self._relay.tell({"drop": DROP, "life": LIFE})
        await self._relay.answer()
        return [seen_by(addresses, links, n) for n in range(plan.members)]

    async def _start(self, name: str, module: str, keep: list[int]) -> Child:
        return await self._children.start(name, module, keep, self._show)

    def _new_journals(self) -> dict[str, int]:
        for name in JOURNALS:
            file = tempfile.TemporaryFile(prefix=f"rudp-demo-{name}-")  # noqa: SIM115
            self._journals[name].append(file)
        return {name: self._journals[name][-1].fileno() for name in JOURNALS}

    # ---- running ----

    def _bulk(self, number: int) -> dict[str, Any]:
        plan = self._plan
        return {
            "do": "bulk",
            "target": (number + 1) % plan.members,
            "chunks": plan.size // CHUNK,
            "offset": number * SHIFT,
            "window": WINDOW,
        }

    async def _everybody(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Have every member carry out its command; raises ``ChildFailed`` at the first failure."""
        for child, command in zip(self._members, commands, strict=True):
            child.tell(command)
        async with asyncio.TaskGroup() as group:
            if self._relay is not None:
                watching = group.create_task(self._watch_relay(self._relay))
            answers = [group.create_task(child.answer()) for child in self._members]
            for answer in answers:
                await answer
            if self._relay is not None:
                watching.cancel()
        return [answer.result() for answer in answers]

    async def _watch_relay(self, relay: Child) -> None:
        """The relay answers nothing while it works: whatever comes is its end."""
        await relay.answer()
        raise ChildFailed("the relay ended")

    def _show(self) -> None:
        relay = self._relay.latest if self._relay is not None else {}
        self._display.update([child.latest for child in self._members], relay)

    # ---- the end ----

    def _compare(self) -> Verdict:
        calls = {n: [read_calls(f.fileno()) for f in self._journals[n]] for n in JOURNALS[:2]}
        chunks = {n: [read_chunks(f.fileno()) for f in self._journals[n]] for n in JOURNALS[2:]}
        expected = self._plan.members * (self._plan.size // CHUNK)
        return compare(
            calls["called"], calls["handled"], chunks["sent"], chunks["stored"], expected
        )

    def close(self) -> None:
        """Drop the journals, which have no names."""
        for files in self._journals.values():
            for file in files:
                file.close()
