"""K9: what becomes of sessions when the cluster's keys change, between two real engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers import Node, Pair

if TYPE_CHECKING:
    from tests.engine_module import Engine

NEW = b"n" * 32


def rotate(node: Node, offered: bytes, other: bytes | None) -> None:
    """One key is offered, and maybe another accepted."""
    keys = node.ffi.new("hello_keys *")
    node.lib.hello_keys_set(keys, offered, node.ffi.NULL if other is None else other)
    node.lib.engine_rotate(node.at, node.pair.now, keys)
    node.drain()


def test_a_half_open_session_ends_with_its_key(engine: Engine) -> None:
    """K9, R106: message 2 was on its way when the acceptor dropped the key."""
    pair = Pair(engine)
    call = pair.a.call("hello", timeout_ms=3_000)
    pair.run_until(lambda: pair.b.counter("hellos_sent") > 0)
    rotate(pair.b, NEW, None)
    pair.run_until(lambda: call.done)
    assert call.outcome != "yes"
    assert pair.b.told == []
    assert pair.b.counter("sessions_made") == 0
