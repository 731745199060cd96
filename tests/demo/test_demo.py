"""The demo itself, small: its verdict, its exit status, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rudp

ROOT = Path(rudp.__file__).resolve().parent.parent
SMALL = ("--size", "32", "--seconds", "0.5")


def demo(*arguments, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "rudp.demo", *SMALL, *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children_of(parent):
    """The processes that the demo itself started, and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        ours = words[-2:-1] == [str(parent).encode()] and b"rudp.demo." in b" ".join(words)
        if ours and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until(condition):
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()


@pytest.mark.parametrize("arguments", [("--clean", "--plain"), ("--clean",), ("--plain",), ()])
def test_every_call_once_and_every_byte_right(arguments, tmp_path):
    running = demo(*arguments, folder=tmp_path)
    out, error = running.communicate(timeout=150)
    assert (running.returncode, error) == (0, ""), out + error
    assert "each handled exactly once; 24 chunks, every digest equal" in out
    assert ("connections cut" in out) == ("--clean" not in arguments)
    assert children_of(running.pid) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("children", [0, 1, 4])
def test_interrupted_at_any_moment_it_leaves_nothing(number, children, tmp_path):
    running = demo("--seconds", "60", folder=tmp_path)
    wait_until(lambda: len(children_of(running.pid)) >= children)
    if children == 0:
        time.sleep(0.5)  # inside its imports, or a little later
    running.send_signal(number)
    out, error = running.communicate(timeout=60)
    # While Python imports the package, nobody but Python itself can answer a signal.
    if children or running.returncode != -number:
        assert running.returncode == 130, out + error
        assert error == "demo: interrupted; its processes have ended and nothing is left\n"
    assert children_of(running.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_killed_it_takes_its_processes_along(tmp_path):
    running = demo("--seconds", "60", folder=tmp_path)
    wait_until(lambda: len(children_of(running.pid)) == 4)
    running.kill()
    running.communicate(timeout=60)
    wait_until(lambda: children_of(running.pid) == [])
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_dies_fails_the_demo(tmp_path):
    running = demo("--seconds", "60", folder=tmp_path)
    wait_until(lambda: len(children_of(running.pid)) == 4)
    os.kill(children_of(running.pid)[0], signal.SIGKILL)
    out, error = running.communicate(timeout=60)
    assert running.returncode == 1, out + error
    assert "demo: " in error
    assert "Traceback" not in error
    assert children_of(running.pid) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--size", "5"),
        ("--size", "0"),
        ("--seconds", "0"),
        ("--outstanding", "0"),
        ("--seed", "-1"),
    ],
)
def test_a_wrong_argument_is_status_2(arguments, tmp_path):
    running = demo(*arguments, folder=tmp_path)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 2
    assert arguments[0] in error
