"""K9: what becomes of sessions when the cluster's keys change, between two real engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers import KEY, MS, SECOND, Node, Pair

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


def test_a_session_whose_dial_was_under_way_is_renewed_too(engine: Engine) -> None:
    """K9: message 1 left under the old key, so the session is made with it, and dropped with it."""
    pair = Pair(engine)
    for node in (pair.a, pair.b):
        rotate(node, KEY, NEW)
    call = pair.a.call("hello", timeout_ms=3_000)
    for node in (pair.a, pair.b):
        rotate(node, NEW, KEY)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
    pair.run(20 * SECOND)
    pair.b.handler = None
    work = pair.a.call("work", timeout_ms=30_000)
    pair.run_until(lambda: bool(pair.b.requests))
    rotate(pair.a, NEW, None)
    rotate(pair.b, NEW, None)
    pair.run(100 * MS)
    assert not work.done
    pair.b.requests[0].reply(b"done")
    pair.run_until(lambda: work.done)
    assert work.status == "OK"


def test_two_nodes_that_offer_different_keys_do_not_renew_for_ever(engine: Engine) -> None:
    """K9: while a rotation goes from node to node, one offers the old key and one the new."""
    pair = Pair(engine)
    rotate(pair.a, KEY, NEW)
    rotate(pair.b, NEW, KEY)
    calls = [node.call("hello", timeout_ms=3_000) for node in (pair.a, pair.b)]
    pair.run_until(lambda: all(call.done for call in calls))
    pair.run(2 * SECOND)
    made = pair.a.counter("hellos_sent") + pair.b.counter("hellos_sent")
    pair.run(60 * SECOND)
    assert pair.a.counter("hellos_sent") + pair.b.counter("hellos_sent") == made
