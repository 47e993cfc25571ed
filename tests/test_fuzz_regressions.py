"""What the fuzzing harnesses state holds for every seed, and for every input that once broke it; without atheris."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data" / "fuzz"
SUBJECTS = ("readers", "parquet", "recipe", "archives")


def _harness(subject: str) -> Any:
    return importlib.import_module(f"fuzz.fuzz_{subject}")


def _known() -> list[tuple[str, str]]:
    """Return subject and name of each input that is kept."""
    return [(subject, path.name) for subject in SUBJECTS for path in sorted((DATA / subject).glob("*"))]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_seeds_hold(subject: str) -> None:
    """Every property of a subject holds for the inputs that its fuzzing starts from."""
    harness = _harness(subject)
    names = [name for name, data in harness.seeds() if harness.check(data) is None]
    assert len(names) == len(set(names)) > 10


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0", b"\xff" * 9, b"\n" * 9])
def test_tiny_inputs_hold(subject: str, data: bytes) -> None:
    """Every property of a subject holds for next to nothing."""
    _harness(subject).check(data)


@pytest.mark.parametrize(("subject", "name"), _known())
@pytest.mark.timeout(60)  # ten times what the slowest takes on a busy machine
def test_inputs_that_broke_something_hold(subject: str, name: str) -> None:
    """Every property of a subject holds, in good time, for an input that once broke it."""
    _harness(subject).check((DATA / subject / name).read_bytes())
