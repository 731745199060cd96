"""What happens in the demo, in which order?

    open -> meet -> small calls -> chunks with small calls beside them -> close -> verdict
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import secrets
import tempfile
from typing import IO, Any

from rudp.demo import display as show
from rudp.demo.children import Child, Children
from rudp.demo.data import CHUNK, SHIFT, make_file
from rudp.demo.journal import Verdict, compare, read_calls, read_chunks
from rudp.demo.links import links_between, seen_by

JOURNALS = ("handled", "called", "stored", "sent")
DROP = 0.05  # of the datagrams, each way
CUT_EVERY = 0.12  # seconds between two cuts, on average
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


@dataclasses.dataclass
class Outcome:
    """What the members said at the end of each phase, the relay's counts, and the verdict."""

    meet: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    small: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    bulk: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    relay: dict[str, Any] = dataclasses.field(default_factory=dict)
    verdict: Verdict = Verdict(0, 0, ("the demo did not come to its end",))


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
        plan, outcome = self._plan, Outcome()
        starting = asyncio.create_task(self._open())
        with await asyncio.to_thread(make_file, plan.size, plan.members, plan.seed) as data:
            await starting
            await self._introduce(data.fileno())
            self._display.title = "the nodes meet"
            outcome.meet = await self._everybody(*({"do": "meet"} | {"peers": p} for p in self._seen))
            self._display.title = f"small calls, all to all, {plan.outstanding} open per pair"
            command = {"do": "small", "seconds": plan.seconds, "outstanding": plan.outstanding}
            outcome.small = await self._everybody(*[command] * plan.members)
            self._display.title = f"{plan.size >> 20} MiB from each node to the next"
            outcome.bulk = await self._everybody(*map(self._bulk, range(plan.members)))
        outcome.relay = dict(self._relay.latest) if self._relay is not None else {}
        outcome.verdict = await asyncio.to_thread(self._compare)
        return outcome

    async def _open(self) -> None:
        for number in range(self._plan.members):
            name = "rudp.demo.member"
            child = await self._children.start(f"node {number}", name, self._keep(), self._show)
            self._members.append(child)
        if not self._plan.clean:
            name = "rudp.demo.relay"
            self._relay = await self._children.start("the relay", name, (), self._show)

    def _keep(self) -> list[int]:
        """Fresh journals, as descriptors for one more member."""
        for name in JOURNALS:
            file = tempfile.TemporaryFile(prefix=f"rudp-demo-{name}-")  # noqa: SIM115
            flags = os.O_APPEND
            fcntl_setfl(file.fileno(), flags)
            self._journals[name].append(file)
        return [self._journals[name][-1].fileno() for name in JOURNALS]
