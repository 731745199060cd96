"""send and receive: whole, resumed, several at once, refused, and on a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rudp
from rudp.cli.files import CHUNK, OPEN, PUT, digest_of
from rudp.cli.progress import Bars
from rudp.cli.receiving import Receiver
from rudp.cli.sending import send_files
from rudp.cli.session import Access, Failure

ROOT = Path(rudp.__file__).resolve().parent.parent


@pytest.fixture
def incoming(tmp_path):
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@contextlib.asynccontextmanager
async def receiving(folder, *, overwrite=False):
    receiver = Receiver(folder, overwrite=overwrite, bars=Bars())
    try:
        async with rudp.Node() as node:
            receiver.register(node)
            yield node.address
    finally:
        receiver.close()


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def make(path, size, seed=1):
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


async def test_files_arrive_equal_whatever_their_size(tmp_path, incoming, capsys):
    sizes = [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 17]
    files = [make(tmp_path / f"f{n}", size, n) for n, size in enumerate(sizes)]
    async with receiving(incoming) as address:
        await send_files(Access(), files, address)
    assert names(incoming) == [file.name for file in files]
    for file in files:
        assert (incoming / file.name).read_bytes() == file.read_bytes()


async def test_a_file_that_is_there_already_is_compared(tmp_path, incoming, capsys):
    file = make(tmp_path / "f", CHUNK + 5)
    async with receiving(incoming) as address:
        await send_files(Access(), [file], address)
        await send_files(Access(), [file], address)
        assert "is there already" in capsys.readouterr().out
        for size in (CHUNK + 5, CHUNK + 6):
            make(file, size, seed=2)
            with pytest.raises(Failure, match="exists at the receiver with another content"):
                await send_files(Access(), [file], address)
    async with receiving(incoming, overwrite=True) as address:
        await send_files(Access(), [file], address)
    assert (incoming / "f").read_bytes() == file.read_bytes()


async def test_only_what_is_missing_is_sent_again(tmp_path, incoming, capsys):
    file = make(tmp_path / "f", 3 * CHUNK)
    data = file.read_bytes()
    async with receiving(incoming) as address, rudp.Node() as node:
        peer = node.peer(address)
        there = await peer.call(OPEN, "f", len(data))
        first = data[:CHUNK]
        await peer.call(PUT, there["transfer"], 0, digest_of(first), bytearray(first))
    assert names(incoming) == ["f.part", "f.part.journal"]
    async with receiving(incoming) as address:  # another life of the receiver
        await send_files(Access(), [file], address)
    assert f"{CHUNK:,} of them were there" in capsys.readouterr().out
    assert (incoming / "f").read_bytes() == data
    assert names(incoming) == ["f"]


async def test_the_latest_sender_of_a_name_has_it(tmp_path, incoming):
    async with receiving(incoming) as address, rudp.Node() as node:
        peer = node.peer(address)
        old = await peer.call(OPEN, "f", 10)
        new = await peer.call(OPEN, "f", 10)
        put = (0, digest_of(b"0123456789"), b"0123456789")
        with pytest.raises(rudp.RemoteError, match="another sender"):
            await peer.call(PUT, old["transfer"], *put)
        await peer.call(PUT, new["transfer"], *put)


@pytest.mark.parametrize("arguments", [("../f", 1), ("f", -1), ("f", True), ("f", 1 << 60), (7, 1)])
async def test_what_a_receiver_refuses(incoming, arguments):
    async with receiving(incoming) as address, rudp.Node() as node:
        with pytest.raises(rudp.RemoteError, match=r"refused|must be a text"):
            await node.peer(address).call(OPEN, *arguments)
    assert names(incoming) == []


async def test_a_full_disk_is_told_on_both_sides(tmp_path, incoming, capsys, monkeypatch):
    file = make(tmp_path / "f", 100)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with receiving(incoming) as address:
        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(Failure, match=r"No space left on device: the receiver's disk is full"):
            await send_files(Access(), [file], address)
    assert "disk is full" in capsys.readouterr().out


def test_only_regular_files_are_sent(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    files = [str(tmp_path / "pipe"), "/dev/zero", "/proc/self/status"]
    command = [sys.executable, "-m", "rudp.cli", "send", *files, "127.0.0.1:1"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    for file in files:
        assert f"{file}: is not a regular file" in done.stderr


async def test_a_name_that_is_not_utf8_is_refused_before_anything_is_sent(tmp_path):
    file = make(tmp_path / os.fsdecode(b"caf\xe9"), 10)
    with pytest.raises(Failure, match="caf\ufffd: a name that is not UTF-8 cannot be sent"):
        await send_files(Access(), [file], "127.0.0.1:1")


def test_names_with_colons_are_printed_as_they_are(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if on a terminal
    with Bars() as bars:
        bars.say(":smile:.txt")
    assert ":smile:.txt" in capsys.readouterr().out


async def test_a_name_that_a_receiver_cannot_write_is_told_without_a_number(tmp_path, incoming):
    (incoming / "f.part").mkdir()
    os.mkfifo(incoming / "g.part")
    for name in ("f", "g"):
        file = make(tmp_path / name, 10)
        async with receiving(incoming) as address:
            with pytest.raises(Failure, match=f"{name}: cannot write {name}: "):
                await send_files(Access(), [file], address)


async def test_a_node_that_is_no_receiver(tmp_path):
    async with rudp.Node() as node:
        with pytest.raises(Failure, match="is no `rudp receive`"):
            await send_files(Access(), [make(tmp_path / "f", 10)], node.address)


def test_killed_in_the_middle_and_sent_again(tmp_path, incoming, start):
    size = 24 * CHUNK
    file = make(tmp_path / "f", size)
    receiver = start("receive", str(incoming))
    command = [sys.executable, "-m", "rudp.cli", "send", str(file), receiver.address]
    sender = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    journal = incoming / "f.part.journal"
    while sender.poll() is None and not (journal.exists() and journal.stat().st_size > 100):
        time.sleep(0.001)
    receiver.process.kill()  # the receiver first: the sender must say what happened, and end
    sender.communicate(timeout=60)
    assert sender.returncode in (0, 1)
    receiver = start("receive", str(incoming))
    command[-1] = receiver.address
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "were there" in done.stdout or "is there already" in done.stdout
    assert (incoming / "f").read_bytes() == file.read_bytes()
    status, out = receiver.stop(signal.SIGINT)
    assert status == 0
    assert "Traceback" not in out
