"""Both nodes call each other through a bad network with tables of a few entries.

Judged after the network has drained, as Q2 asks: each call ended once; `yes` ran, `no` never ran,
none twice; then everything is free (Q6). The simulator does the same with more kinds of fault.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.helpers import MS, SECOND, Call, Node, Pair, Request

if TYPE_CHECKING:
    from tests.engine_module import Engine


class Swarm:
    """One seed: what is small, what is lost, what the applications do."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.chance = random.Random(seed)
        self.pair = Pair(engine, a=self.limits(), b=self.limits())
        self.loss = self.chance.choice([0, 10, 25, 40])
        self.slowest = self.chance.choice([3, 30])
        self.pair.network = self.network
        self.pair.a.handler = self.pair.b.handler = self.handle
        self.ran: list[tuple[str, bytes]] = []
        self.running: list[Request] = []
        self.calls: list[tuple[Node, bytes, Call]] = []

    def limits(self) -> dict[str, int]:
        choose = self.chance.choice
        return {
            "serves": choose([2, 3, 5, 16]),
            "call_slots": choose([1, 2, 4]),
            "records": choose([32, 48, 96]),
            "arena": choose([4, 8]) * 65_536,
        }

    def network(self, _sender: str, _content: bytes) -> list[int]:
        copies = self.chance.choices([0, 1, 2], [self.loss, 90 - self.loss, 10])[0]
        return [self.chance.randrange(1, self.slowest) * MS for _ in range(copies)]

    def handle(self, request: Request) -> None:
        fate = self.chance.random()
        if fate < 0.08:
            request.refuse(self.chance.choice(["BAD_REQUEST", "BUSY", "NO_METHOD"]))
            return
        self.ran.append((request.node.name, request.body))
        if fate < 0.2:
            self.running.append(request)
        else:
            request.reply(request.body, self.chance.choice(["OK", "EXCEPTION"]))

    def call(self, number: int) -> None:
        node = self.chance.choice([self.pair.a, self.pair.b])
        if sum(not call.done for call in node.calls.values()) >= node.config.calls - 1:
            self.pair.run(50 * MS)
            return
        body = number.to_bytes(2, "little") + bytes(self.chance.choice([0, 10, 400, 1_050]))
        call = node.call("work", body, timeout_ms=self.chance.choice([5, 30, 200, 2_000]))
        self.calls.append((node, body, call))
        if self.chance.random() < 0.1:
            node.cancel(call)
        if self.chance.random() < 0.03:
            node.taking = not node.taking

    def weather(self) -> None:
        if self.chance.random() < 0.3:
            self.pair.run(self.chance.randrange(0, 60) * MS)
        if self.chance.random() < 0.01:
            self.pair.network = lambda _sender, _content: []
            self.pair.run(self.chance.choice([500, 3_000, 6_000]) * MS)
            self.pair.network = self.network
        while self.running and self.chance.random() < 0.3:
            self.running.pop(self.chance.randrange(len(self.running))).reply(b"late")

    def drain(self) -> None:
        self.pair.network = lambda _sender, _content: [MS]
        for node in (self.pair.a, self.pair.b):
            node.taking = True
            node.drain()
        self.pair.run(3 * SECOND)
        while self.running:
            self.running.pop().reply(b"late")
            self.pair.run(10 * MS)
        self.pair.run(45 * SECOND)

    def judge(self) -> None:
        for node, body, call in self.calls:
            times = self.ran.count((self.pair.other(node).name, body))
            assert call.events == 1
            assert times <= 1
            assert call.outcome != "yes" or times == 1
            assert call.outcome != "no" or times == 0
            assert call.status != "OK" or call.body in (body, b"late")
        assert self.pair.a.all_free
        assert self.pair.b.all_free


def play(engine: Engine, seed: int) -> None:
    swarm = Swarm(engine, seed)
    for number in range(swarm.chance.choice([30, 150])):
        swarm.call(number)
        swarm.weather()
    swarm.drain()
    swarm.judge()


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_outcomes_agree_with_the_journal(engine: Engine, first: int) -> None:
    for seed in range(first, first + 20):
        play(engine, seed)


@pytest.mark.parametrize("seed", [198, 4709, 6961, 8424, 9373, 9381, 9492, 9684])
def test_two_full_nodes_do_not_wait_for_each_other(engine: Engine, seed: int) -> None:
    """P2: refusals and requests that find no room travel apart when they are sent again.

    In these seeds both nodes hold refusals that the other has not acknowledged. When those shared
    packets with requests for which there was no record, none was ever acknowledged.
    """
    play(engine, seed)
