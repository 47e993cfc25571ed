"""Evaluations: before and after a training, kept row by row, with every row that could not be asked named."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.report import Quiet
from tests.train.datasets_for_tests import media, noise_png, write_dataset
from tests.train.taught_run import CLIPS, PICTURES, QUESTION, taught_run
from train.evaluation import asked_model, evaluate_rows
from train.evaluation.asked_rows import prompt_of
from train.evaluation.evaluation import evaluate_run
from train.scoring.predictions import read_predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

TRUE = {**{name: caption for name, caption in CLIPS.items() if name != "video_90.mov"}, **PICTURES}


def evaluate(model: Path | str, *options: object, cache: Path | None = None) -> Result:
    """Run the command."""
    cache = cache or Path(model).absolute().parent / "cache"
    arguments = ["evaluate", str(model), "--cache", str(cache), "--device", "cpu", *map(str, options)]
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def run(taught: Path, tmp_path: Path) -> Path:
    """Give a run of its own to a test."""
    return Path(shutil.copytree(taught, tmp_path / "runs" / "clips"))


def values(report: dict[str, Any], model: str) -> dict[str, float]:
    """Return the numbers of a model."""
    found: dict[str, float] = report["scores"][model]["values"]
    return found


def test_before_and_after(run: Path, taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that knows its rows is right in all of them and its base in none; asked again, no model is loaded."""
    cache = taught.parent / "cache"
    result = evaluate(run, cache=cache)
    assert result.exit_code == 0, result.output
    assert re.search(r"^exact match +0\.0 % +100\.0 % +\+100\.0 % +better$", result.output, re.MULTILINE)
    assert "rows: 4 of the split 'test' of demo" in result.output
    out = run / "evaluation" / "best-test"
    report = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert values(report, "before")["exact_match"] == 0.0
    assert values(report, "after")["exact_match"] == 1.0
    assert values(report, "after")["loss"] < 0.1
    assert values(report, "before")["loss"] > 3
    assert report["rows"] == 4
    assert report["left_out"]["rows"] == 0
    assert str(run) not in json.dumps(report)

    kept = list(read_predictions(out / "predictions.jsonl"))
    assert [one.model for one in kept] == ["before"] * 4 + ["after"] * 4
    after = {one.row.id: one for one in kept if one.model == "after"}
    assert {name.partition(".")[0]: caption for name, caption in TRUE.items()} == {
        name: one.prediction for name, one in after.items()
    }
    assert after["bitmap"].prompt == f"<video>{QUESTION}"
    assert all(
        one.loss is not None and one.loss_tokens > 5 and one.scores["exact_match"] == 1.0 for one in after.values()
    )

    page = (out / "predictions.html").read_text(encoding="utf-8")
    assert page.count('<figure class="frame">') == 4
    assert page.count('<figure class="image">') == 2
    assert "A drawn rabbit looks up." in page

    def loading(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is left to be asked")

    monkeypatch.setattr(asked_model, "load_model", loading)
    again = evaluate(run, "--json", cache=cache)
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["scores"] == report["scores"]
    assert "answers that were there from before: 8" in evaluate(run, cache=cache).output


def test_it_goes_on_where_it_was_killed(run: Path, taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill only the missing rows are asked, and the report is that of an evaluation that was not killed."""
    cache = taught.parent / "cache"
    assert evaluate(run, "--baseline", "none", "--batch", 1, cache=cache).exit_code == 0
    path = run / "evaluation" / "best-test" / "predictions.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    asked: list[int] = []
    answering = evaluate_rows.answers_to

    def heard(*given: Any, **options: Any) -> Any:
        asked.extend(prompt.row.number for prompt in given[3])
        return answering(*given, **options)

    monkeypatch.setattr(evaluate_rows, "answers_to", heard)
    result = evaluate(run, "--baseline", "none", "--batch", 1, cache=cache)
    assert result.exit_code == 0, result.output
    assert sorted(asked) == sorted(json.loads(line)["number"] for line in lines[2:])
    assert path.read_bytes() == whole
    # another checkpoint, though its files are as large and begin alike, is asked anew
    weights = run / "best" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    asked.clear()
    assert evaluate(run, "--baseline", "none", cache=cache).exit_code == 0
    assert len(asked) == 4


def test_what_cannot_be_asked_is_named(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Rows with damaged media, with control tokens, or that are too long are named and counted; the rest is asked."""
    damaged = noise_png(3)[:-40]
    table = pa.table(
        {
            "id": ["good", "damaged", "odd", "long"],
            "image": media([noise_png(1), damaged, noise_png(2), noise_png(4)]),
            "text": ["A cat.", "A dog.", "An <|image_pad|>.", "Very " * 400],
        }
    )
    folder = write_dataset(tmp_path / "set", table, {"image": {"_type": "Image"}})
    schema = tmp_path / "rows.yaml"
    turns = [{"user": [{"image": "image"}, "What?"]}, {"assistant": "{{ text }}"}]
    columns = {"id": "string", "image": "image", "text": "string"}
    schema.write_text(yaml.safe_dump({"name": "rows", "columns": columns, "conversation": turns}), encoding="utf-8")
    options = ["--data", folder, "--split", "train", "--schema", schema, "--id", "id", "--task", "caption"]
    options += ["--max-new-tokens", 4, "--max-tokens", 200, "--out", tmp_path / "report"]
    result = evaluate(tiny("qwen2_vl"), *options, cache=tmp_path / "cache")
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "report" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    named = {line["id"]: line["code"] for line in map(json.loads, lines)}
    assert named == {"damaged": "media.decode", "odd": "train.placeholder", "long": "train.too_long"}
    assert "rows: 1 of the split 'train'" in result.output
    assert "data/train-00000-of-00001.parquet row 2 (odd)" in result.output
    assert re.search(r"answers after that were cut off at 4 tokens: 1 of 1", result.output)


def test_options_and_answers_of_people(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """Options and answers come from their columns, found by their usual names, and circular questions by their id."""
    table = pa.table(
        {
            "index": ["q1", "q1", "q2"],
            "question": ["Which?", "Which?", "What colour?"],
            "A": ["a cat", "a dog", "red"],
            "B": ["a dog", "a cat", "blue"],
            "C": [None, None, "green"],
            "answer": ["A", "B", "C"],
            "answers": [["cat"] * 3, ["cat"], ["green", "lime"]],
        }
    )
    features = {"answers": [{"dtype": "string", "_type": "Value"}]}
    folder = write_dataset(tmp_path / "set", table, features)
    schema = tmp_path / "rows.yaml"
    turns = [{"user": "{{ question }}"}, {"assistant": "{{ answer }}"}]
    columns = {"index": "string", "question": "string", "answer": "string"}
    schema.write_text(yaml.safe_dump({"name": "rows", "columns": columns, "conversation": turns}), encoding="utf-8")
    usual = ["--data", folder, "--split", "train", "--schema", schema, "--id", "index", "--max-new-tokens", 3]

    def report(task: str, *options: object) -> tuple[dict[str, Any], list[Any]]:
        out = tmp_path / task
        result = evaluate(tiny("qwen2_vl"), *usual, "--task", task, "--out", out, *options, cache=tmp_path / "cache")
        assert result.exit_code == 0, result.output
        found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
        return found["scores"]["after"], list(read_predictions(out / "predictions.jsonl"))

    scores, predictions = report("choices", "--circular")
    assert {"accuracy", "circular_accuracy", "loss", "perplexity"} <= scores["values"].keys()
    assert scores["counts"]["questions"] == 2
    assert {one.row.number: (dict(one.options), one.group) for one in predictions} == {
        0: ({"A": "a cat", "B": "a dog"}, "q1"),
        1: ({"A": "a dog", "B": "a cat"}, "q1"),
        2: ({"A": "red", "B": "blue", "C": "green"}, "q2"),
    }
    scores, predictions = report("short_answer")
    assert "vqa_accuracy" in scores["values"]
    assert {one.row.number: one.answers for one in predictions}[2] == ("green", "lime")
    result = evaluate(
        tiny("qwen2_vl"),
        *usual,
        "--task",
        "short_answer",
        "--answers",
        "answerz",
        "--out",
        tmp_path / "none",
        cache=tmp_path,
    )
    assert result.exit_code == 3
    assert "there is no column 'answerz'" in result.output


def test_a_model_that_learnt_as_a_whole(
    taught: Path, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What learnt as a whole is compared with what it began with, as the training asks for it in the end."""
    monkeypatch.chdir(tmp_path)
    dataset = taught.parents[1] / "out" / "demo"
    run = taught_run(tmp_path / "runs" / "full", dataset, tiny("smolvlm"), method="full", steps=40)
    said: list[str] = []
    found = evaluate_run(run, cache=taught.parent / "cache", device="cpu", display=Quiet(), say=said.append)
    assert found.comparison is not None
    compared = {one.name: (one.before, one.after) for one in found.comparison.table}
    assert compared["exact_match"] == (0.0, 1.0)
    assert found.out == run / "evaluation" / "best-test"
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]


def test_mistakes(run: Path, tiny: Callable[[str], Path], tmp_path: Path) -> None:
    """What cannot be evaluated is said with what is there, and what to do."""
    missing = evaluate(tmp_path / "none")
    assert missing.exit_code == 2
    assert "there is no folder" in missing.output
    hub = evaluate("nobody/nothing", "--data", tmp_path, cache=tmp_path)
    assert hub.exit_code == 3
    assert "hf download nobody/nothing" in hub.output
    nothing_said = evaluate(tiny("smolvlm"), "--data", tmp_path, cache=tmp_path)
    assert nothing_said.exit_code == 2
    assert "--task caption" in nothing_said.output
    no_rows = evaluate(tiny("smolvlm"), "--task", "caption", cache=tmp_path)
    assert no_rows.exit_code == 2
    assert "--data FOLDER" in no_rows.output
    split = evaluate(run, "--split", "tset", cache=tmp_path)
    assert split.exit_code == 3
    assert "has no split 'tset'; there are: 'train', 'test'" in split.output
    both = evaluate(run, "--frames", 2, "--fps", 1, cache=tmp_path)
    assert both.exit_code == 2
    told = json.loads((run / "run.json").read_text(encoding="utf-8"))
    told["places"]["dataset"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(told), encoding="utf-8")
    gone = evaluate(run, cache=tmp_path)
    assert gone.exit_code == 3
    assert "the dataset of the run is not at" in gone.output


@pytest.mark.parametrize("name", ["smolvlm", "qwen3_vl", "internvl"])
def test_prompts_are_those_of_the_family(name: str, tiny: Callable[[str], Path]) -> None:
    """What stands before the last answer of an encoded row is its prompt, to the token and the pixel."""
    import torch

    from tests.train.tiny_rows import loaded, rows

    _, processor, family, encoded = loaded(tiny(name))
    for example, one in zip(rows(), encoded, strict=True):
        cut, prompt = prompt_of(one), family.prompt(processor, example)
        assert torch.equal(cut.input_ids, prompt.input_ids)
        assert (cut.token_types is None) == (prompt.token_types is None)
        assert cut.token_types is None or torch.equal(cut.token_types, prompt.token_types)
        assert cut.media.keys() == prompt.media.keys()
        assert all(torch.equal(cut.media[key], prompt.media[key]) for key in cut.media)
