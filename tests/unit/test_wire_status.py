"""wire/status.h: every word once, with a text; numbers past the end name nothing."""

from __future__ import annotations

import pytest

from tests.engine_module import load

WIRE = load("wire")
ffi, lib = WIRE.ffi, WIRE.lib

# The numbers go over the wire: entries are only ever added at the end (docs/protocol.md, R68).
STATUSES = [
    *("OK", "EXCEPTION", "DEADLINE", "CANCELLED", "BUSY", "NO_METHOD", "BAD_REQUEST"),
    *("TOO_LARGE", "REPLY_TOO_LARGE", "UNREACHABLE", "REFUSED_BY_HOST", "UNVERIFIED"),
    *("LOST", "RESTARTED", "CLOSED", "DISMISSED", "FAILED", "LANE_UNAVAILABLE"),
    *("BUFFER_CHANGED", "NO_MEMORY", "NODE_CLOSED", "BROKEN", "NO_REPLY_SENT"),
]


def text(function, number: int) -> str:
    return ffi.string(function(number)).decode()


def test_numbers_of_statuses_never_change():
    assert [text(lib.status_name, n) for n in range(len(STATUSES))] == STATUSES
    assert len(STATUSES) <= lib.STATUS_COUNT


@pytest.mark.parametrize(
    ("count", "name", "words"),
    [
        (lib.STATUS_COUNT, lib.status_name, lib.status_text),
        (lib.DROP_COUNT, lib.drop_name, lib.drop_text),
    ],
)
def test_each_has_a_name_and_a_text_of_its_own(count, name, words):
    names, texts = ([text(f, n) for n in range(count)] for f in (name, words))
    assert len(set(names)) == len(set(texts)) == count
    assert all(one.isupper() for one in names)
    assert all(one and not one.endswith(".") for one in texts)


@pytest.mark.parametrize("number", [lib.STATUS_COUNT, 255, 2**32 - 1])
def test_numbers_past_the_end_are_unknown(number):
    """A peer of a later version may send a status that we do not know."""
    assert text(lib.status_text, number) == "unknown status"
    assert text(lib.drop_text, number) == "unknown reason"
    assert text(lib.status_name, number) == text(lib.drop_name, number) == "UNKNOWN"


def test_three_outcomes_from_no_to_yes():
    """O1."""
    assert (lib.RAN_NO, lib.RAN_UNKNOWN, lib.RAN_YES) == (0, 1, 2)
