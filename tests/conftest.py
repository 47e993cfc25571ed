"""Fixtures for all tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.project import Project

if TYPE_CHECKING:
    from pathlib import Path

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
"""`fuzz`, as `make fuzz` has it: every property test with many more examples than it asks for itself."""
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5000"))
"""Examples of one property test in the profile `fuzz`."""

settings.register_profile(
    "fuzz", max_examples=EXAMPLES, deadline=None, derandomize=False, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the number of examples of the profile `fuzz` to tests that name a number of their own, too."""
    if PROFILE != "fuzz":
        return
    for item in items:
        test = getattr(item, "obj", None)
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if own is not None:
            # Where Hypothesis keeps what `@settings` says; a profile alone does not go before that.
            vars(test)["_hypothesis_internal_use_settings"] = settings(own, max_examples=EXAMPLES, derandomize=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Give an empty project folder."""
    return Project(tmp_path)
