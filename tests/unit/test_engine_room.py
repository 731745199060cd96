"""What waits for room in a full table, and who lets it go on? Q19, C3, C7, A2; real engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.helpers import MS, NOBODY, SECOND
from tests.lane_helpers import GONE, LaneNode, LanePair, with_a_lane

if TYPE_CHECKING:
    from tests.engine_module import Engine

SHORT = {"transfer_slots": 4, "transfer_slots_max": 4}

# Slots of calls need a larger cell than slots of transfers, and there are few slabs.
MANY_CALLS = {"call_slots": 64, "call_slots_max": 64}
CROWDED = {"calls": 400, "arena": 4 * 65536, **MANY_CALLS}


def closes_slowly(pair: LanePair) -> None:
    """a's connections take 8 s to close, and WRITEs are reported only then."""
    node = pair.a

    def shut(action: Any) -> None:
        end = node.ends[action.connection]
        pair.after(8 * SECOND, lambda: node.over(end, GONE))

    node._shut = shut  # type: ignore[method-assign]
    for link in pair.bulk_links():
        link.dead = True
    pair.write_takes = 100 * SECOND


def held_by_a_dead_session(engine: Engine) -> LanePair:
    """a has no entry to send: those of a lost session wait for their WRITEs."""
    pair = with_a_lane(engine, a={"transfers": 4, **SHORT}, b=SHORT)
    closes_slowly(pair)
    pair.a.handler = lambda request: pair.a.reply_big(request, 6_000)
    stuck = [pair.b.call("give", timeout_ms=30_000) for _ in range(2)]
    pair.run_until(lambda: len(pair.a.memories) == 2)
    pair.network, pair.tcp = (lambda _sender, _content: []), "silent"
    pair.run_until(lambda: all(call.done for call in stuck))
    pair.network, pair.tcp = (lambda _sender, _content: [MS]), "open"
    pair.write_takes = MS
    again = pair.a.call("hello", timeout_ms=10_000)
    pair.run_until(lambda: again.done)
    assert again.status == "OK"
    assert len(pair.a.memories) == 2
    return pair


def test_a_call_that_waits_for_the_table_goes_when_a_dead_session_lets_go(engine: Engine) -> None:
    """Q19: an entry that is free wakes who waits, whosever it was."""
    pair = held_by_a_dead_session(engine)
    began = pair.now
    call = pair.a.call_big(20_000, timeout_ms=60_000)
    pair.run_until(lambda: call.done, within=60 * SECOND)
    assert call.status == "OK"
    assert call.ended_at - began < 10 * SECOND


def test_a_reply_that_waits_for_the_table_goes_when_a_dead_session_lets_go(engine: Engine) -> None:
    """C7: it waits until the caller's deadline, and no longer than it must (Q19)."""
    pair = held_by_a_dead_session(engine)
    pair.a.handler = lambda request: pair.a.reply_big(request, 20_000)
    call = pair.b.call("give", timeout_ms=15_000)
    pair.run_until(lambda: call.done, within=60 * SECOND)
    assert call.status == "OK"


def test_two_nodes_whose_tables_are_full_of_requests_serve_each_other(engine: Engine) -> None:
    """A2: what waits to be sent holds nothing that is needed to receive."""
    small = {"transfers": 4, "calls": 32, **SHORT}
    pair = with_a_lane(engine, a=small, b=small)
    pair.a.handler = pair.b.handler
    nodes = (pair.a, pair.b)
    calls = [node.call_big(5_000, timeout_ms=60_000) for _ in range(4) for node in nodes]
    pair.run_until(lambda: all(call.done for call in calls), within=120 * SECOND)
    assert {call.status for call in calls} == {"OK"}
    pair.settle()


def test_two_nodes_whose_tables_are_full_of_replies_serve_each_other(engine: Engine) -> None:
    """A2, Q19: replies have no deadline, so they would stand in each other's way for ever."""
    small = {"transfers": 4, "calls": 32, **SHORT}
    pair = with_a_lane(engine, a=small, b=small)
    nodes = (pair.a, pair.b)
    for node in nodes:
        node.handler = None
    calls = [node.call("give", timeout_ms=60_000) for _ in range(4) for node in nodes]
    pair.run_until(lambda: len(pair.a.requests) == len(pair.b.requests) == 4)
    for node in nodes:
        for request in list(node.requests):
            node.reply_big(request, 5_000)
    pair.run_until(lambda: all(call.done for call in calls), within=120 * SECOND)
    assert {call.status for call in calls} == {"OK"}
    pair.settle()


def test_a_reply_finds_room_where_requests_stand_in_line(engine: Engine) -> None:
    """A3: b's handler holds the credit for requests, and waits for a big reply of a."""
    small = {"transfers": 4, "calls": 32, **SHORT}
    pair = with_a_lane(engine, a=small, b=small)
    pair.b.handler = None
    pair.a.handler = lambda request: pair.a.reply_big(request, 5_000)
    calls = [pair.a.call_big(90_000, timeout_ms=60_000) for _ in range(5)]
    pair.run_until(lambda: len(pair.b.requests) == 1)
    pair.run(SECOND)
    nested = pair.b.call("give", timeout_ms=30_000)
    pair.run_until(lambda: nested.done)
    assert nested.status == "OK"
    pair.b.handler = lambda request: request.reply(b"")
    pair.b.requests[0].reply(b"")
    pair.run_until(lambda: all(call.done for call in calls))
    assert {call.status for call in calls} == {"OK"}
    pair.settle()


