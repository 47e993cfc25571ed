"""Tiny models of every family, made once a session."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

if find_spec("torch"):
    import torch

    from train.torchvision_ops import ensure_torchvision

    # before any test module imports something of transformers
    ensure_torchvision()
    # Tests run beside each other on few cores, with tensors that one of them is done with sooner than two.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a family's tiny model with its processor, by the family's name; not to be written to."""
    from train.tiny import make_tiny

    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp("tiny") / family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def taught(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a run whose adapters know a dataset's test rows by heart; not to be written to."""
    from tests.project import Project
    from tests.train.taught_run import build_rows, taught_run

    root = tmp_path_factory.mktemp("taught")
    return taught_run(root / "runs" / "clips", build_rows(Project(root)), tiny("smolvlm"))
