"""Tiny models of every family, made once a session."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AGAIN = re.compile(
    r"test_eight_rows_are_learnt_by_heart\[(?!smolvlm-frozen-vision|qwen2_vl-lora)"
    r"|test_only_the_projector_learns\[internvl"
    r"|test_a_run_goes_on_where_it_was_interrupted\[(by-length|frozen-vision)"
    r"|test_what_changes_nothing_may_change|test_a_killed_run_goes_on_from_its_last_checkpoint"
    r"|test_accumulated_batches_are_one_batch\[(?!smolvlm)"
    r"|test_an_interrupted_run_is_saved\[15"
    r"|test_chat_over_a_pipe|test_two_processes_agree_with_one|test_memory_is_flat"
)
"""What takes longest: other families and methods, and runs in processes of their own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes longest to `make test-slow`."""
    for item in items:
        if AGAIN.match(item.name) and "train" in item.path.parts:
            item.add_marker(pytest.mark.slow)


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
