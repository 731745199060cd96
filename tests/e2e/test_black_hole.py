"""Packets of TCP vanish without a word while UDP goes on: what becomes of calls? T7, T8, M5.

In the middle of transfers of 32 MiB, in network namespaces that ``black_hole.py`` makes and that
end with it. Plain TCP over the same router shows the fault: it hangs without an error.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "black_hole.py"
ROOT = PROGRAM.parents[2]
REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL, errno.ENOSYS}
SECONDS = 150  # above the program's own patience

# Where a machine allows no namespaces the tests can only say so: a warning that is shown.
pytestmark = pytest.mark.filterwarnings("default:no network namespaces")


@pytest.fixture
def seen_with(request):
    """What was seen with a fault; None if this machine refuses network namespaces."""

    def run(fault: str, argument: int = 0) -> dict | None:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), fault, str(argument)],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        if "refused" in seen:
            assert seen["refused"] in REFUSALS, os.strerror(seen["refused"])
            refusal = f"no network namespaces here: {os.strerror(seen['refused'])}"
            warnings.warn(refusal, stacklevel=1)
            return None
        judge(seen)
        return seen

    return run


def judge(seen: dict) -> None:
    """What holds with every fault of TCP alone."""
    for end in seen["ends"]:
        if end["error"]:
            assert end["ran"] <= 1, end
            assert (end["outcome"], end["ran"]) in {("no", 0), ("yes", 1), ("unknown", end["ran"])}
        else:
            assert end["ran"] == 1, end
    assert [end for end in seen["ends"] if end["across"]], "the fault struck nothing"
    assert seen["failure"] == "", "a small call failed"
    assert seen["small"] > 0
    plain = seen["plain"]
    assert plain["established"], "plain TCP noticed"
    assert (plain["error"], plain["moved"]) == ("", 0), "plain TCP noticed"
    assert plain["unacknowledged"] > 0
    assert seen["new"], "no lane was made after the fault"


def errors(seen: dict) -> set[str]:
    return {end["error"] for end in seen["ends"] if end["across"]}


def test_connections_that_a_middlebox_forgot(seen_with):
    """Open connections are dead and nobody is told: transfers go on over new lanes (T7)."""
    seen = seen_with("forget")
    assert seen is None or errors(seen) == {""}


def test_all_of_tcp_vanishes_and_comes_back(seen_with):
    """Big calls end by their deadline or sooner, by name, and succeed again after it (M5)."""
    seen = seen_with("swallow")
    assert seen is None or errors(seen) - {""} <= {"DeadlineExceeded", "LaneUnavailable"}
    assert seen is None or errors(seen) != {""}


@pytest.mark.parametrize("mtu", [1280, 1100])
def test_a_path_that_became_narrow(seen_with, mtu):
    """Full segments vanish without an ICMP: transfers go on in small ones (T8, P10)."""
    seen = seen_with("narrow", mtu)
    assert seen is None or errors(seen) == {""}
