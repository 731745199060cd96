"""What can somebody without the key do, on the path or anywhere? See docs/security.md."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import socket

import pytest

import rudp
from tests.wiretap import SECOND, A, B, Said, Tap, host_port, say_again

CIPHERS = ["aes-256-gcm", "chacha20-poly1305"]
KEY = bytes(range(32))
SECRET = b"attack at dawn, by the river"
BIG = SECRET * 10_000


@dataclasses.dataclass
class Member:
    """A node and the journal of its handler."""

    node: rudp.Node
    ran: list[int] = dataclasses.field(default_factory=list)


@contextlib.asynccontextmanager
async def member(key=KEY, address="127.0.0.1:0", **options):
    async with rudp.Node(address, key=key, **options) as node:
        made = Member(node)
        node.register("note", lambda number, what=b"": (made.ran.append(number), what)[1])
        yield made


async def converse(tap, a: Member, b: Member, what: bytes = BIG) -> None:
    """Small and big calls, there and back."""
    there, back = a.node.peer(tap.address(B)), b.node.peer(tap.address(A))
    for number in range(3):
        assert await there.call("note", number, SECRET) == SECRET
        assert await back.call("note", number, SECRET) == SECRET
    assert await there.call("note", 10, what) == what
    assert await back.call("note", 10, what) == what


# ---- secrecy ----


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("udp", [True, False], ids=["udp", "tcp-only"])
async def test_nothing_readable_is_on_the_wire(cipher, udp):
    """Packets, lanes, and packets over TCP."""
    config = rudp.Config(cipher=cipher, udp=udp)
    async with member(config=config) as a, member(config=config) as b:
        with Tap(a.node.address, b.node.address) as tap:
            await converse(tap, a, b)
        for said in tap.said:
            assert udp == bool(said.datagrams)
            assert sum(map(len, said.streams)) > len(BIG)
            for needle in (SECRET, b"note", KEY, SECRET[:8]):
                assert not said.contains(needle)
        assert a.ran == b.ran == [0, 1, 2, 10]


async def test_without_a_key_the_same_search_finds_it():
    """The search works: plaintext mode hides nothing, and does not say so either."""
    async with member(None) as a, member(None) as b:
        with Tap(a.node.address, b.node.address) as tap:
            await converse(tap, a, b)
        for said in tap.said:
            assert any(SECRET in datagram for datagram in said.datagrams)
            assert any(SECRET in stream for stream in said.streams)
            assert said.contains(b"note")


async def test_nodes_with_different_ciphers_only_do_not_talk():
    """K3: nothing is chosen that one side has not offered."""
    first, second = (rudp.Config(cipher=cipher) for cipher in CIPHERS)
    async with member(config=first) as a, member(config=second) as b:
        with pytest.raises(rudp.Unreachable):
            await a.node.peer(b.node.address).call("note", 1, timeout=30)
        assert b.ran == []


# ---- replay ----


async def recorded(a: Member, b: Member) -> tuple[Said, Said]:
    with Tap(a.node.address, b.node.address) as tap:
        await converse(tap, a, b)
        return tap.said


async def test_a_conversation_said_again_at_once_runs_nothing():
    """K4, K8: neither while the session lives, nor to its tombstone; no byte comes back."""
    async with member() as b:
        async with member() as a:
            said = await recorded(a, b)
            for side, to in ((A, b), (B, a)):
                answers, heard = await asyncio.to_thread(
                    say_again, said[side], host_port(to.node.address)
                )
                assert (answers, heard) == ([], b"")
            assert a.ran == b.ran == [0, 1, 2, 10]
        answers, heard = await asyncio.to_thread(say_again, said[A], host_port(b.node.address))
        assert (answers, heard) == ([], b"")
        assert b.ran == [0, 1, 2, 10]
        dropped = b.node.statistics().dropped
        assert dropped["hello_replay"] > 0
        assert dropped["replay"] + dropped["late"] > 0


async def test_a_conversation_said_again_after_a_restart_runs_nothing():
    """K4, K5: one message 2 per captured message 1 is all that a new life may say."""
    async with member() as a, member() as b:
        said = await recorded(a, b)
        addresses = [one.node.address for one in (a, b)]
    for side, address in ((A, addresses[1]), (B, addresses[0])):
        async with member(address=address) as again, member() as other:
            answers, heard = await asyncio.to_thread(say_again, said[side], host_port(address))
            seconds = sum(answer[0] == SECOND for answer in answers)
            assert seconds == len(answers)
            assert heard.count(bytes([SECOND, 1, 1, 0])) * 1202 >= len(heard)
            assert seconds + len(heard) / 1202 <= said[side].firsts
            assert again.ran == []
            assert again.node.statistics().requests == 0
            assert await other.node.peer(address).call("note", 5, b"x") == b"x"


# ---- strangers ----


async def test_a_wrong_key_is_named_on_both_sides_and_disturbs_nobody(caplog):
    """K10: the caller learns what was seen, the acceptor says once who knocked."""
    async with member() as a, member() as b, member(secrets.token_bytes(32)) as wrong:
        peer = a.node.peer(b.node.address)
        await peer.call("note", 0)
        dial = asyncio.create_task(
            wrong.node.peer(b.node.address).call("note", 99, timeout=30), name="wrong"
        )
        calls = 1
        while not dial.done():
            await peer.call("note", calls)
            calls += 1
            await asyncio.sleep(0.01)
        with pytest.raises(rudp.Unverified, match="does not verify: wrong key") as caught:
            await dial
        assert caught.value.outcome is rudp.Outcome.NO
        assert b.node.address in str(caught.value)
        assert b.ran == list(range(calls))
        assert b.node.statistics().dropped["hello_unverified"] > 1
        assert a.node.statistics().sessions_ended == 0
    lines = [r.getMessage() for r in caplog.records if "unverified handshake" in r.getMessage()]
    assert len(lines) == 1
    assert "from 127.0.0.1:" in lines[0]


@pytest.mark.parametrize("caller_has_it", [True, False], ids=["keyed calls", "plain calls"])
async def test_no_mode_answers_the_other(caplog, caller_has_it):
    """K11: neither a downgrade nor an upgrade."""
    keys = (KEY, None) if caller_has_it else (None, KEY)
    async with member(keys[0]) as a, member(keys[1]) as b:
        with pytest.raises(rudp.Unverified):
            await a.node.peer(b.node.address).call("note", 1, timeout=30)
        assert b.ran == []
        assert b.node.statistics().sessions_made == 0
    assert "unverified handshake from 127.0.0.1:" in caplog.text


async def test_another_service_at_the_port_is_named_too():
    """K10: something there accepts TCP and does not speak as we do."""

    async def serve(reader, writer):
        writer.write(b"220 mail.example.org ESMTP\r\n")
        await reader.read(100)
        writer.close()

    async with member() as a:
        other = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with other:
            port = other.sockets[0].getsockname()[1]
            with pytest.raises(rudp.Unverified, match="another service"):
                await a.node.peer(f"127.0.0.1:{port}").call("note", 1, timeout=30)


def forgeries(genuine: list[bytes], count: int):
    """Altered, cut, joined and invented ones."""
    for number in range(count):
        one = bytearray(genuine[number % len(genuine)])
        kind = number % 4
        if kind == 0:
            one[secrets.randbelow(len(one))] ^= 1 << secrets.randbelow(8)
        elif kind == 1:
            one = one[: secrets.randbelow(len(one))]
        elif kind == 2:
            one = one[:2] + secrets.token_bytes(len(one) - 2)
        yield bytes(one)  # and kind 3: as it was


async def test_a_flood_earns_no_byte_and_stops_nobody():
    """K4, K6: forged, cut, altered and replayed datagrams while members call each other."""
    async with member() as a, member() as b:
        said = await recorded(a, b)
        peer = a.node.peer(b.node.address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
            flood.connect(host_port(b.node.address))
            flood.setblocking(False)
            for number, forged in enumerate(forgeries(said[A].datagrams, 4000)):
                with contextlib.suppress(BlockingIOError):
                    flood.send(forged)
                if number % 20 == 0:
                    assert await peer.call("note", 100, number.to_bytes(2)) == number.to_bytes(2)
            async with member() as late:
                assert await late.node.peer(b.node.address).call("note", 7, b"late") == b"late"
            with pytest.raises(BlockingIOError):
                flood.recv(2048)
        dropped = b.node.statistics().dropped
        assert dropped["hello_unverified"] > 0
        assert dropped["tag"] + dropped["session"] > 0
        assert dropped["short"] > 0


async def test_connections_that_lead_nowhere_are_closed_without_a_byte():
    """M4: silent, garbage, a stranger's handshake, a replayed hello, and too many of them."""
    async with member() as a, member() as b:
        said = await recorded(a, b)
        where = host_port(b.node.address)
        prefix = (1200).to_bytes(2, "little")
        begun = [b"", b"\xb0", b"\0\0", os.urandom(9000), prefix + b"\x11" + os.urandom(1199)]
        begun += [bytes(stream) for stream in said[A].streams]
        begun += [b""] * 300

        async def hear(content):
            reader, writer = await asyncio.open_connection(*where)
            with contextlib.suppress(OSError):
                writer.write(content)
            heard = b""
            with contextlib.suppress(OSError):
                heard = await reader.read()  # until it is closed
            writer.close()
            return heard

        async with asyncio.timeout(120):
            assert set(await asyncio.gather(*map(hear, begun))) == {b""}
        dropped = b.node.statistics().dropped
        assert dropped["stranger_limit"] > 0
        assert dropped["stranger_slow"] > 0
        assert await a.node.peer(b.node.address).call("note", 1, BIG) == BIG


