"""Every wrong argument: one clear line, exit status 2."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.command import run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["--frobnicate"], "No such option"),
        (["call"], "Missing argument"),
        (["call", "127.0.0.1", "add"], "not of the form host:port"),
        (["call", "::1:7400", "add"], "write an IPv6 address as"),
        (["call", "127.0.0.1:99999", "add"], "between 0 and 65535"),
        (["call", "127.0.0.1:1", "add", "--timeout", "0"], "--timeout"),
        (["call", "127.0.0.1:1", "add", "--timeout", "soon"], "--timeout"),
        (["call", "127.0.0.1:1", "add", "--timeout", "nan"], "'--timeout': nan is not a finite"),
        (["bench", "127.0.0.1:1", "--seconds", "inf"], "'--seconds': inf is not a finite"),
        (["rotate", __file__, "127.0.0.1:1", "--settle", "inf"], "'--settle': inf is not a"),
        (["ping", "127.0.0.1:1", "-c", "0"], "--count"),
        (["ping", "127.0.0.1:1", "-i", "-1"], "--interval"),
        (["serve"], "--bench"),
        (["serve", ":x"], "MODULE"),
        (["serve", "no_such_module_at_all"], "no module"),
        (["serve", "json:nothing"], "no 'nothing'"),
        (["serve", "math:pi"], "no public function"),
        (["serve", __file__], "is a file: name the module"),
        (["serve", "json", "--rotation"], "--rotation needs a key"),
        (["serve", "--bench", "--listen", "0.0.0.0:0"], "--key FILE, or --insecure"),
        (["send", "no-such-file", "127.0.0.1:1"], "no-such-file"),
        (["send", "127.0.0.1:1"], "Missing argument 'FILE...'"),
        (["send", __file__], "'ADDRESS': address"),
        (["call", "192.0.2.1:1", "add"], "192.0.2.1:1 is not loopback"),
        (["receive", "no-such-folder"], "no-such-folder"),
        (["bench", "127.0.0.1:1", "--size", "-1"], "--size"),
        (["bench", "127.0.0.1:1", "--outstanding", "0"], "--outstanding"),
        (["rotate", __file__], "Missing argument"),
        (["rotate", __file__, "127.0.0.1:1"], "key file"),
        (["--key", "no-such-key", "ping", "127.0.0.1:1"], "no-such-key"),
        (["--key", __file__, "ping", "127.0.0.1:1"], "key file"),
    ],
)
def test_a_wrong_argument_is_named_in_one_line(arguments, words, capsys):
    assert run(arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("rudp: ")
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["call", "127.0.0.1:1", "add"], "nothing listens"),
        (["call", "no-such-host.invalid:1", "add"], "does not resolve"),
        (["bench", "127.0.0.1:1"], "nothing listens"),
        (["send", __file__, "127.0.0.1:1"], "nothing listens"),
        (["keygen", __file__], "not overwritten"),
        (["keygen", "no-such-folder/key"], "No such file"),
    ],
)
def test_a_failure_is_one_line_and_status_1(arguments, words, capsys):
    assert run(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize("name", ["RUDP_KEY", "RUDP_KEY_FILE"])
def test_a_wrong_key_in_the_environment(name, monkeypatch, capsys):
    monkeypatch.setenv(name, "nothing-of-the-kind")
    assert run(["ping", "127.0.0.1:1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "key" in error.lower()
    assert run(["--insecure", "ping", "127.0.0.1:1", "-c", "1"]) == 1


def test_no_line_of_the_overview_is_cut_off(capsys):
    assert run(["--help"]) == 0
    assert "..." not in capsys.readouterr().out.replace("[ARGS]...", "")


def test_the_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rudp ")


@pytest.mark.parametrize(
    "command",
    ["serve", "call", "ping", "send", "receive", "bench", "keygen", "rotate"],
)
def test_every_command_has_help(command, capsys):
    assert run([command, "--help"]) == 0
    assert "Usage: rudp" in capsys.readouterr().out


def test_a_missing_library_is_named():
    code = "import sys; sys.modules['click'] = None; from rudp.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "rudp: click is missing: pip install 'rudp[cli]'\n"
