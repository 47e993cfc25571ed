"""A run from its plan to its records: which rows are left out and why, what is measured, and where it all lies."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import WorkspaceError
from pipeline.report import Quiet
from pipeline.run import Folders
from tests.train.trainings import ROWS, eight_rows, settings_of, stage_of, trained
from train.batching.plan import Batching
from train.example import TrainError
from train.metrics_file import read_metrics, series
from train.models.load import load_model
from train.models.parts import part_of
from train.runs.rejected_rows import read_rejected
from train.runs.run_folder import RunFolder
from train.runs.schedule import evaluation_batches, make_schedule
from train.runs.stage_run import run_stage
from train.train_run import Asked, run_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from train.runs.schedule import Schedule
    from train.settings import Settings

HOW = (
    Batching(samples=3, accumulation=2),
    Batching(samples=2, by_length=True, window=8),
    Batching(tokens=64, accumulation=3, window=8),
    Batching(tokens=64, pack=True, window=8),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a dataset of eight rows."""
    return eight_rows(tmp_path_factory.mktemp("eight") / "rows")


# what is learnt from, and when


@given(
    lengths=st.lists(st.integers(1, 64), min_size=5, max_size=40),
    how=st.sampled_from(HOW),
    ranks=st.integers(1, 3),
    epochs=st.integers(1, 3),
)
def test_every_epoch_has_every_row(lengths: list[int], how: Batching, ranks: int, epochs: int) -> None:
    """Over all ranks and batches every usable row comes once an epoch, whatever steps the epochs are cut into."""

    def order(epoch: int) -> np.ndarray[Any, Any]:
        return np.random.default_rng(epoch).permutation(len(lengths))

    schedule = make_schedule(np.array(lengths), order, how=how, ranks=ranks, epochs=epochs)
    counted = np.zeros(len(lengths), np.int64)
    for micro_step in range(schedule.micro_steps):
        for rank in range(ranks):
            counted[schedule.rows(micro_step, rank)] += 1
    for plan in schedule.plans:
        counted[plan.left_out] += 1
    assert (counted == epochs).all()
    assert schedule.epochs_after(schedule.steps) == epochs
    assert schedule.epochs_after(0) == 0
    assert schedule.samples == sum(len(plan.rows) for plan in schedule.plans)


def _plain(**length: Any) -> Schedule:
    return make_schedule(np.full(10, 8), lambda _: np.arange(10), how=Batching(samples=2, accumulation=2), **length)


def test_a_training_is_as_long_as_it_is_asked_to_be() -> None:
    """Steps are counted exactly, epochs may end in the middle, and a step may hold the end of one and the next."""
    assert (_plain(steps=7).steps, _plain(steps=7).micro_steps, len(_plain(steps=7).plans)) == (7, 14, 3)
    assert (_plain(epochs=0.5).micro_steps, _plain(epochs=1.5).micro_steps, _plain(epochs=2.0).micro_steps) == (
        2,
        7,
        10,
    )
    assert (_plain(epochs=1.0).steps, _plain(epochs=2.0).steps) == (3, 5)
    assert _plain(epochs=1.5).epochs_after(4) == pytest.approx(1.4)
    assert [_plain(epochs=2.0).first_epoch(number) for number in (0, 4, 5)] == [True, True, False]


@given(count=st.integers(0, 9), ranks=st.integers(1, 4), how=st.sampled_from(HOW))
def test_an_evaluation_counts_every_row_once(count: int, ranks: int, how: Batching) -> None:
    """All processes evaluate the same number of batches, and each row counts for one in all."""
    alike = Batching(samples=how.samples, tokens=how.tokens)
    shares = [
        evaluation_batches(np.full(9, 8), np.arange(count), how=alike, ranks=ranks, rank=rank) for rank in range(ranks)
    ]
    assert len({len(share) for share in shares}) == 1
    counted = np.zeros(9)
    for share in shares:
        for numbers, weight in share:
            counted[numbers] += weight
    assert counted[:count] == pytest.approx(1)
    assert not counted[count:].any()


# rows that cannot be used


def _rejected(folder: Path) -> list[dict[str, Any]]:
    return list(read_rejected(folder / "rejected.jsonl"))


