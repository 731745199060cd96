"""base/ensure.h: a broken promise lands in the trap, or ends the process (E10)."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.engine_module import ROOT, Engine

ABORTING = """
import sys
sys.path.insert(0, sys.argv[1])
from tests import engine_module
engine_module.load("base").lib.ensure_failed(b"count > 0", b"some_file.c", 12)
"""


def test_a_promise_kept_has_no_effect(base: Engine) -> None:
    assert base.lib.trapped_ensure(True) == base.ffi.NULL
    assert not base.lib.trap_is_set()


def test_a_promise_broken_reaches_the_trap_with_its_text(base: Engine) -> None:
    message = base.ffi.string(base.lib.trapped_ensure(False)).decode()
    assert message.endswith(": condition")
    assert len(message) < base.lib.ENSURE_MESSAGE_SIZE


def test_the_trap_is_used_once(base: Engine) -> None:
    assert base.lib.trapped_ensure(False) != base.ffi.NULL
    assert not base.lib.trap_is_set()


def test_without_a_trap_the_process_aborts(base: Engine) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABORTING, str(ROOT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT
    assert done.stderr.startswith("some_file.c:12: broken promise: count > 0")
