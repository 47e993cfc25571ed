"""Fixtures of the tests of clips and sampled frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Return a function that writes bytes as a file."""

    def write(data: bytes, name: str = "made") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.fixture(scope="module")
def any_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the sources of any span once."""
    from shown_frames import ANY, any_source

    folder = tmp_path_factory.mktemp("sources")
    for kind in ANY:
        (folder / kind).write_bytes(any_source(kind))
    return folder
