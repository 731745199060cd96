"""What probes and pongs tell of the peer's application and of its kernel (L9, P8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers import MS, SECOND, Pair

if TYPE_CHECKING:
    from tests.engine_module import Engine


def test_drops_of_the_peers_kernel_are_counted_as_the_peers(engine: Engine) -> None:
    """P8: the beat tells them; they count as loss and are shown under their owner."""
    pair = Pair(engine)
    pair.connect()
    pair.a.call(timeout_ms=100)
    pair.run(12 * SECOND)  # the first beats only set the mark
    before = engine.lib.engine_counters(pair.a.at).drops_theirs
    pair.b.kernel_drops = 7
    pair.run(12 * SECOND)
    assert engine.lib.engine_counters(pair.a.at).drops_theirs - before == 7
    assert engine.lib.engine_counters(pair.b.at).drops_theirs == 0


def test_a_stalled_peer_that_answers_again_is_told_although_it_is_called_often(
    engine: Engine,
) -> None:
    """L9: only a beat says so, and each answered call puts off the next probe."""
    pair = Pair(engine)
    echo, pair.b.handler, pair.b.stalled = pair.b.handler, None, True
    pair.a.call("echo", timeout_ms=30_000)
    pair.run(2_500 * MS)
    assert pair.a.view().stalled
    pair.b.handler, pair.b.stalled = echo, False
    (request,) = pair.b.requests
    request.take()
    request.reply()
    for _ in range(8):
        call = pair.a.call("echo")
        pair.run(100 * MS)
        assert call.status == "OK"
    assert not pair.a.view().stalled
