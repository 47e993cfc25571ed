"""Tests with the peers' own programs: only where their environments are named, as `make interop` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.interop.peer import VARIABLE, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

collect_ignore_glob = [] if os.environ.get(VARIABLE) else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in here."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)
            # several starts of a peer, each with a limit of its own
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture
def peer(tmp_path: Path) -> Callable[[str], Peer]:
    """Give a function that returns a peer by its name."""

    def named(name: str) -> Peer:
        folder = tmp_path / f"{name}-at-work"
        folder.mkdir(exist_ok=True)
        return Peer(name, folder)

    return named
