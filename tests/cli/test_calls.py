"""serve, call, ping and bench, from what is typed to what is printed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import rudp
from rudp.cli.calling import parse_argument, percentile, render
from tests.command import run

ROOT = Path(rudp.__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2.5", -2.5),
        ("null", None),
        ("true", True),
        ('"3"', "3"),
        ("[1, {}]", [1, {}]),
        ("three", "three"),
        ("", ""),
        ("NaN", "NaN"),
        ("[NaN]", "[NaN]"),
        ("{1}", "{1}"),
    ],
)
def test_an_argument_is_json_or_a_text(text, value):
    assert parse_argument(text) == value


def test_results_that_json_does_not_know():
    assert json.loads(render({"a": b"xyz"})) == {"a": "<3 bytes: 78797a>"}
    assert render(memoryview(bytes(100))) == f'"<100 bytes: {"00" * 64}...>"'
    assert json.loads(render(np.arange(3))) == [0, 1, 2]
    assert "float64 (2000,)" in render(np.zeros(2000))
    assert json.loads(render([{b"k": {None: {b"l": 1}}, 2: 3}])) == [
        {"<1 bytes: 6b>": {"null": {"<1 bytes: 6c>": 1}}, "2": 3}
    ]


def test_percentiles_are_of_the_nearest_rank():
    numbers = list(range(1, 101))
    assert [percentile(numbers, p) for p in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7], 50) == 7


def test_calls_of_a_served_module(start, capsys):
    server = start("serve", "served")
    assert run(["call", server.address, "add", "2", "-3"]) == 0
    assert run(["call", server.address, "add", "x", "y", "--raw"]) == 0
    assert run(["call", server.address, "greet", "you"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("-1\nxy")
    assert json.loads(out.removeprefix("-1\nxy")) == {"hello": "you", "data": "<3 bytes: 616263>"}

    for arguments, words in (
        (["fail"], "raised ValueError: on two lines"),
        (["nothing"], "no such method"),
        (["pause", "1", "--timeout", "0.1"], "may have run"),
        (["add", "1"], "TypeError"),
    ):
        assert run(["call", server.address, *arguments]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert words in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_stops_without_a_traceback(start, number):
    status, out = start("serve", "served:add").stop(number)
    assert (status, out) == (0, "closing: running handlers may finish, for 5 s\n")


def test_a_stopping_server_finishes_what_runs(start, tmp_path):
    (tmp_path / "marking.py").write_text(
        "import pathlib, time\n"
        "def mark(name):\n    pathlib.Path(name).touch()\n    time.sleep(1)\n    return 'done'\n",
        encoding="utf-8",
    )
    server = start("serve", "marking")
    marked = tmp_path / "marked"
    call = subprocess.Popen(
        [sys.executable, "-m", "rudp.cli", "call", server.address, "mark", str(marked)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not marked.exists() and call.poll() is None:
        time.sleep(0.01)
    assert server.stop()[0] == 0
    assert call.communicate(timeout=60)[0] == '"done"\n'
    assert call.returncode == 0


def test_ping_counts_what_comes_back(start, capsys):
    server = start("serve", "served")
    assert run(["ping", server.address, "-c", "3", "-i", "0.01"]) == 0
    out = capsys.readouterr().out
    assert out.count("answered in") == 3
    assert "3 pings, 3 answered, 0% unanswered" in out
    assert "is up" in out
    assert "min/avg/p50/p99/max" in out


def test_ping_of_nobody_fails(capsys):
    assert run(["ping", "127.0.0.1:1", "-c", "1"]) == 1
    out, error = capsys.readouterr()
    assert "1 pings, 0 answered, 100% unanswered" in out
    assert error == "rudp: no answer from 127.0.0.1:1\n"


@pytest.mark.parametrize("size", ["0", "64", "100000"])
def test_bench_prints_its_numbers(start, capsys, size):
    server = start("serve", "--bench")
    assert run(["bench", server.address, "--seconds", "0.2", "--size", size]) == 0
    out = capsys.readouterr().out
    for words in ("calls/s", "p50", "p99", "CPU"):
        assert words in out


def test_bench_says_what_the_other_side_lacks(start, capsys):
    server = start("serve", "served")
    assert run(["bench", server.address, "--seconds", "0.1"]) == 1
    assert "rudp serve --bench" in capsys.readouterr().err
