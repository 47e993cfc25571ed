"""The command `train`: from a recipe to a trained model, interrupted, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from tests.train.taught_run import build_rows
from tests.train.trainings import CONVERSATION, eight_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.project import Project

ROOT = Path(__file__).parents[2]


def _config(folder: Path, dataset: Path, **given: Any) -> Path:
    """Write a configuration, and return its file."""
    data = {"dataset": str(dataset), "conversation": CONVERSATION, "longest_side": 64, "frames": {"count": 2}}
    usual = {"model": "owner/name", "method": "lora", "lora": {"r": 4}, "workers": 0, "log_every": 1, "report_to": []}
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump({**usual, "data": data, **given}), encoding="utf-8")
    return path


def _run(*arguments: object, folder: Path) -> tuple[int, str, str]:
    """Run the command in this process; returns its exit code, and what it printed on both."""
    options = [f"--{one}={folder / one}" for one in ("work", "out", "cache", "runs")]
    done = CliRunner().invoke(main, ["train", *map(str, arguments), *options], catch_exceptions=False)
    torch.set_num_threads(1)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Give a dataset of eight rows."""
    return eight_rows(tmp_path / "rows")


def test_a_recipe_is_trained_on_its_dataset(project: Project) -> None:
    """A recipe's part `train` learns from the dataset that the recipe builds, by its schema, and answers."""
    build_rows(project)
    recipe = yaml.safe_load(project.recipe_path.read_text())
    recipe["train"] = {
        "model": "owner/name",
        "data": {"eval": "test", "id": "id", "frames": {"count": 2}},
        "steps": 2,
        "workers": 0,
        "report_to": [],
        "evaluate": {"task": "caption", "max_new_tokens": 8},
    }
    project.recipe_path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    options = [f"--{one}={project.root / one}" for one in ("work", "out", "cache", "runs")]
    arguments = ["train", str(project.recipe_path), "--device=cpu", "--model=tiny", "--family=qwen2_vl", *options]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    run = project.root / "runs" / "demo"
    assert "demo: 2 steps are done; the least loss on test was" in done.stdout
    assert "before" in done.stdout
    assert "predictions.html" in done.stdout
    told = json.loads((run / "run.json").read_text())
    assert told["dataset"]["name"] == "demo"
    assert len(told["dataset"]["manifest_sha256"]) == 64
    assert told["family"] == "qwen2_vl"
    assert (run / "config.yaml").is_file()


def test_without_a_gpu_it_says_so(rows: Path, tmp_path: Path) -> None:
    """Nobody trains on the processor by accident; what to do instead is said, with exit code 2."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    code, _, said = _run(_config(tmp_path, rows), folder=tmp_path)
    assert code == 2
    assert "there is none here" in said
    assert "make train DEVICE=cpu MODEL=tiny" in said
    assert not (tmp_path / "runs").exists()


def test_the_plan_as_values(rows: Path, tmp_path: Path) -> None:
    """A dry run prints the plan, for people or as JSON, and leaves no run behind."""
    config = _config(tmp_path, rows, epochs=3, global_batch_size=4, batching={"samples": 2})
    code, printed, _ = _run(config, "--device=cpu", "--model=tiny", "--dry-run", "--json", folder=tmp_path)
    assert code == 0
    (stage,) = json.loads(printed)["stages"]
    plan = stage["plan"]
    assert (plan["steps"], plan["global_batch"], plan["accumulation"]) == (6, "4 rows", 2)
    assert plan["rows"] == {"split": "train", "rows": 8, "used": 8, "left_out": 0}
    assert plan["parameters"]["adapters"]["learning"] > 0
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "arguments", "said"),
    [
        ({"epocs": 3}, (), "demo.yaml:"),
        ({"model": "nowhere/at/all"}, (), "there is no model 'nowhere/at/all'"),
        ({}, ("--offline",), "is not on this machine"),
        ({"data": {"dataset": "gone"}}, ("--model=tiny",), "there is no dataset folder"),
        ({"data": {"dataset": "rows", "config": "other"}}, ("--model=tiny",), "has no config 'other'"),
        ({"arguments": {"lr_scheduler_type": "sideways"}, "steps": 1}, ("--model=tiny",), "transformers refuses"),
        ({}, ("--model=tiny", "--family=gpt2"), "gpt2"),
        ({"batching": {"samples": 3}, "global_batch_size": 8}, ("--model=tiny",), "multiples of 3"),
    ],
)
def test_what_cannot_be_trained_says_why(
    given: dict[str, Any], arguments: tuple[str, ...], said: str, rows: Path, tmp_path: Path
) -> None:
    """A mistake in the file, a model or a dataset that is not there: an error with a way out, and no traceback."""
    code, printed, errors = _run(_config(tmp_path, rows, **given), "--device=cpu", *arguments, folder=tmp_path)
    assert code in (2, 3)
    assert said in errors
    assert errors.splitlines()[-1].strip()
    assert "Traceback" not in errors + printed


def test_a_recipe_that_says_nothing_of_training(project: Project) -> None:
    """It is told what to write."""
    build_rows(project)
    code, _, said = _run(project.recipe_path, "--device=cpu", folder=project.root)
    assert code == 2
    assert "says nothing of training" in said


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_is_saved(number: signal.Signals, rows: Path, tmp_path: Path) -> None:
    """The step is finished, a checkpoint is there, exit code 130 says how to go on, and the same command does."""
    config = _config(tmp_path, rows, steps=400, save_every=1000)
    options = [f"--{one}={tmp_path / one}" for one in ("work", "out", "cache", "runs")]
    command = [sys.executable, "-m", "pipeline", "train", str(config), "--device=cpu", "--model=tiny", "--workers=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            if line.startswith("step 2 of"):
                process.send_signal(number)
                break
        said = process.stderr.read()
        printed = process.stdout.read()
        code = process.wait(timeout=60)
    assert code == 130, said
    found = re.search(r"saved behind step (\d+); run the same command to go on", printed)
    assert found is not None
    steps = int(found[1])
    run = tmp_path / "runs" / "demo"
    assert json.loads((run / "last" / "trainer_state.json").read_text())["global_step"] == steps
    assert 2 <= steps < 400


def test_a_model_of_a_hub_is_named_by_its_commit(
    tiny: Callable[[str], Path], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of the client's cache it needs no network; record and adapters say which commit of which repository it is."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "hub" / "models--some--model"
    shutil.copytree(tiny("smolvlm"), repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    config = _config(tmp_path, rows, model="some/model", steps=1)
    code, _, said = _run(config, "--device=cpu", folder=tmp_path)
    assert code == 0, said
    run = tmp_path / "runs" / "demo"
    told = json.loads((run / "run.json").read_text())
    assert (told["model"], told["commit"]) == ("some/model", commit)
    adapters = json.loads((run / "last" / "adapter_config.json").read_text())
    assert (adapters["base_model_name_or_path"], adapters["revision"]) == ("some/model", commit)


def test_a_run_of_something_else_is_refused(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """Another configuration under the same name is an error that says what differs; under another name it is a run."""
    first = _config(tmp_path, rows, model=str(tiny("smolvlm")), steps=1)
    assert _run(first, "--device=cpu", folder=tmp_path)[0] == 0
    second = _config(tmp_path, rows, model=str(tiny("smolvlm")), steps=1, seed=7)
    code, _, said = _run(second, "--device=cpu", folder=tmp_path)
    assert code == 3
    assert "settings.seed: 42 there, 7 here" in said
    assert _run(second, "--device=cpu", "--name=other", folder=tmp_path)[0] == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"demo", "other"}
