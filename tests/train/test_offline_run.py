"""A training uses no network: the whole stage in a namespace without a route, and a guard that names the row."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.train.trainings import eight_rows, settings_of, stage_of
from train.feed.training_data import TrainingData
from train.no_network import NetworkDuringTrainingError, no_network
from train.runs.planned_batches import Encoder, PlannedBatches, loader
from train.runs.stage_data import open_splits
from train.runs.stage_run import run_stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from train.example import Example

ROOT = Path(__file__).parents[2]
NOBODY = "198.51.100.7"
"""Belongs to nobody (RFC 5737)."""


def test_the_whole_stage_runs_without_a_network(tmp_path: Path) -> None:
    """From a recipe to a trained, evaluated model with its page, in a namespace that has no route to anywhere."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs the command unshare")
    probe = subprocess.run([unshare, "-rn", "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no network namespaces here: {probe.stderr.strip()}")
    options = [f"--{one}={tmp_path / one}" for one in ("work", "out", "cache", "runs")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    recipe = ROOT / "recipes" / "sample.yaml"
    done = subprocess.run(
        [
            *(unshare, "-rn", sys.executable, "-m", "pipeline", "train", str(recipe)),
            *("--device=cpu", "--model=tiny", "--steps=4", "--offline", *options),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=280,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    run = tmp_path / "runs" / "sample"
    assert (run / "last" / "adapter_model.safetensors").is_file()
    assert (run / "curves" / "loss.png").is_file()
    (page,) = run.rglob("predictions.html")
    assert "<html" in page.read_text(encoding="utf-8")


class Calling(TrainingData):
    """Rows of which one asks somebody far away while it is decoded."""

    def example(self, number: int) -> Example:
        """Return a row; the third one is not found without asking."""
        found = super().example(number)
        if number == 2:
            with socket.socket() as asking:
                asking.settimeout(1)
                asking.connect((NOBODY, 80))
        return found


@pytest.mark.parametrize("workers", [0, 1])
def test_a_row_that_asks_for_the_network_is_named(workers: int, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """In the loader's own processes as in the training's, an attempt ends the training with the row's name."""
    settings = settings_of(tiny("smolvlm"), eight_rows(tmp_path / "rows"), method="lora")
    stage = stage_of(settings, tmp_path / "run", tmp_path / "cache")
    (data,) = open_splits(stage.place, settings, base=stage.base, cache=stage.cache, display=stage.display).values()
    encoder = Encoder(
        data=Calling(data.plan),
        family=stage.known.family,
        processor=stage.known.processor,
        config=stage.known.config,
        split="train",
        packed=False,
        multiple=1,
        thinner=torch.zeros(len(data), dtype=torch.int8).numpy(),
    )
    batches = PlannedBatches(encoder, 4, lambda number: ([2 * number, 2 * number + 1], 1.0), lambda _: True)
    if workers:
        found = [batch.error for batch in loader(batches, workers=workers)]
    else:
        with no_network():
            found = [batch.error for batch in loader(batches, workers=0)]
    assert [type(error) for error in found] == [type(None), NetworkDuringTrainingError, type(None), type(None)]
    assert f"asked for {NOBODY}:80" in str(found[1])
    assert str(data.ref(2)) in str(found[1])


def test_the_training_itself_may_not_ask(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """What the training's own process asks for between steps is refused too."""
    settings = settings_of(tiny("smolvlm"), eight_rows(tmp_path / "rows"), method="lora", steps=2)

    def ask(line: str) -> None:
        if line.startswith("step 1 of"):
            with socket.socket() as asking:
                asking.settimeout(1)
                asking.connect((NOBODY, 80))

    with pytest.raises(NetworkDuringTrainingError, match=NOBODY):
        run_stage(stage_of(settings, tmp_path / "run", tmp_path / "cache", say=ask))
    # and afterwards it is allowed again
    with socket.socket() as server, socket.socket() as asking:
        server.bind(("127.0.0.1", 0))
        server.listen()
        asking.connect(server.getsockname())