# ---- rotation ----


async def test_three_nodes_rotate_under_load_and_no_call_fails(wait):
    """K9: two keys accepted, one offered; each step on all nodes before the next."""
    old, new = rudp.generate_key(), rudp.generate_key()
    async with member(old) as a, member(old) as b, member(old) as c:
        members, going, done = (a, b, c), True, 0

        async def load(caller, called):
            nonlocal done
            peer = caller.node.peer(called.node.address)
            while going:
                body = BIG if done % 500 == 0 else b"x"
                assert await peer.call("note", 1, body) == body
                done += 1

        tasks = [
            asyncio.create_task(load(caller, called))
            for caller in members
            for called in members
            if caller is not called
        ]

        async def more(count):
            goal = done + count
            await wait(lambda: done >= goal or any(task.done() for task in tasks))

        await more(500)
        for keys in ((old, new), (new, old), (new, None)):
            for one in members:
                one.node.rotate(keys[0], other_key=keys[1])
                await more(100)
            if keys == (new, old):  # what still runs in drained sessions may end
                await asyncio.sleep(1)
            await more(300)
        going = False
        await asyncio.gather(*tasks)
        assert sum(one.node.statistics().sessions_made for one in members) > 6
        async with member(new) as fresh:
            assert await fresh.node.peer(a.node.address).call("note", 1, b"new") == b"new"


