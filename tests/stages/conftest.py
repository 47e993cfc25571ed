"""What tests of disturbed builds share: the project with media of every kind, and the script of a build that talks."""

from __future__ import annotations

import pytest

from tests.disturbed import Made, rich, script
from tests.project import Project

__all__ = ["script"]


@pytest.fixture(scope="module")
def rich_made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Give the project with media of every kind, built once."""
    return Made(Project(tmp_path_factory.mktemp("rich")), rich)


@pytest.fixture
def large(rich_made: Made) -> Made:
    """Give the project with media of every kind, with nothing built."""
    return rich_made.fresh()
