"""What the tests of the command line share: no key from outside, servers in processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import rudp

ROOT = Path(rudp.__file__).resolve().parent.parent
SERVER = """
import time

def add(a, b):
    return a + b

def fail():
    raise ValueError("on two\\nlines")

def pause(seconds):
    time.sleep(seconds)
    return "awake"

async def greet(name, *, loud=False):
    return {"hello": name, "data": b"abc"}
"""


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    for name in ("RUDP_KEY", "RUDP_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class Program:
    """A command that runs until it is told to stop."""

    process: subprocess.Popen[str]
    address: str
    said: str  # the first line

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Exit status and the rest of its output after a signal."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out


Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """Start ``rudp ARGUMENTS`` in its own folder and wait for the address it prints."""
    (tmp_path / "served.py").write_text(SERVER, encoding="utf-8")
    started = []

    def run(*arguments: str) -> Program:
        process = subprocess.Popen(
            [sys.executable, "-m", "rudp.cli", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        line = process.stdout.readline()
        assert line.startswith("listening on "), line + process.stdout.read()
        return Program(process, line.split()[2].rstrip(","), line)

    yield run
    for process in started:
        process.kill()
        process.communicate()