def gives_up(pair: LanePair) -> None:
    """a's third call ends by its deadline, and soon its slot is no longer held."""
    call = pair.a.call("give", timeout_ms=200)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("DEADLINE", "unknown")
    pair.run(1_200 * MS)
    assert pair.a.view().stuck == 0


def test_a_caller_who_gives_up_has_its_slot_back_while_the_reply_waits(engine: Engine) -> None:
    """C3, R59: a reply that has no entry to be sent is withdrawn, and its end is told."""
    pair = with_a_lane(engine, a=SHORT, b={"transfers": 4, **SHORT})
    pair.write_takes = 100 * SECOND  # so long what was sent keeps its entry
    pair.b.handler = lambda request: pair.b.reply_big(request, 6_000)
    sent = [pair.a.call("give") for _ in range(2)]
    pair.run_until(lambda: all(call.done for call in sent))
    gives_up(pair)
    assert len(pair.b.memories) == 2


def test_a_caller_who_gives_up_has_its_slot_back_though_no_offer_arrives(engine: Engine) -> None:
    """C3, R59: a reply whose OFFER finds no entry is abandoned, and its end is told."""
    pair = with_a_lane(engine, a={"transfers": 4, **SHORT}, b=SHORT)
    pair.a._alloc = lambda _action: None  # type: ignore[method-assign]
    pair.b.handler = lambda request: pair.b.reply_big(request, 6_000)
    for _ in range(2):
        pair.a.call("give", timeout_ms=20_000)
    pair.run_until(lambda: len(pair.b.memories) == 2)
    pair.run(100 * MS)
    gives_up(pair)
    assert len(pair.b.memories) == 2


def fill(node: LaneNode) -> None:
    """All cells are taken, for 2 s, by calls of a peer that does not answer."""
    remote = node.ffi.new("address *")
    node.fill_address(remote)
    remote.ip[3] = NOBODY
    nobody = int(node.lib.engine_peer(node.at, node.pair.now, remote))
    while node.call("x", timeout_ms=2_000, peer=nobody).status != "NO_MEMORY":
        pass


def test_a_call_whose_session_has_no_cell_for_slots_ends_at_once(engine: Engine) -> None:
    """Q19: cells that come free wake nobody, so nothing may wait for one."""
    pair = LanePair(engine, a=CROWDED)
    call = pair.a.call("hello", timeout_ms=30_000)
    fill(pair.a)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("NO_MEMORY", "no")
    pair.run(3 * SECOND)
    later = pair.a.call("hello", timeout_ms=30_000)
    pair.run_until(lambda: later.done)
    assert later.status == "OK"


def without_sends(engine: Engine) -> LanePair:
    """Node b had no cells when it made its session, and has found some for all but its sends."""
    pair = LanePair(engine, a=MANY_CALLS, b=CROWDED)
    pair.a.handler = lambda request: request.reply(b"")
    first = pair.b.call("hello", timeout_ms=30_000)
    fill(pair.b)
    pair.run_until(lambda: first.done)
    pair.run(3 * SECOND)
    return pair


def test_a_big_call_whose_session_has_no_cell_for_sends_ends_at_once(engine: Engine) -> None:
    """Q19: as a small one does."""
    pair = without_sends(engine)
    fill(pair.b)
    for waiting in [call for call in pair.b.calls.values() if not call.done][:2]:
        pair.b.cancel(waiting)  # cells for the call and for the slots of calls
    call = pair.b.call_big(5_000, timeout_ms=30_000)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("NO_MEMORY", "no")


def test_a_big_reply_whose_session_has_no_cell_for_sends_is_given_up(engine: Engine) -> None:
    """C7, Q19: its caller hears in a packet that it ran, and why there is no more."""
    pair = without_sends(engine)
    pair.b.handler = None
    call = pair.a.call("give", timeout_ms=30_000)
    pair.run_until(lambda: len(pair.b.requests) == 1)
    fill(pair.b)
    pair.b.reply_big(pair.b.requests[0], 5_000)
    pair.run_until(lambda: call.done)
    assert (call.status, call.outcome) == ("NO_MEMORY", "yes")
    assert pair.b.memories == {}


def test_a_big_call_to_a_node_without_cells_waits_until_it_has_one(engine: Engine) -> None:
    """P2, A5: no cell for its slots is no fault of the caller's, and no word of it is believed."""
    pair = LanePair(engine, b=CROWDED)
    pair.b.handler = lambda request: request.reply(b"")
    pair.a.handler = lambda request: pair.a.reply_big(request, 5_000)
    first = pair.b.call("give")  # so b has received by lane, and was never asked
    pair.run_until(lambda: first.done)
    pair.run(100 * MS)
    fill(pair.b)
    call = pair.a.call_big(5_000, timeout_ms=15_000)
    pair.run_until(lambda: call.done)
    assert call.status == "OK"
