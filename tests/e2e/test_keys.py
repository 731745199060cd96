"""Where may a key come from, what needs one, and what becomes of it after a fork?"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import rudp

KEY = rudp.generate_key()


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "cluster.key"
    rudp.write_key(file, KEY)
    return file


@pytest.fixture
def environment(monkeypatch):
    for name in ("RUDP_KEY", "RUDP_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


# ---- where from ----


@pytest.mark.parametrize("form", ["bytes", "digits", "text", "path", "RUDP_KEY", "RUDP_KEY_FILE"])
async def test_the_same_key_in_every_form(environment, key_file, form):
    """As an argument, a file, or in the environment."""
    key = {"bytes": KEY, "digits": KEY.hex(), "text": str(key_file), "path": key_file}.get(form)
    if key is None:
        environment.setenv(form, KEY.hex() if form == "RUDP_KEY" else str(key_file))
    async with rudp.Node(key=KEY) as server, rudp.Node(key=key) as client:
        server.register("echo", lambda value: value, inline=True)
        assert await client.peer(server.address).call("echo", form) == form


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o660, 0o602])
def test_a_key_file_that_others_may_use_is_refused(key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(rudp.ConfigError, match=rf"mode {mode:04o}.*chmod 600"):
        rudp.load_key(key_file)


def test_a_key_file_of_its_owner_is_read(key_file):
    for mode in (0o600, 0o400):
        key_file.chmod(mode)
        assert rudp.load_key(key_file) == KEY


def test_a_group_may_read_what_root_has_written(key_file):
    key_file.chmod(0o640)
    if key_file.stat().st_uid == 0:
        assert rudp.load_key(key_file) == KEY
    else:
        with pytest.raises(rudp.ConfigError, match="0640"):
            rudp.load_key(key_file)


@pytest.mark.parametrize(
    "wrong",
    [KEY.hex()[:-1], KEY.hex() + "0", KEY.hex()[:-2], KEY[:-1]],
    ids=["digit short", "digit long", "byte short", "bytes short"],
)
def test_a_mistyped_key_is_not_shown(wrong):
    with pytest.raises(rudp.ConfigError) as caught:
        rudp.load_key(wrong)
    assert KEY.hex()[:16] not in str(caught.value)


def test_a_file_without_a_key_is_not_shown_either(key_file):
    key_file.write_text("correct horse battery staple\n")
    with pytest.raises(rudp.ConfigError, match="64 hexadecimal digits") as caught:
        rudp.load_key(key_file)
    assert "horse" not in str(caught.value)


@pytest.mark.parametrize("name", ["RUDP_KEY", "RUDP_KEY_FILE"])
def test_a_bad_environment_is_an_error_and_not_plaintext(environment, name):
    environment.setenv(name, "nonsense")
    with pytest.raises(rudp.ConfigError):
        rudp.Node()


# ---- what needs one ----


async def test_without_a_key_other_addresses_need_a_word_which_is_said_once(environment, script):
    for address in ("0.0.0.0:0", "[::]:0"):
        with pytest.raises(rudp.ConfigError, match="insecure=True"):
            await rudp.Node(address).open()
    ended = script(
        """
import asyncio, logging, os, sys, rudp
os.environ.pop("RUDP_KEY", None)
logging.basicConfig(stream=sys.stdout)
async def main():
    for _ in range(3):
        async with rudp.Node("0.0.0.0:0", insecure=True):
            pass
asyncio.run(main())
"""
    )
    assert ended.stdout.count("without a key: anyone may call it") == 1, ended.stderr


async def test_with_a_key_any_address_is_fine():
    async with rudp.Node("0.0.0.0:0", key=KEY) as node:
        assert node.is_open


def test_pickle_is_said_once_in_the_log(script):
    ended = script(
        """
import asyncio, logging, sys, rudp
logging.basicConfig(stream=sys.stdout)
async def main():
    async with rudp.Node(key=bytes(32)) as node:
        node.register("one", print, pickle=True)
        node.register("two", print, pickle=True)
