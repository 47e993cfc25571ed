"""Evaluations of whole tasks: nothing vanishes, nothing crashes, and two of them can be compared."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.example import RowRef, TrainError
from train.scoring.comparison import compare
from train.scoring.scores import METRICS, Kind, ScoredRow, Scores, TaskSpec, scores_from_json
from train.scoring.tasks import evaluate_texts

TEXTS = st.text(st.characters(), max_size=30)
KINDS = get_args(Kind)
NAMES = ("quality", "degree")


def _row(number: int, prediction: str, truth: str = "", **more: object) -> ScoredRow:
    row = RowRef(number=number, shard="clips/test-00000-of-00001.parquet", row=number, id=f"r{number}")
    return ScoredRow(row=row, prediction=prediction, truth=truth, **more)  # type: ignore[arg-type]


def _task(kind: Kind) -> TaskSpec:
    return TaskSpec(kind=kind, names=NAMES if kind == "scores" else (), allowed=(1, 4), circular=True)


@pytest.mark.parametrize("kind", KINDS)
def test_no_texts(kind: Kind) -> None:
    """Without texts there are no numbers, and it is said why."""
    scores = evaluate_texts(_task(kind), [])
    assert (scores.rows, scores.per_row) == (0, [])
    assert all(value is None for value in scores.values.values())
    assert scores.notes == ["there are no texts"]


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS, max_size=3)), min_size=1, max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_any_texts(kind: Kind, texts: list[tuple[str, str, list[str]]]) -> None:
    """Whatever is said and true, each text has its scores in order, and the report goes through JSON and back."""
    rows = [
        _row(number, said, true, answers=tuple(answers), options=dict(zip("AB", answers, strict=False)))
        for number, (said, true, answers) in enumerate(texts)
    ]
    scores = evaluate_texts(_task(kind), rows)
    assert [one.row for one in scores.per_row] == [row.row for row in rows]
    assert all(name.partition("/")[0] in METRICS for name in scores.values)
    assert all(set(one.values) <= METRICS.keys() and scores.main in one.values for one in scores.per_row)
    assert scores_from_json(json.loads(json.dumps(scores.as_json()))) == scores
    assert compare(scores, scores).as_text()


def test_captions() -> None:
    """A right caption, a half right one and an empty one, by every number."""
    rows = [_row(0, "A dog runs.", "a dog runs"), _row(1, "a cat", "a cat sits"), _row(2, " ", "x y z")]
    scores = evaluate_texts(TaskSpec(kind="caption"), rows, loss=2.0, perplexity=7.389)
    assert scores.values["exact_match"] == pytest.approx(1 / 3)
    assert scores.values["cer"] == pytest.approx((2 + 5 + 5) / (10 + 10 + 5))
    assert (scores.values["loss"], scores.values["perplexity"]) == (2.0, 7.389)
    assert list(scores.values) == ["loss", "perplexity", "exact_match", "bleu", "chrf", "cer"]
    assert [one.values["exact_match"] for one in scores.per_row] == [1, 0, 0]
    assert scores.counts == {"empty_predictions": 1}
    assert [note.partition(" ")[0] for note in scores.notes] == ["BLEU", "chrF"]


def test_formulas() -> None:
    """Blanks, delimiters and needless braces do not count; a formula with a lone brace does."""
    rows = [_row(0, r"$$\frac{1}{2}$$", r"\frac12"), _row(1, r"x^{2", "x^3")]
    scores = evaluate_texts(TaskSpec(kind="latex"), rows)
    assert [one.values["exact_match"] for one in scores.per_row] == [1, 0]
    assert scores.per_row[0].values == {"exact_match": 1, "bleu": pytest.approx(100), "cer": 0}
    assert scores.values["cer"] == pytest.approx(2 / 10)
    assert scores.counts == {"unbalanced_braces": 1}


def test_scores_in_words() -> None:
    """A number that was not said is wrong, is no distance, and is counted; so is a true text without numbers."""
    rows = [
        _row(0, "quality: 2, degree: 3", "quality: 2, degree: 3"),
        _row(1, "quality: 1, degree: 4", "quality: 3, degree: 4"),
        _row(2, "quality: 4", "quality: 4, degree: 1"),
        _row(3, "no idea", "quality: 1, degree: 1"),
        _row(4, "quality: 1, degree: 1", "nobody scored it"),
    ]
    scores = evaluate_texts(_task("scores"), rows)
    assert scores.values["accuracy/quality"] == pytest.approx(2 / 4)
    assert scores.values["accuracy/degree"] == pytest.approx(2 / 4)
    assert scores.values["accuracy"] == pytest.approx(4 / 8)
    assert scores.values["all_right"] == pytest.approx(1 / 4)
    assert scores.values["mae/quality"] == pytest.approx(2 / 3)
    assert scores.values["spearman/quality"] == pytest.approx(0.5)
    assert scores.values["spearman/degree"] == pytest.approx(1)
    assert scores.counts == {"unread_truths": 1, "unread": 2, "unread_numbers": 3}
    assert [bool(one.note) for one in scores.per_row] == [False, False, True, True, True]
    assert scores.per_row[3].values == {"accuracy": 0, "mae": None}
    assert scores.per_row[4].values == {"accuracy": None, "mae": None}


def test_scores_as_plain_lists() -> None:
    """Without names the truth says how many numbers there are."""
    rows = [_row(0, "3 and 2", "[3, 2]"), _row(1, "1, 2, 3", "1, 2")]
    scores = evaluate_texts(TaskSpec(kind="scores"), rows)
    assert scores.values["accuracy/1"] == pytest.approx(1 / 2)
    assert scores.counts == {"unread": 1, "unread_numbers": 2}


def test_choices_in_every_order() -> None:
    """A question counts only where it is right in all its orders; one without a group is a question of its own."""
    options = {"A": "cat", "B": "dog"}
    swapped = {"A": "dog", "B": "cat"}
    rows = [
        _row(0, "B", "B", options=options, group="q1"),
        _row(1, "dog", "A", options=swapped, group="q1"),
        _row(2, "A", "A", options=options, group="q2"),
        _row(3, "A", "cat", options=swapped, group="q2"),
        _row(4, "hm", "B", options=options),
        _row(5, "B", "Z", options=options),
    ]
    scores = evaluate_texts(TaskSpec(kind="choices", circular=True), rows)
    assert scores.values == {"accuracy": pytest.approx(3 / 5), "circular_accuracy": pytest.approx(1 / 3)}
    assert scores.counts == {"unread": 1, "unread_truths": 1, "questions": 3}
    assert scores.per_row[4].note == "names no option"


def test_short_answers() -> None:
    """People's answers count, and the truth where there are none."""
    rows = [_row(0, "Two dogs", answers=("2 dogs",) * 2 + ("dogs",) * 8), _row(1, "stop", "STOP")]
    scores = evaluate_texts(TaskSpec(kind="short_answer"), rows)
    assert [one.values["vqa_accuracy"] for one in scores.per_row] == [pytest.approx(0.6), 1]
    assert scores.counts == {"rows_with_few_answers": 1}


