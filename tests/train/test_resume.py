"""A run that is interrupted goes on as if it had not been: the same rows, the same losses to the bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.errors import WorkspaceError
from tests.train.trainings import eight_rows, settings_of, stage_of
from train.metrics_file import read_metrics
from train.runs.stage_run import run_stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from train.metrics_file import Measured
    from train.settings import Settings

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "lora": {"r": 4, "dropout": 0.2}, "learning_rate": 5e-3},
    "frozen-vision": {"method": "frozen-vision", "learning_rate": 2e-3},
    "by-length": {
        "method": "lora",
        "lora": {"r": 4, "dropout": 0.2},
        "batching": {"tokens": 400},
        "accumulation": 2,
        "learning_rate": 5e-3,
    },
    "packed": {"method": "full", "batching": {"tokens": 600, "pack": True}, "learning_rate": 2e-3},
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a dataset of eight rows."""
    return eight_rows(tmp_path_factory.mktemp("eight") / "rows")


def _settings(tiny: Callable[[str], Path], rows: Path, given: dict[str, Any], **more: Any) -> Settings:
    usual = {"steps": 7, "log_every": 3, "save_every": 100, "evaluate_every": 3, "data": {"eval": "train"}}
    return settings_of(tiny("smolvlm"), rows, **{**usual, **given, **more})


def _lines(folder: Path) -> list[Measured]:
    """Return what was measured, without what depends on the clock and the machine."""
    return [line.without_times() for line in read_metrics(folder / "metrics.jsonl")]


@pytest.mark.parametrize("name", METHODS)
def test_a_run_goes_on_where_it_was_interrupted(
    name: str, tiny: Callable[[str], Path], rows: Path, tmp_path: Path
) -> None:
    """Ctrl-C in the middle of a line of metrics and of an epoch costs nothing: the curve is that of one run."""
    settings, cache = _settings(tiny, rows, METHODS[name]), rows.parent / "cache"
    whole = run_stage(stage_of(settings, tmp_path / "whole", cache))
    assert whole.finished

    def interrupt(line: str) -> None:
        if line.startswith("step 3 of") and "evaluated" in line:
            os.kill(os.getpid(), signal.SIGINT)

    folder = tmp_path / "interrupted"
    first = run_stage(stage_of(settings, folder, cache, say=interrupt))
    # it was asked for behind step 3, and the step after it is finished
    assert (first.steps, first.finished, first.interrupted) == (4, False, True)
    second = run_stage(stage_of(settings, folder, cache))
    assert (second.steps, second.finished, second.plan.begun_at) == (7, True, 4)
    assert _lines(folder) == _lines(tmp_path / "whole")
    assert _weights(folder) == _weights(tmp_path / "whole")
    third = run_stage(stage_of(settings, folder, cache))
    assert third.finished


def test_a_killed_run_goes_on_from_its_last_checkpoint(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """What came behind the last checkpoint is done once more, and lines of metrics do not stand twice."""
    given = {**METHODS["lora"], "save_every": 3}
    settings, cache = _settings(tiny, rows, given), rows.parent / "cache"
    folder = tmp_path / "killed"
    kept = tmp_path / "as it was"

    def keep(line: str) -> None:
        if line.startswith("step 5 of") or ("evaluated" in line and line.startswith("step 6 of")):
            # what a kill leaves: lines that are ahead of the checkpoint, and one that is being written
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept)

    run_stage(stage_of(settings, folder, cache, say=keep))
    assert json.loads((kept / "last" / "trainer_state.json").read_text())["global_step"] == 3
    (kept / ".saving" / "checkpoint-6").mkdir(parents=True)
    (kept / "last").rename(kept / ".before-last")
    run_stage(stage_of(settings, kept, cache))
    assert _lines(kept) == _lines(folder)
    assert _weights(kept) == _weights(folder)
    assert not list(kept.glob(".*"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"learning_rate": 1e-3}, "learning_rate: 0.005 there, 0.001 here"),
        ({"data": {"eval": "train", "frames": {"count": 2}}}, "rows.train"),
        ({"batching": {"samples": 2}}, "batching.samples: 4 there, 2 here"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    more: dict[str, Any], said: str, tiny: Callable[[str], Path], rows: Path, tmp_path: Path
) -> None:
    """Other settings or rows do not go on with a run; what differs is said, and nothing is changed."""
    cache = rows.parent / "cache"
    first = _settings(tiny, rows, METHODS["lora"], steps=1)
    run_stage(stage_of(first, tmp_path / "run", cache))
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(WorkspaceError) as error:
        run_stage(stage_of(_settings(tiny, rows, METHODS["lora"], steps=1, **more), tmp_path / "run", cache))
    assert said in str(error.value)
    assert "--name" in str(error.value)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_what_changes_nothing_may_change(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """Workers, and how often is saved, may be others when a run goes on."""
    cache = rows.parent / "cache"
    settings = _settings(tiny, rows, METHODS["lora"], save_every=2)
    run_stage(stage_of(settings, tmp_path / "whole", cache))

    def interrupt(line: str) -> None:
        if line.startswith("step 1 of"):
            os.kill(os.getpid(), signal.SIGTERM)

    run_stage(stage_of(settings, tmp_path / "run", cache, say=interrupt))
    other = _settings(tiny, rows, METHODS["lora"], save_every=5, workers=2)
    assert run_stage(stage_of(other, tmp_path / "run", cache)).finished
    assert _lines(tmp_path / "run") == _lines(tmp_path / "whole")


def _weights(folder: Path) -> list[tuple[str, bytes]]:
    """Return the files with the weights of both checkpoints."""
    return [
        (f"{name}/{path.name}", path.read_bytes())
        for name in ("best", "last")
        for path in sorted((folder / name).glob("*.safetensors"))
    ]
