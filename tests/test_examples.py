"""Every example runs, in a process of its own and with warnings as errors, and is short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SAYS = {
    "hello.py": ["2 + 3 = 5", "did the handler run? no"],
    "hello_sync.py": ["2 + 3 = 5", "the handler raised TypeError"],
    "bulk.py": ["equal: True", "GB/s"],
    "gather.py": ["127.0.0.1", "was too late"],
}


def test_every_example_is_known():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs(name):
    path = ROOT / "examples" / name
    assert len(path.read_text(encoding="utf-8").splitlines()) < 50
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for words in SAYS[name]:
        assert words in done.stdout
