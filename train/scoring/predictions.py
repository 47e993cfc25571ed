"""predictions.jsonl: what a model answered, row by row, so that an evaluation can go on where it was stopped.

    {"model": "after", "of": "3f2a…", "number": 0, "shard": "clips/test-00000-of-00001.parquet", "row": 0, "id": "a1",
     "prompt": "What does this clip show?", "prediction": "A man rides.", "truth": "A man rides a horse.",
     "cut_off": false, "scores": {"chrf": 61.2}}

`of` names what the answers were made with (model, rows, decoding): an evaluation that goes on keeps only its own.
Answers of several models stand in one file, in the order in which they were given.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipeline.workspace import writing
from train.example import RowRef, TrainError
from train.line_file import LineFile, json_line, opened, read_lines
from train.scoring.scores import ScoredRow, row_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from train.scoring.scores import Scores

BEFORE, AFTER = "before", "after"


_OPTIONAL = ("options", "group", "loss", "loss_tokens", "scores", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model answered to a row."""

    model: str
    """Which one: `before` or `after` a training."""
    of: str
    """What it was made with; answers with another `of` are not this evaluation's."""
    row: RowRef
    prompt: str
    """What was asked, media as their placeholders."""
    prediction: str
    truth: str
    answers: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    cut_off: bool = False
    """Whether the answer reached the limit of tokens before the model ended it."""
    loss: float | None = None
    """The sum of the cross-entropies of the true answers' tokens, in nats; None: it was no finite number."""
    loss_tokens: int = 0
    """How many these are."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    note: str = ""
    """What could not be read of it."""

    @property
    def scored(self) -> ScoredRow:
        """What is needed to score it."""
        return ScoredRow(
            row=self.row,
            prediction=self.prediction,
            truth=self.truth,
            answers=self.answers,
            options=self.options,
            group=self.group,
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values; what is empty and not always there is left out."""
        optional = {
            "answers": list(self.answers),
            "options": dict(self.options),
            "group": self.group,
            "scores": dict(self.scores),
            "note": self.note,
        }
        return {
            "model": self.model,
            "of": self.of,
            **row_as_json(self.row),
            "prompt": self.prompt,
            "prediction": self.prediction,
            "truth": self.truth,
            "cut_off": self.cut_off,
            **({"loss": self.loss, "loss_tokens": self.loss_tokens} if self.loss_tokens else {}),
            **{name: value for name, value in optional.items() if value},
        }


class PredictionsFile:
    """The file of an evaluation that goes on."""

    def __init__(self, lines: LineFile, answered: set[tuple[str, int]]) -> None:
        self._lines = lines
        self.answered = answered
        """Model and number of every row that has its answer."""

    def add(self, prediction: Prediction) -> None:
        """Keep an answer; when this returns, a kill of the process does not lose it.

        Raises:
            WorkspaceError: the disk is full, or gone.
        """
        self._lines.append(prediction.as_json())
        self.answered.add((prediction.model, prediction.row.number))


@contextmanager
def predictions_file(path: Path, of: Mapping[str, str]) -> Iterator[PredictionsFile]:
    """Open the file of an evaluation, which is made when there is none; `of`: model -> what its answers are made with.

    Answers of other models, those made with something else, and a torn last line are cut away.

    Raises:
        WorkspaceError: the folder cannot be written.
    """

    def is_ours(value: dict[str, Any]) -> bool:
        prediction = _prediction(value)
        return prediction is not None and of.get(prediction.model) == prediction.of

    with opened(path, is_ours) as lines:
        answered = {(one.model, one.row.number) for one in read_predictions(path)}
        yield PredictionsFile(lines, answered)


def read_predictions(path: Path) -> Iterator[Prediction]:
    """Yield the answers of a file, one at a time; a last line that is not yet whole is left out.

    Raises:
        TrainError: a line is not one of ours; says which.
        WorkspaceError: the file cannot be read.
    """
    for line in read_lines(path):
        prediction = _prediction(line.value or {})
        if prediction is None:
            raise TrainError(
                f"{path}:{line.number}: this is no prediction of an evaluation",
                hint="run the evaluation again: it keeps what it can, and makes the rest again",
            )
        yield prediction


def add_scores(path: Path, scores: Mapping[str, Scores]) -> None:
    """Write into each answer how it scored; `scores`: model -> the scores of its answers. The file is old or new.

    Raises:
        TrainError: a line is not one of ours.
        WorkspaceError: the folder cannot be written.
    """
    of_rows = {(model, one.row): one for model, found in scores.items() for one in found.per_row}
    with writing(path) as temporary, temporary.open("wb") as file:
        for prediction in read_predictions(path):
            scored = of_rows.get((prediction.model, prediction.row))
            if scored is not None:
                prediction = replace(prediction, scores=scored.values, note=scored.note)  # noqa: PLW2901  the same one
            file.write(json_line(prediction.as_json()))


def _prediction(value: dict[str, Any]) -> Prediction | None:
    """Return a line as an answer, or None where it is none."""
    try:
        row = RowRef(number=value["number"], shard=value["shard"], row=value["row"], id=value.get("id", ""))
        found = Prediction(
            row=row,
            **{name: value[name] for name in ("model", "of", "prompt", "prediction", "truth", "cut_off")},
            answers=tuple(value.get("answers", ())),
            **{name: value[name] for name in _OPTIONAL if name in value},
        )
    except (KeyError, TypeError):
        return None
    texts = (found.model, found.of, found.prompt, found.prediction, found.truth, row.shard, row.id)
    whole = all(isinstance(text, str) for text in texts) and isinstance(row.number, int) and isinstance(row.row, int)
    return found if whole else None
