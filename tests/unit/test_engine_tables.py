"""The state tables of calls and served requests: the two laws of engine/machine.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.engine_module import Engine

# Which columns the peer feeds; all others are fed by this node.
PEERS_COLUMNS = {
    "call_app_table": {"CALL_ANSWERED"},
    "call_wire_table": {"WIRE_GOT_ACK", "WIRE_GOT_BUSY", "WIRE_GOT_END"},
    "serve_table": {"SERVE_COMPLETE", "SERVE_CANCELLED", "SERVE_ARRIVED", "SERVE_ABANDONED"},
}


def rows(engine: Engine, name: str) -> list[list[int]]:
    return [list(row) for row in getattr(engine.lib, name)]


def column(engine: Engine, name: str, event: str) -> list[int]:
    index: Any = getattr(engine.lib, event)
    return [row[index] for row in rows(engine, name)]


@pytest.mark.parametrize("name", PEERS_COLUMNS)
def test_no_packet_can_stop_us_and_no_mistake_of_ours_is_silent(engine: Engine, name: str) -> None:
    table = rows(engine, name)
    peers = {getattr(engine.lib, event) for event in PEERS_COLUMNS[name]}
    for state, row in enumerate(table):
        for event, cell in enumerate(row):
            assert cell != (engine.lib.NEVER if event in peers else engine.lib.STAY), (state, event)
            assert cell < len(table) or cell in (engine.lib.NEVER, engine.lib.STAY)


@pytest.mark.parametrize("name", PEERS_COLUMNS)
def test_every_state_is_reached_and_left(engine: Engine, name: str) -> None:
    table = rows(engine, name)
    reached = {0}
    for _ in table:
        reached |= {cell for state in reached for cell in table[state] if cell < len(table)}
    assert reached == set(range(len(table)))
    assert all(any(cell < len(table) for cell in row) for row in table)


def test_a_call_is_told_once(engine: Engine) -> None:
    """O1, Q1: whatever else arrives, OPEN is left once and READY only by telling."""
    lib = engine.lib
    ready = column(engine, "call_app_table", "CALL_ANSWERED")
    assert [state for state, cell in enumerate(ready) if cell != lib.STAY] == [lib.APP_OPEN]
    told = column(engine, "call_app_table", "CALL_TELLING")
    assert [state for state, cell in enumerate(told) if cell != lib.NEVER] == [lib.APP_READY]


def test_only_a_call_that_may_not_have_left_moves(engine: Engine) -> None:
    """O2: an acknowledged one never goes by another session."""
    moves = column(engine, "call_wire_table", "WIRE_REQUEUED")
    lib = engine.lib
    assert [state for state, cell in enumerate(moves) if cell != lib.NEVER] == [lib.WIRE_SENT]


def test_a_running_handler_outlives_its_session(engine: Engine) -> None:
    """O3: nothing but the end of the handler frees the record of one that runs."""
    lib = engine.lib
    assert rows(engine, "serve_table")[lib.SERVE_HANDED][lib.SERVE_ABANDONED] == lib.SERVE_ORPHANED
    frees = [
        event
        for event, cell in enumerate(rows(engine, "serve_table")[lib.SERVE_ORPHANED])
        if cell == lib.SERVE_FREE
    ]
    assert frees == [lib.SERVE_HANDLER_ENDED]
