"""keygen and rotate: a new key for a running cluster, without a failed call."""

from __future__ import annotations

import asyncio
import contextlib
import stat

import pytest

import rudp
from rudp.admin import allow_rotation
from rudp.cli.rotating import rotate_cluster
from rudp.cli.session import Access, Failure
from tests.command import run


@pytest.fixture
def keys(tmp_path):
    files = [tmp_path / "old.key", tmp_path / "new.key"]
    for file in files:
        assert run(["keygen", str(file)]) == 0
    return files


def test_keygen_writes_a_key_for_its_owner_only(keys, capsys):
    old, new = keys
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert rudp.load_key(old) != rudp.load_key(new)
    assert run(["keygen", str(old)]) == 1
    assert "not overwritten" in capsys.readouterr().err


@contextlib.asynccontextmanager
async def cluster(key, count=3):
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for _ in range(count):
            node = await stack.enter_async_context(rudp.Node(key=key))
            node.register("echo", lambda value: value, inline=True)
            allow_rotation(node)
            nodes.append(node)
        yield nodes


async def test_a_cluster_rotates_under_load(keys, capsys):
    old, new = keys
    async with cluster(old) as nodes:
        addresses = [node.address for node in nodes]
        rotating = True
        calls = 0
        enough = asyncio.Event()

        async def load(node, address):
            nonlocal calls
            while rotating:
                assert await node.peer(address).call("echo", calls) is not None
                calls += 1
                if calls % 1000 == 0:
                    enough.set()

        pairs = [(a, b.address) for a in nodes for b in nodes if a is not b]
        tasks = [asyncio.create_task(load(*pair)) for pair in pairs]
        await rotate_cluster(Access(old), new, addresses, timeout=10.0, settle=2.0)
        enough.clear()  # and the new key carries on
        waiting = asyncio.create_task(enough.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        rotating = False
        await asyncio.gather(*tasks)

        async with rudp.Node(key=new) as stranger:
            assert await stranger.peer(addresses[0]).call("echo", 1) == 1
        async with rudp.Node(key=old) as stranger:
            with pytest.raises((rudp.Unreachable, rudp.DeadlineExceeded)):
                await stranger.peer(addresses[0]).call("echo", 1, timeout=0.5)
    assert "rotated" in capsys.readouterr().out


async def test_a_rotation_that_broke_off_is_run_again(keys, capsys):
    old, new = keys
    async with cluster(old, 2) as nodes:
        addresses = [node.address for node in nodes]
        with pytest.raises(Failure, match=r"learn failed at 127\.0\.0\.1:1.*run it again"):
            await rotate_cluster(
                Access(old), new, [*addresses, "127.0.0.1:1"], timeout=1.0, settle=0.0
            )
        nodes[0].rotate(rudp.load_key(new))  # the worst place to break off
        await rotate_cluster(Access(old), new, addresses, timeout=10.0, settle=0.0)
        async with rudp.Node(key=new) as node:
            for address in addresses:
                assert await node.peer(address).call("echo", 1) == 1


async def test_a_rotation_that_is_interrupted_says_what_to_do(keys, capsys):
    old, new = keys
    async with cluster(old, 1) as nodes:
        addresses = [nodes[0].address]
        rotation = rotate_cluster(Access(old), new, addresses, timeout=10.0, settle=3600.0)
        task = asyncio.create_task(rotation)
        out = ""
        while "waiting" not in out:
            await asyncio.sleep(0.01)
            out += capsys.readouterr().out
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "switch: done on 1 node\n" in out
        assert "run it again" in capsys.readouterr().err


async def test_a_node_that_does_not_allow_it(keys):
    old, new = keys
    async with rudp.Node(key=old) as node:
        with pytest.raises(Failure, match="does not allow rotation"):
            await rotate_cluster(Access(old), new, [node.address], timeout=5.0, settle=0.0)


async def test_a_rotation_needs_two_keys(keys):
    old, _ = keys
    with pytest.raises(rudp.ConfigError, match="needs --key"):
        await rotate_cluster(Access(), old, ["127.0.0.1:1"], timeout=1.0, settle=0.0)
    with pytest.raises(rudp.ConfigError, match="is the present one"):
        await rotate_cluster(Access(old), old, ["127.0.0.1:1"], timeout=1.0, settle=0.0)