asyncio.run(main())
"""
    )
    assert ended.stdout.count("accepts pickle: members can run any code here") == 1, ended.stderr


async def test_a_breach_of_a_limit_names_it_on_both_sides(caplog):
    """The sender's error and the receiver's log; the refused caller hears that nothing ran."""
    small = rudp.Config(max_depth=3, max_items=64)
    deep, many = [[[[[1]]]]], list(range(100))
    async with rudp.Node(key=KEY, config=small) as server, rudp.Node(key=KEY) as client:
        server.register("echo", lambda value: value, inline=True)
        peer, narrow = client.peer(server.address), server.peer(client.address)
        for value, limit in ((deep, "max_depth"), (many, "max_items")):
            with pytest.raises(rudp.LimitExceeded, match=rf"Config\.{limit}") as caught:
                await narrow.call("echo", value)
            assert caught.value.limit == limit
            caplog.clear()
            with caplog.at_level(logging.WARNING), pytest.raises(rudp.BadRequest) as refused:
                await peer.call("echo", value)
            assert refused.value.outcome is rudp.Outcome.NO
            assert f"Config.{limit}" in caplog.text


# ---- the library, and forks ----


def test_there_is_one_libcrypto_in_the_process(script):
    """The one that CPython's ssl and hashlib use."""
    ended = script(
        """
import ssl, hashlib, _hashlib, asyncio, rudp
async def main():
    async with rudp.Node(key=bytes(32)) as a, rudp.Node(key=bytes(32)) as b:
        a.register("echo", lambda value: value, inline=True)
        assert await b.peer(a.address).call("echo", 1) == 1
    paths = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
    print(*sorted(path for path in paths if "crypto" in path.rpartition("/")[2]), sep="\\n")
asyncio.run(main())
"""
    )
    loaded = [Path(line).name for line in ended.stdout.split()]
    assert len([name for name in loaded if name.startswith("libcrypto")]) == 1, ended


FORK = """
import asyncio, os, struct, sys
import rudp
from tests.wiretap import A, B, Tap

async def child_of(peer, node):
    pid = os.fork()
    if pid == 0:
        found = set()
        uses = [node.statistics, lambda: peer.call("echo", 2), lambda: node.rotate(bytes(32))]
        for use in uses * 100:
            try:
                use()
            except rudp.ForkedError:
                found.add("ForkedError")
            except BaseException as error:
                found.add(repr(error))
        os._exit(found != {"ForkedError"})
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        await asyncio.sleep(0.01)

async def main():
    key = os.urandom(32)
    async with rudp.Node(key=key) as server, rudp.Node(key=key) as client:
        @server.method
        async def echo(value):
            await asyncio.sleep(0.005)
            return value
        with Tap(client.address, server.address) as tap:
            peer = client.peer(tap.address(B))
            await peer.call("echo", 0)
            calls = [asyncio.ensure_future(peer.call("echo", n)) for n in range(50)]
            calls.append(asyncio.ensure_future(peer.call("echo", bytes(1 << 20))))
            await asyncio.sleep(0.01)
            print(await child_of(peer, client), await child_of(peer, client))
            results = await asyncio.gather(*calls)
            assert results[:50] == list(range(50)) and len(results[50]) == 1 << 20
            for n in range(20):
                assert await peer.call("echo", n) == n
            for said in tap.said:
                packets = [d for d in said.datagrams if d[0] & 0xF0 == 0x20]
                nonces = [d[2:18] for d in packets]
                assert len(nonces) == len(set(nonces))
                assert len(nonces) > 20
asyncio.run(main())
print("end")
"""


def test_a_fork_in_mid_call_seals_nothing(script):
    """K2: the child hears ForkedError, the wire sees no number twice, the parent goes on."""
    ended = script(FORK)
    assert ended.stdout == "0 0\nend\n", ended.stderr
