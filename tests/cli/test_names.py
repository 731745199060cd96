"""A peer writes only inside the receiver's folder: names are refused, links not followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudp.cli.files import checked_name
from rudp.cli.store import Folder, Part


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        ".hidden",
        "a\0b",
        "a\nb",
        "a\x1b[31m",
        "a\u202eb",
        " a",
        "a ",
        "a.part",
        "a.part.journal",
        "x" * 201,
        "ä" * 101,
        "\ud800",
        None,
        7,
        b"bytes",
    ],
)
def test_a_name_that_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        checked_name(name)


@pytest.mark.parametrize("name", ["a", "a.tar.gz", "Übung 1.txt", "-x", "x" * 200])
def test_a_name_that_is_taken(name):
    assert checked_name(name) == name


@given(st.text(max_size=300))
def test_whatever_is_taken_stays_in_the_folder(name):
    try:
        taken = checked_name(name)
    except ValueError:
        return
    assert "/" not in taken
    assert taken not in {"", ".", ".."}
    assert len(taken.encode()) <= 200


def test_a_symbolic_link_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "x.part").symlink_to(outside)
    folder = Folder(inside)
    with pytest.raises(OSError, match=r"x\.part"):
        Part(folder, "x", 100)
    folder.close()
    assert outside.read_bytes() == b"precious"
