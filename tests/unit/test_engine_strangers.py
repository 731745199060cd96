"""What do handshakes cost that lead nowhere? K4, K6 and K10 on real engines and a virtual clock."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, cast

from tests.helpers import MS, SECOND, Datagram, Node, Pair

if TYPE_CHECKING:
    from tests.engine_module import Engine

FIRST = 0x11


def dials(pair: Pair, count: int) -> list[bytes]:
    """So many genuine messages 1 of a, none of which arrived."""
    seen: list[bytes] = []

    def swallow(sender: str, content: bytes) -> list[int]:
        if sender == "a" and content[0] == FIRST:
            seen.append(content)
        return []

    network, pair.network = pair.network, swallow
    pair.a.call("hello", timeout_ms=60_000)
    pair.run_until(lambda: len(seen) >= count)
    pair.network = network
    return seen[:count]


def batch(to: Node, source: Node, contents: list[bytes]) -> None:
    """Several datagrams in one turn."""
    datagrams = to.ffi.new("datagram[]", len(contents))
    kept = []
    for datagram, content in zip(datagrams, contents, strict=True):
        kept.append(to.ffi.new("uint8_t[]", content))
        to.fill_address(datagram.local)
        source.fill_address(datagram.remote)
        datagram.bytes, datagram.size = kept[-1], len(content)
    to.lib.engine_datagrams(to.at, to.pair.now, datagrams, len(contents), 0)
    to.drain()


def test_replays_do_not_use_up_the_answers_of_a_turn(engine: Engine) -> None:
    """K6: opening message 1 takes no public-key operation, so it is not counted as one."""
    pair = Pair(engine)
    old, new = dials(pair, 2)
    batch(pair.b, pair.a, [old])
    assert pair.b.counter("hellos_sent") == 1
    batch(pair.b, pair.a, [old] * 60 + [new])
    assert pair.b.dropped("HELLO_REPLAY") == 60
    assert pair.b.dropped("HELLO_LIMIT") == 0
    assert pair.b.counter("hellos_sent") == 2


def test_forgeries_do_not_use_up_the_answers_of_a_turn(engine: Engine) -> None:
    """K4: a keyed check comes first, and says nothing."""
    pair = Pair(engine)
    (new,) = dials(pair, 1)
    forged = [new[:20] + bytes([new[20] ^ 1 + n]) + new[21:] for n in range(60)]
    batch(pair.b, pair.a, [*forged, new])
    assert pair.b.dropped("HELLO_UNVERIFIED") == 60
    assert pair.b.counter("hellos_sent") == 1


def test_a_replayed_first_message_makes_no_peer(engine: Engine) -> None:
    """K5: a half-open session is told to nobody, starts nothing, and goes."""
    pair = Pair(engine)
    (new,) = dials(pair, 1)
    pair.network = lambda sender, _: [] if sender == "a" else [1]
    batch(pair.b, pair.a, [new])
    pair.run(7 * SECOND)
    assert pair.b.counter("hellos_sent") == 1
    assert pair.b.peer_events == []
    assert pair.b.told == []
    assert pair.b.all_free


def test_a_stranger_is_told_of_once_in_ten_seconds(engine: Engine) -> None:
    """K10: with the address it claims to come from."""
    pair = Pair(engine)
    (new,) = dials(pair, 1)
    forged = new[:20] + bytes([new[20] ^ 1]) + new[21:]
    for _ in range(3):
        batch(pair.b, pair.a, [forged] * 20)
    assert pair.b.strangers == [(127, 0, 0, pair.a.number)]
    pair.run(11 * SECOND)
    batch(pair.b, pair.a, [forged])
    assert len(pair.b.strangers) == 2


class Copier:
    """Somebody on the path whose copies arrive first, from another address."""

    number = 9

    def fill_address(self, out: Any) -> None:
        out.ip[0:4] = [127, 0, 0, self.number]
        out.port = 4000 + self.number
        out.family = 4


def test_a_copier_with_a_faster_route_moves_no_session(engine: Engine) -> None:
    """S8: the new path must answer a challenge first, and gets at most three times what came."""
    pair = Pair(engine)
    pair.connect()
    copier, came, got = Copier(), 0, 0
    send = pair.send

    def sent(sender: Node, to: int, content: bytes) -> None:
        nonlocal came, got
        if to == copier.number:
            got += len(content)
            return
        if sender is pair.a:
            came += len(content)
            copy = Datagram(pair.now + 1, -len(content), pair.b, cast("Node", copier), content)
            heapq.heappush(pair._flying, copy)
        send(sender, to, content)

    pair.send = sent  # type: ignore[method-assign]
    pair.network = lambda *_: [MS]
    for number in range(50):
        call = pair.a.call("hello", bytes([number]) * 100)
        pair.run_until(lambda call=call: call.done)
        assert call.status == "OK"
    assert 0 < got <= 3 * came
    assert pair.b.counter("paths_changed") == 0
    assert pair.b.counter("sessions_ended") == 0
