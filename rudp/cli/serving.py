"""What does ``rudp serve`` serve: which methods are in a module or an object?"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import click

import rudp
from rudp._node import CLOSE_SECONDS
from rudp.admin import allow_rotation
from rudp.cli.session import Access, Failure, stopping

BENCH_METHOD = "rudp.bench"
NAMES_MOST = 12  # that are printed

Table = dict[str, Callable[..., Any]]


async def serve_target(
    access: Access, target: str | None, listen: str, *, echo: bool, rotation: bool
) -> None:
    """Serve until Ctrl-C; running handlers finish."""
    found = load(target) if target is not None else {}
    if rotation and access.load() is None:
        raise rudp.ConfigError("--rotation needs a key")
    with stopping() as stopped:
        async with access.node(listen) as node:
            names = await add_methods(node, found, target or "")
            if echo:
                node.register(BENCH_METHOD, _echo, inline=True)
            if rotation:
                allow_rotation(node)
            click.echo(f"listening on {node.address}{_serving(names)}")
            await stopped.wait()
            click.echo(f"closing: running handlers may finish, for {CLOSE_SECONDS:g} s", err=True)


def _echo(data: Any) -> Any:
    return data


def load(target: str) -> Any:
    """The object behind ``module`` or ``module:object``; the current folder is searched first."""
    name, _, path = target.partition(":")
    if not name:
        raise click.UsageError(f"{target!r} is not of the form MODULE[:OBJECT]")
    if name.endswith(".py") and os.path.isfile(name):  # noqa: PTH113  to import it would run it
        raise click.UsageError(f"{name!r} is a file: name the module, as in an import")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  sys.path holds texts
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise Failure(
                f"module {name!r} needs {error.name!r}, which is not installed"
            ) from error
        raise click.UsageError(f"there is no module {name!r}") from error
    except Exception as error:
        raise Failure(f"module {name!r} fails: {type(error).__name__}: {error}") from error
    for part in path.split(".") if path else ():
        try:
            with _blamed(target, but=AttributeError):
                found = getattr(found, part)
        except AttributeError as error:
            raise click.UsageError(f"module {name!r} has no {path!r}") from error
    return found


def _serving(names: list[str]) -> str:
    more = len(names) - NAMES_MOST
    listed = ", ".join(names[:NAMES_MOST]) + (f" and {more} more" if more > 0 else "")
    return f", serving {listed}" if names else ""


@contextlib.contextmanager
def _blamed(target: str, *, but: type[Exception] = click.ClickException) -> Iterator[None]:
    """What the target's own code raises is its failure, in one line; ``but`` stays what it is."""
    try:
        yield
    except but:
        raise
    except Exception as error:
        raise Failure(f"{target} fails: {type(error).__name__}: {error}") from error


async def add_methods(node: rudp.Node, found: Any, target: str) -> list[str]:
    """Register what ``found`` offers; raises ``click.UsageError`` if that is nothing.

    Returns the names, none of a function that has registered methods itself.
    """
    if inspect.isclass(found):
        try:
            with _blamed(target, but=TypeError):
                found = found()
        except TypeError as error:
            raise click.UsageError(f"{found.__name__} cannot be made: {error}") from error
    if _registers(found):
        with _blamed(target):
            waits = found(node)
            if inspect.isawaitable(waits):
                await waits
        return []
    with _blamed(target):  # a property may run code
        table = methods_of(found)
    for name, function in table.items():
        node.register(name, function)
    return list(table)


def methods_of(found: Any) -> Table:
    """Names and functions: of a table, a module, a single function, or an instance."""
    if isinstance(found, Mapping):
        wrong = [name for name, function in found.items() if not callable(function)]
        if wrong:
            raise click.UsageError(f"{wrong[0]!r} in the method table is not callable")
        return {str(name): function for name, function in found.items()}
    if isinstance(found, ModuleType):
        table = _public(found, lambda member: getattr(member, "__module__", "") == found.__name__)
    elif inspect.isroutine(found):
        table = {found.__name__: found}
    elif type(found).__module__ == "builtins":
        table = {}  # a number has functions, too, but nobody means them
    else:
        table = _public(found, lambda _: True)
    if not table:
        raise click.UsageError(f"there is no public function in {_name(found)}")
    return table


def _public(found: Any, wanted: Callable[[Any], bool]) -> Table:
    members = inspect.getmembers(found, inspect.isroutine)
    return {name: f for name, f in members if not name.startswith("_") and wanted(f)}


def _registers(found: Any) -> bool:
    """Whether it is a function that registers methods itself: one parameter, named ``node``."""
    if not inspect.isroutine(found):
        return False
    try:
        return list(inspect.signature(found).parameters) == ["node"]
    except (TypeError, ValueError):
        return False


def _name(found: Any) -> str:
    return f"module {found.__name__!r}" if isinstance(found, ModuleType) else repr(type(found))