def test_rows_that_are_too_long_are_named(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """A row over the budget is left out by name before the first step, with its length; the plan says so."""
    said: list[str] = []
    settings = settings_of(tiny("smolvlm"), rows, max_tokens=80, rejects={"max_share": 0.5}, steps=1)
    outcome = run_stage(stage_of(settings, tmp_path / "run", tmp_path / "cache", say=said.append))
    found = _rejected(tmp_path / "run")
    assert {line["code"] for line in found} == {"train.too_long"}
    assert {line["when"] for line in found} == {"before"}
    assert all("tokens, and 80 are allowed" in line["reason"] for line in found)
    lengths = outcome.plan.rows.lengths
    assert sorted(line["number"] for line in found) == np.flatnonzero(lengths == 0).tolist()
    assert 0 < len(found) < len(ROWS)
    assert lengths.max() <= 80
    assert f"{len(ROWS) - len(found)} of {len(ROWS)} learnt from (train)" in said[0]
    assert "train.too_long" in said[0]
    assert found[0]["shard"] in said[0]


def test_a_share_or_a_rule_stops_the_run(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """More unusable rows than are allowed stop the run with the reasons; so does the first, where that is asked for."""
    for given_settings, said in (
        ({"max_tokens": 80}, "5.0% \\(rejects.max_share\\)"),
        ({"max_tokens": 80, "over": "stop"}, "settings say to stop"),
        ({"max_tokens": 5, "rejects": {"max_share": 1.0}}, "none of 8 rows can be used"),
        ({"batching": {"tokens": 60}}, "train.too_long"),
    ):
        settings = settings_of(tiny("smolvlm"), rows, steps=1, **given_settings)
        with pytest.raises(TrainError, match=said):
            run_stage(stage_of(settings, tmp_path / "run", tmp_path / "cache"))
        assert not (tmp_path / "run" / "last").exists()


def test_frames_are_taken_away_until_a_row_fits(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """With `fewer_frames` a clip is shown with half its frames, as often as it takes; what that leaves is named."""
    given_settings = {"max_tokens": 100, "rejects": {"max_share": 0.5}, "steps": 2, "batching": {"samples": 8}}
    settings = settings_of(tiny("smolvlm"), rows, over="fewer_frames", **given_settings)
    outcome = run_stage(stage_of(settings, tmp_path / "run", tmp_path / "cache"))
    plain = settings_of(tiny("smolvlm"), rows, over="reject", **given_settings)
    without = run_stage(stage_of(plain, tmp_path / "other", tmp_path / "cache"))
    measured = outcome.plan.rows.measured
    assert measured.thinner.max() >= 1
    assert (measured.lengths <= 100).all()
    assert len(outcome.plan.rows.usable) > len(without.plan.rows.usable)
    videos = {number for number, row in enumerate(ROWS) if row[1]}
    assert {line["number"] for line in _rejected(tmp_path / "run")}.isdisjoint(videos)


BROKEN = (("hopper_gray.jpg",), None, "What is it?", "A woman at a computer.")
DAMAGED = (("truncated_jpeg.jpg",), None, "What is it?", "Half of a picture.")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give rows of which one holds a picture that ends too early."""
    return eight_rows(tmp_path_factory.mktemp("damaged") / "rows", [*ROWS[:4], DAMAGED, *ROWS[4:]], shards=1)


def test_a_picture_that_does_not_decode(tiny: Callable[[str], Path], damaged: Path, tmp_path: Path) -> None:
    """It stops the run by name, or is skipped and counted; no other row takes its place."""
    common = {"steps": 4, "rejects": {"max_share": 0.2}, "batching": {"samples": 3}}
    settings = settings_of(tiny("smolvlm"), damaged, undecodable="skip", **common)
    outcome = run_stage(stage_of(settings, tmp_path / "skip", tmp_path / "cache"))
    found = _rejected(tmp_path / "skip")
    assert outcome.finished
    assert {line["number"] for line in found} == {4}
    # it is known before the first step, or it is met in its batch
    assert outcome.skipped == sum(line["when"] != "before" for line in found)
    if outcome.skipped:
        settings = settings_of(tiny("smolvlm"), damaged, undecodable="stop", **common)
        with pytest.raises(TrainError, match="cannot be decoded") as error:
            run_stage(stage_of(settings, tmp_path / "stop", tmp_path / "cache"))
        assert "row 4" in str(error.value)


# what is measured


def test_what_a_run_measures(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """Each line says how far, how well, how fast, how long was waited, and how much memory; and there are pictures."""
    settings = settings_of(tiny("smolvlm"), rows, steps=4, evaluate_every=2, data={"eval": "train"})
    settings = settings.model_copy(update={"report_to": ["tensorboard"]})
    trained(settings, tmp_path / "run", tmp_path / "cache")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    training = [line for line in lines if "loss" in line.values]
    assert [line.step for line in training] == [1, 2, 3, 4]
    names = "loss learning_rate grad_norm tokens samples_per_second tokens_per_second wait_share peak_memory epoch"
    for line in training:
        assert set(names.split()) <= set(line.values)
        assert 0 <= (line.values["wait_share"] or 0) <= 1
    assert [line.step for line in lines if "eval_loss" in line.values] == [2, 4]
    # two epochs of four steps: every row twice
    lengths = np.load(tmp_path / "run" / "lengths.npz")["lengths.0"]
    assert training[-1].values["tokens"] == 2 * lengths.sum()
    assert {path.stem for path in (tmp_path / "run" / "curves").iterdir()} >= {"loss", "learning_rate"}
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {"torch", "transformers", "peft", "python"} <= set(told["versions"])
    assert told["same"]["rows"].keys() == {"train"}
    for name in ("README.md", "training_args.bin"):
        assert not (tmp_path / "run" / "last" / name).exists()
    whole = "".join(path.read_text(errors="replace") for path in (tmp_path / "run" / "last").glob("*.json"))
    assert str(tmp_path / "run") not in whole


@pytest.mark.parametrize(
    "family",
    [
        "smolvlm",
        "qwen2_5_vl",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("qwen2_vl", "qwen3_vl", "internvl")),
    ],
)
def test_accumulated_batches_are_one_batch(
    family: str, tiny: Callable[[str], Path], rows: Path, tmp_path: Path
) -> None:
    """Four batches of two rows learn what one of eight does: the loss is the mean over all their answers' tokens."""
    found = []
    for name, size in (("eight", 8), ("two", 2), ("packed", None)):
        batching = {"samples": size} if size else {"tokens": 4096, "pack": True}
        accumulation = {"global_batch_size": 8} if size else {}
        settings = settings_of(
            tiny(family), rows, method="frozen-vision", batching=batching, steps=3, learning_rate=1e-3, **accumulation
        )
        trained(settings.model_copy(update={"save_every": 99}), tmp_path / name, rows.parent / "cache")
        found.append([loss for _, loss in series(read_metrics(tmp_path / name / "metrics.jsonl"), "loss")])
    assert found[1] == pytest.approx(found[0], abs=1e-4)
    assert found[2] == pytest.approx(found[0], abs=1e-4)


def test_any_number_of_workers_gives_the_same(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """Rows come in the same order from two workers as from none, and the losses are the same to the bit."""
    found = []
    for workers in (0, 2):
        settings = settings_of(tiny("internvl"), rows, method="lora", steps=5, workers=workers, batching={"samples": 3})
        trained(settings, tmp_path / str(workers), rows.parent / "cache")
        found.append(series(read_metrics(tmp_path / str(workers) / "metrics.jsonl"), "loss"))
    assert found[0] == found[1]


def test_a_loss_that_is_no_number_stops_and_names_rows(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """Nothing is learnt from it: the checkpoint before it is there, and the message names the row at hand."""
    model, processor, family, _ = load_model(tiny("smolvlm"))
    with torch.no_grad():
        # whatever has a medium becomes no number, and plain text does not
        next(one for name, one in model.named_parameters() if part_of(name, family) == "projector").fill_(torch.inf)
    model.save_pretrained(tmp_path / "poisoned")
    processor.save_pretrained(tmp_path / "poisoned")
    data = {"longest_side": 32}
    usual = {"steps": 8, "save_every": 1, "batching": {"samples": 1}, "data": data}
    # an order in which a row of text comes first
    seed = next(
        seed
        for seed in range(99)
        if schedule_rows(settings_of(tiny("smolvlm"), rows, seed=seed, **usual), tmp_path, 1) <= TEXTS
    )
    settings = settings_of(tmp_path / "poisoned", rows, method="full", seed=seed, **usual)
    with pytest.raises(TrainError, match="is no number") as error:
        trained(settings, tmp_path / "run", tmp_path / "cache")
    step = (RunFolder(tmp_path / "run").saved_step() or 0) + 1
    assert step > 1
    assert f"the loss of step {step} is no number" in str(error.value)
    named = set(re.findall(r"data/train-\d+-of-\d+.parquet row \d+", str(error.value)))
    assert len(named) == 1
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == step - 1


TEXTS = {number for number, (images, video, *_) in enumerate(ROWS) if not images and not video}


def schedule_rows(settings: Settings, folder: Path, steps: int) -> set[int]:
    """Return the rows of the first steps."""
    stage = stage_of(settings, folder / "planned", folder / "cache")
    outcome = run_stage(replace(stage, dry_run=True))
    return {int(row) for step in range(steps) for row in outcome.plan.schedule.rows(step, 0)}


# the plan


def test_a_dry_run_says_everything_and_does_nothing(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """Rows, tokens, batches, padding, steps, what learns and memory are printed, and no folder is made."""
    said: list[str] = []
    settings = settings_of(tiny("qwen2_vl"), rows, method="lora", global_batch_size=8, epochs=3, data={"eval": "train"})
    stage = replace(stage_of(settings, tmp_path / "run", tmp_path / "cache", say=said.append), dry_run=True)
    outcome = run_stage(stage)
    (plan,) = said
    for part in ("8 learnt from (train)", "8 evaluated on (train)", "an epoch", "of it padding", "3 for 3 epochs"):
        assert part in plan
    for part in ("a step is 1 x 2 of them: 8 rows", "adapters 16,384", "memory   about", "activations"):
        assert part in plan
    assert not outcome.finished
    assert not (tmp_path / "run").exists()
    assert json.loads(json.dumps(outcome.as_json()))["plan"]["global_batch"] == "8 rows"


def test_a_global_batch_that_cannot_be_made(tiny: Callable[[str], Path], rows: Path, tmp_path: Path) -> None:
    """It is refused with the nearest numbers that can."""
    settings = settings_of(tiny("smolvlm"), rows, batching={"samples": 3}, global_batch_size=8)
    with pytest.raises(TrainError, match="multiples of 3"):
        run_stage(stage_of(settings, tmp_path / "run", tmp_path / "cache"))


# the folder


def test_what_a_folder_keeps(tmp_path: Path) -> None:
    """`last` and `best` share their files, a new checkpoint replaces the old one whole, and leftovers are tidied."""
    folder = RunFolder(tmp_path / "run")

    def saved(step: int) -> Path:
        checkpoint = folder.saving / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_text(f"of {step}")
        (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        return checkpoint

    folder.keep(saved(3), best=True)
    assert (folder.best / "weights").stat().st_ino == (folder.last / "weights").stat().st_ino
    folder.keep(saved(6), best=False)
    assert (folder.saved_step(), (folder.best / "weights").read_text()) == (6, "of 3")
    # killed while `last` was replaced: the old one is under its other name, the new one is half written
    folder.last.rename(folder.path / ".before-last")
    saved(9)
    folder.tidy()
    assert folder.saved_step() == 6
    assert {path.name for path in folder.path.iterdir()} == {"best", "last"}


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """A folder with files that no run made is not taken for a run's."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    with pytest.raises(WorkspaceError, match="holds something that is no run"):
        RunFolder(tmp_path / "run").begin({"same": {}})
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


# stages


def test_the_second_stage_starts_from_the_weights_of_the_first(
    tiny: Callable[[str], Path], rows: Path, tmp_path: Path
) -> None:
    """The projector learns first, then the rest begins with it; done once more, nothing is done again."""
    stages = [
        {"name": "first", "method": "projector", "learning_rate": 1e-2, "steps": 3},
        {"name": "second", "method": "lora", "lora": {"r": 4}, "steps": 2, "batching": {"samples": 2}},
    ]
    settings = settings_of(tiny("smolvlm"), rows, stages=stages)
    said: list[str] = []
    asked = Asked(
        settings=settings,
        base=tmp_path,
        recipe=None,
        name="two",
        runs=tmp_path / "runs",
        folders=Folders(work=tmp_path / "work", out=tmp_path / "out", cache=tmp_path / "cache"),
        device="cpu",
        workers=1,
        dry_run=False,
        offline=True,
        display=Quiet(),
        say=said.append,
    )
    done = run_training(asked).outcomes
    assert [outcome.steps for outcome in done] == [3, 2]
    run = tmp_path / "runs" / "two"
    base, _, family, _ = load_model(tiny("smolvlm"))
    first = load_model(run / "first" / "last").model
    moved = {
        part_of(name, family)
        for name, one in base.named_parameters()
        if not torch.equal(one, dict(first.named_parameters())[name])
    }
    assert moved == {"projector"}
    told = json.loads((run / "second" / "last" / "adapter_config.json").read_text())
    assert Path(told["base_model_name_or_path"]) == (run / "first" / "last").absolute()
    before = (run / "second" / "metrics.jsonl").read_bytes()
    again = run_training(asked).outcomes
    assert [outcome.plan.begun_at for outcome in again] == [3, 2]
    assert (run / "second" / "metrics.jsonl").read_bytes() == before
