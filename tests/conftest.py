"""What all tests share: compiled layers of the C core, and how hypothesis works here."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.engine_module import BUILD, Engine, load

# No deadline: these machines stall, and how long an example took says nothing about the code.
settings.register_profile(
    "rudp", deadline=None, database=DirectoryBasedExampleDatabase(BUILD / "hypothesis")
)
settings.load_profile("rudp")


@pytest.fixture(scope="session")
def base() -> Engine:
    """native/base, compiled."""
    return load("base")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """native/engine with all below it, compiled."""
    return load("engine")
