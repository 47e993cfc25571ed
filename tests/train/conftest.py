"""Tiny models of every family, made once a session; nothing of training reaches a hub."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

# Read by transformers and huggingface_hub when they are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from train.torchvision_ops import ensure_torchvision

ensure_torchvision()

import torch

from train.tiny import make_tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Tests run beside each other, on machines with few cores, and with tensors that one core is done with sooner than two.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a family's tiny model, with its processor; not to be written to."""
    made: dict[str, Path] = {}

    def folder(family_name: str) -> Path:
        if family_name not in made:
            made[family_name] = make_tiny(family_name, tmp_path_factory.mktemp("tiny") / family_name)
        return made[family_name]

    return folder