async def test_dropping_a_key_ends_its_sessions_and_no_others():
    """K9: also towards a node that was left behind."""
    old, new = rudp.generate_key(), rudp.generate_key()
    async with member(old) as server, member(old) as behind, member(new) as ahead:
        peer = behind.node.peer(server.node.address)
        assert await peer.call("note", 1, b"a") == b"a"
        server.node.rotate(old, other_key=new)
        other = ahead.node.peer(server.node.address)
        assert await other.call("note", 2, b"b") == b"b"
        assert await peer.call("note", 3, b"c") == b"c"
        server.node.rotate(new)
        with pytest.raises(rudp.CallError) as caught:
            await peer.call("note", 4, timeout=30)
        assert caught.value.outcome is not rudp.Outcome.YES
        assert await other.call("note", 5, b"d") == b"d"
        assert server.ran == [1, 2, 3, 5]
        assert ahead.node.statistics().sessions_ended == 0


async def test_a_plaintext_node_has_nothing_to_rotate():
    async with member(None) as a:
        with pytest.raises(rudp.ConfigError, match="without a key"):
            a.node.rotate(KEY)


async def test_a_deadline_that_ends_before_the_dial_says_what_is_known() -> None:
    """K10: with two seconds for a call nobody waits for the verdict of a dial, which takes five."""
    async with (
        rudp.Node("127.0.0.1:0", key=bytes(32)) as ours,
        rudp.Node("127.0.0.1:0", key=bytes(range(32))) as theirs,
    ):
        peer = ours.peer(theirs.address)
        with pytest.raises(rudp.DeadlineExceeded, match=r"; not connected yet$"):
            await peer.call("echo", timeout=0.2)
        with pytest.raises(rudp.DeadlineExceeded, match=r"not connected yet: .* wrong key") as end:
            await peer.call("echo", timeout=2)
        assert end.value.outcome is rudp.Outcome.NO
        assert "wrong key" in peer.view().reason
