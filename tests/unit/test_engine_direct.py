"""K11: on which lanes are bodies not summed? Both ends must have been told the same witness."""

from __future__ import annotations

import pytest

from tests.engine_module import Engine, load
from tests.lane_helpers import LanePair

PLAIN = {"ciphers": 1}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load("engine")


def after_a_big_call(
    engine: Engine, witnesses: tuple[int, int], limits: dict[str, int]
) -> LanePair:
    pair = LanePair(engine, a=limits, b=limits)
    pair.witnesses = witnesses
    pair.b.handler = lambda request: pair.b.reply_big(request, 50_000)
    call = pair.a.call_big(100_000)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    return pair


def direct_lanes(pair: LanePair) -> tuple[int, int]:
    return pair.a.counter("lanes_direct"), pair.b.counter("lanes_direct")


def test_both_ends_know_the_same(engine: Engine) -> None:
    pair = after_a_big_call(engine, (77, 77), PLAIN)
    assert direct_lanes(pair) == (1, 1)
    pair.settle()


@pytest.mark.parametrize("witnesses", [(0, 0), (77, 78), (0, 77), (77, 0)])
def test_somebody_is_between_or_nobody_knows(engine: Engine, witnesses: tuple[int, int]) -> None:
    pair = after_a_big_call(engine, witnesses, PLAIN)
    assert direct_lanes(pair) == (0, 0)
    pair.settle()


def test_what_is_sealed_stays_sealed(engine: Engine) -> None:
    pair = after_a_big_call(engine, (77, 77), {})
    assert direct_lanes(pair) == (0, 0)
    pair.settle()
