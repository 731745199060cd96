"""The command ``rudp``: serve, call, ping, send, receive, bench, keygen, rotate.

Exit status 0: done; 1: it failed, and one line says why; 2: an argument was wrong, and one line
says which; 130: Ctrl-C. No traceback reaches the terminal.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """The program behind ``rudp``; ends the process with its exit status."""
    try:
        try:
            from rudp.cli.program import run  # noqa: PLC0415  what it needs may be missing
        except ModuleNotFoundError as error:
            if error.name not in ("click", "rich"):
                raise
            print(f"rudp: {error.name} is missing: pip install 'rudp[cli]'", file=sys.stderr)
            sys.exit(1)
        status = run()
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)