def test_what_is_handed_in_may_be_no_number() -> None:
    """A loss that is not finite is none, and a note says what it was."""
    scores = evaluate_texts(TaskSpec(kind="caption"), [_row(0, "a", "a")], loss=float("nan"))
    assert scores.values["loss"] is None
    assert "loss is nan" in scores.notes


def _captions(*texts: str) -> Scores:
    return evaluate_texts(
        TaskSpec(kind="caption"), [_row(place, text, "a dog runs") for place, text in enumerate(texts)]
    )


def test_before_and_after() -> None:
    """Each number has both values, its difference and whether that is better, and so have single rows."""
    before, after = _captions("", "a dog runs", "x"), _captions("a dog", "a dog run", "x")
    compared = compare(before, after)
    verdicts = {one.name: one.verdict for one in compared.table}
    assert (verdicts["cer"], verdicts["exact_match"], verdicts["chrf"]) == ("better", "worse", "better")
    assert compared.fared == {"better": 1, "worse": 1, "same": 1}
    assert compared.counts == {"empty_predictions": (1, 0)}
    plain = json.loads(json.dumps(compared.as_json()))
    assert plain["values"]["cer"]["difference"] == pytest.approx(after.values["cer"] - before.values["cer"])
    text = compared.as_text()
    assert "exact match        33.3 %   0.0 %     -33.3 %  worse" in text


def test_evaluations_of_different_rows() -> None:
    """Numbers of different rows stand side by side, but it is said; different tasks have nothing to compare."""
    compared = compare(_captions("a", "b"), _captions("a"))
    assert compared.rows == (2, 1)
    assert "only 1 rows are in both" in compared.notes[0]
    with pytest.raises(TrainError, match="cannot be compared"):
        compare(_captions("a"), evaluate_texts(TaskSpec(kind="latex"), [_row(0, "a", "a")]))


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"kind": "poem"}, "no task"),
        ({"kind": "caption", "language": "cn"}, "no language"),
        ({"kind": "scores", "names": ("a", "A")}, "twice"),
        ({"kind": "scores", "allowed": (4, 1)}, "no number"),
    ],
)
def test_tasks_that_are_none(wrong: dict[str, object], what: str) -> None:
    """A task that cannot be meant is refused by name."""
    with pytest.raises(TrainError, match=what):
        TaskSpec(**wrong)  # type: ignore[arg-type]


def test_scores_of_another_making() -> None:
    """A report that is none is refused."""
    with pytest.raises(TrainError, match="no scores"):
        scores_from_json({"rows": 3})
