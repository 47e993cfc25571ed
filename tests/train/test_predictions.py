"""predictions.jsonl: an evaluation goes on where it was stopped, with its own answers only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from train.example import RowRef, TrainError
from train.scoring.predictions import AFTER, BEFORE, Prediction, add_scores, predictions_file, read_predictions
from train.scoring.scores import TaskSpec
from train.scoring.tasks import evaluate_texts

if TYPE_CHECKING:
    from pathlib import Path

OF = {BEFORE: "base", AFTER: "trained"}


def _answer(number: int, model: str = AFTER, text: str = "a dog", of: str = "") -> Prediction:
    return Prediction(
        model=model,
        of=of or OF[model],
        row=RowRef(number=number, shard="c/test-00000-of-00001.parquet", row=number, id=f"id {number}"),
        prompt="What is\u2028shown?",
        prediction=text,
        truth="a dog\nruns",
        options={"A": "a dog"},
        answers=("dog",),
    )


def test_an_evaluation_goes_on(tmp_path: Path) -> None:
    """Answers that are there are known by model and row, a torn one is made again, and nothing is answered twice."""
    path = tmp_path / "eval" / "predictions.jsonl"
    with predictions_file(path, OF) as file:
        assert file.answered == set()
        file.add(_answer(0))
        file.add(_answer(1, BEFORE, "\ud800 half"))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"model": "after", "of"')
    with predictions_file(path, OF) as file:
        assert file.answered == {(AFTER, 0), (BEFORE, 1)}
        file.add(_answer(2))
    assert path.read_bytes().startswith(whole)
    assert list(read_predictions(path)) == [_answer(0), _answer(1, BEFORE, "\ud800 half"), _answer(2)]


def test_answers_of_something_else_are_cut_away(tmp_path: Path) -> None:
    """Another model, other decoding or a damaged line: an evaluation keeps what is its own."""
    path = tmp_path / "predictions.jsonl"
    with predictions_file(path, {**OF, AFTER: "old"}) as file:
        file.add(_answer(0, BEFORE))
        file.add(_answer(0, AFTER, of="old"))
    with path.open("ab") as lines:
        lines.write(b'{"model": "after", "of": "trained", "number": "x"}\nnonsense\n')
    with pytest.raises(TrainError, match=r"predictions\.jsonl:3"):
        list(read_predictions(path))
    with predictions_file(path, OF) as file:
        assert file.answered == {(BEFORE, 0)}
    assert list(read_predictions(path)) == [_answer(0, BEFORE)]


def test_each_line_says_which_row_it_is(tmp_path: Path) -> None:
    """A line is one JSON object with the row's number, shard and place; what is empty is left out."""
    path = tmp_path / "predictions.jsonl"
    with predictions_file(path, OF) as file:
        file.add(_answer(3))
    (line,) = path.read_text(encoding="utf-8").split("\n")[:-1]
    plain = json.loads(line)
    assert (plain["number"], plain["shard"], plain["row"], plain["id"]) == (
        3,
        "c/test-00000-of-00001.parquet",
        3,
        "id 3",
    )
    assert "scores" not in plain
    assert "group" not in plain


def test_scores_are_added_to_their_answers(tmp_path: Path) -> None:
    """Each answer gets its own scores, of its own model; one that was not scored stays as it is."""
    path = tmp_path / "predictions.jsonl"
    with predictions_file(path, OF) as file:
        for number, model in ((0, BEFORE), (0, AFTER), (1, AFTER)):
            file.add(_answer(number, model, "a dog" if model == BEFORE else "a dog runs"))
    answers = [one for one in read_predictions(path) if one.model == AFTER]
    scores = evaluate_texts(TaskSpec(kind="caption"), [one.scored for one in answers])
    add_scores(path, {AFTER: scores})
    found = list(read_predictions(path))
    assert [dict(one.scores).get("exact_match") for one in found] == [None, 1, 1]
    assert [one.prediction for one in found] == ["a dog", "a dog runs", "a dog runs"]
    with predictions_file(path, OF) as file:
        assert len(file.answered) == 3
