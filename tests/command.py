"""The command line, called in this process: a Ctrl-C that it takes is still meant for the tests."""

from __future__ import annotations

from rudp.cli import INTERRUPTED, program


def run(arguments: list[str]) -> int:
    """The exit status of ``rudp ARGUMENTS``."""
    status = program.run(arguments)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status
