"""Two processes that train together do what one does: the same rows in a step, the same losses, the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from safetensors.torch import load_file

from tests.train.trainings import CONVERSATION, ROWS, eight_rows
from train.metrics_file import read_metrics

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
ALONE = (sys.executable, "-m", "pipeline")
TOGETHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipeline")
"""torchrun, which finds a free port of this machine."""


def _train(launcher: tuple[str, ...], folder: Path, name: str, settings: dict[str, Any]) -> Path:
    """Train by the command, on the processor; returns the run's folder."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    options = [f"--{one}={folder / one}" for one in ("work", "out", "cache", "runs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, "train", str(file), "--device=cpu", *options],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=200,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "runs" / name


def test_two_processes_agree_with_one(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """With the same global batch, two processes measure the losses that one does, and end with the same weights."""
    rows = [*ROWS, *ROWS[:3]]
    dataset = eight_rows(tmp_path / "rows", rows)
    data = {"dataset": str(dataset), "conversation": CONVERSATION, "longest_side": 64, "eval": "train"}
    settings = {
        "model": str(tiny("smolvlm")),
        "method": "lora",
        "lora": {"r": 4},
        "data": {**data, "frames": {"count": 4}},
        "global_batch_size": 4,
        "steps": 6,
        "evaluate_every": 3,
        "log_every": 1,
        "learning_rate": 5e-3,
        "workers": 0,
    }
    one = _train(ALONE, tmp_path, "one", {**settings, "batching": {"samples": 2}})
    two = _train(TOGETHER, tmp_path, "two", {**settings, "batching": {"samples": 2}})
    alone, together = read_metrics(one / "metrics.jsonl"), read_metrics(two / "metrics.jsonl")
    assert [line.step for line in alone] == [line.step for line in together]
    for mine, theirs in zip(alone, together, strict=True):
        for name in ("loss", "eval_loss", "epoch", "tokens", "learning_rate"):
            assert mine.values.get(name) == pytest.approx(theirs.values.get(name), abs=1e-5), (mine.step, name)
    first, second = (load_file(run / "last" / "adapter_model.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    assert all(first[name].sub(second[name]).abs().max() < 1e-4 for name in first)
