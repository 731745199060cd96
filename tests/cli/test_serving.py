"""What a module or an object offers to callers."""

from __future__ import annotations

import asyncio
import types

import click
import pytest

import rudp
from rudp.cli.serving import add_methods, load, methods_of
from tests.command import run


def one():
    return 1


class Counter:
    def __init__(self):
        self.count = 0

    def up(self):
        self.count += 1
        return self.count

    def _hidden(self):
        return None


def test_a_table_a_function_and_an_instance():
    assert methods_of({"a": one}) == {"a": one}
    assert methods_of(one) == {"one": one}
    assert list(methods_of(Counter())) == ["up"]


def test_a_module_offers_its_own_public_functions_only():
    module = types.ModuleType("mine")
    module.one, module.load = one, load
    module._hidden = one
    one.__module__, before = "mine", one.__module__
    try:
        assert methods_of(module) == {"one": one}
    finally:
        one.__module__ = before


def test_what_offers_nothing_is_refused():
    for found in (types.ModuleType("empty"), 3, {"a": 1}):
        with pytest.raises(click.UsageError):
            methods_of(found)


async def test_a_class_is_made_and_a_registering_function_is_called():
    def register(node):
        node.register("mine", one)

    async def register_later(node):
        await asyncio.sleep(0)
        node.register("later", one)

    async with rudp.Node() as server, rudp.Node() as client:
        assert await add_methods(server, Counter, "") == ["up"]
        assert await add_methods(server, register, "") == []
        assert await add_methods(server, register_later, "") == []
        peer = client.peer(server.address)
        assert [await peer.call("up"), await peer.call("up"), await peer.call("mine")] == [1, 2, 1]
        assert await peer.call("later") == 1


def test_what_is_served_is_printed(start):
    program = start("serve", "served")
    assert program.said == f"listening on {program.address}, serving add, fail, greet, pause\n"


def test_a_module_that_fails_says_why(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_served.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "needs_served.py").write_text("import no_such_thing_here\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "broken_served"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert run(["serve", "needs_served"]) == 1
    assert "needs 'no_such_thing_here'" in capsys.readouterr().err


FAILING = """
class Fails:
    def __init__(self):
        raise OSError("no disk")

class Half:
    @property
    def hidden(self):
        return 1 / 0

half = Half()

def setup(node):
    raise ValueError("on two\\nlines")

async def later(node):
    raise KeyError("k")
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Fails", "OSError: no disk"),
        ("half", "ZeroDivisionError: division by zero"),
        ("half.hidden", "ZeroDivisionError: division by zero"),
        ("setup", "ValueError: on two lines"),
        ("later", "KeyError: 'k'"),
    ],
)
def test_a_target_that_fails_says_why(name, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "failing_served.py").write_text(FAILING, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run(["serve", f"failing_served:{name}"]) == 1
    assert capsys.readouterr().err == f"rudp: failing_served:{name} fails: {words}\n"
