"""An exception in the middle of a batch of events: are the others lost or repeated? Rule 9."""

from __future__ import annotations

import asyncio

import pytest

import rudp


def test_an_exception_in_one_event_loses_and_repeats_no_other():
    loop = asyncio.new_event_loop()
    seen = []

    async def begin():
        server, client = await rudp.Node().open(), await rudp.Node().open()

        def note(n):
            seen.append(n)
            if n == 2:
                raise KeyboardInterrupt
            return n

        server.register("note", note, inline=True)
        peer = client.peer(server.address)
        assert await peer.call("note", 0) == 0
        return server, client, peer

    async def finish(server, client, calls):
        results = await asyncio.gather(*calls, return_exceptions=True)
        await server.close()
        await client.close()
        return results

    server, client, peer = loop.run_until_complete(begin())
    calls = []
    loop.call_soon(lambda: calls.extend(peer.call("note", n) for n in range(1, 7)))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    results = loop.run_until_complete(finish(server, client, calls))
    loop.close()
    assert seen == list(range(7))
    assert results[:1] + results[2:] == [1, 3, 4, 5, 6]
    assert isinstance(results[1], rudp.RemoteError)
