"""Eight real rows learnt by heart, by every family and method where it can, from a dataset to a checkpoint and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.train.trainings import answers, eight_rows, settings_of, trained
from train.metrics_file import read_metrics, series
from train.models.load import load_model
from train.models.parts import part_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FAMILIES = ("smolvlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl")
WHOLE = {"learning_rate": 4e-3, "epochs": 45}
ADAPTERS = {
    "learning_rate": 6e-3,
    "epochs": 180,
    "lora": {"r": 16, "alpha": 32},
    "batching": {"samples": 8},
    # the tower is frozen, so the rows are decoded once
    "vision_cache": True,
    "arguments": {
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {"num_decay_steps": 60},
        "warmup_steps": 5,
        "adam_beta2": 0.95,
    },
}
LEARNT = [
    *((family, "frozen-vision", WHOLE) for family in FAMILIES),
    *((family, "lora", ADAPTERS) for family in FAMILIES),
    ("smolvlm", "full", WHOLE),
    ("qwen3_vl", "dora", ADAPTERS),
    ("qwen2_5_vl", "qlora", ADAPTERS),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a dataset of eight rows, beside which caches are shared."""
    return eight_rows(tmp_path_factory.mktemp("eight") / "rows")


@pytest.mark.parametrize("wanted", LEARNT, ids=[f"{one}-{two}" for one, two, _ in LEARNT])
def test_eight_rows_are_learnt_by_heart(
    wanted: tuple[str, str, dict[str, Any]], tiny: Callable[[str], Path], rows: Path, tmp_path: Path
) -> None:
    """The loss goes under 0.05, and the model that is loaded from the checkpoint gives every answer to the letter."""
    family, method, given = wanted
    cache = rows.parent / "cache"
    once = {"save_every": 10_000, "log_every": 5, "frame_cache": "jpeg"}
    settings = settings_of(tiny(family), rows, method=method, **once, **given)
    outcome = trained(settings, tmp_path / "run", cache)
    assert outcome.finished
    assert outcome.skipped == 0
    losses = series(read_metrics(tmp_path / "run" / "metrics.jsonl"), "loss")
    assert losses[0][1] > 5
    assert losses[-1][1] < 0.05
    found = answers(settings, tmp_path / "run", cache, quantise=method == "qlora")
    assert [said for said, _ in found] == [true for _, true in found]


@pytest.mark.parametrize("family", ["smolvlm", "internvl"])
def test_only_the_projector_learns(family: str, tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """With the method for the first of two stages the loss falls, and nothing but the projector has moved."""
    settings = settings_of(tiny(family), rows, method="projector", learning_rate=1e-2, epochs=10)
    trained(settings, tmp_path / "run", rows.parent / "cache")
    losses = [loss for _, loss in series(read_metrics(tmp_path / "run" / "metrics.jsonl"), "loss")]
    assert losses[-1] < losses[0]
    before, _, known, _ = load_model(tiny(family))
    after = load_model(tmp_path / "run" / "last").model
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    moved = {part_of(name, known) for name, one in old.items() if not torch.equal(one, new[name])}
    assert moved == {"projector"}
