"""Asking models the rows of a split: every answer is kept when it is given, so that an evaluation goes on where it was.

<out>/
  predictions.jsonl  every answer, with its loss and, in the end, its scores
  rejected.jsonl     rows that were not asked: which, the code and the reason
  evaluation.json    scores of all rows, before and after
  predictions.html   a page of them, to be looked at
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.errors import RowRejected
from pipeline.manifest import fingerprint
from train.evaluation.answer_loss import answer_loss, mean_loss
from train.evaluation.asked_model import opened
from train.evaluation.asked_rows import MoreOfRows, asked_row, prompt_of
from train.evaluation.generate import answers_to
from train.no_network import working_on
from train.runs.measure_rows import ThinnedData, measure_rows
from train.runs.rejected_rows import Rejected, rejected_file
from train.scoring.predictions import Prediction, add_scores, predictions_file, read_predictions
from train.scoring.tasks import evaluate_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from pipeline.report import Display
    from train.evaluation.asked_model import AskedModel, Device
    from train.evaluation.asked_rows import AskedRow
    from train.example import Encoded
    from train.feed.training_data import TrainingData
    from train.runs.measure_rows import Over
    from train.scoring.predictions import PredictionsFile
    from train.scoring.scores import Scores, TaskSpec

VERSION = 1
"""Raised when the same model and rows give other predictions, so that kept ones are not believed."""
WINDOW = 16
"""Batches among whose rows those of like length go together."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What is asked of which models, and how."""

    models: Mapping[str, AskedModel]
    """By what they are called in the report: `before`, `after`."""
    data: TrainingData
    split: str
    numbers: np.ndarray
    """The rows to be asked."""
    task: TaskSpec
    device: Device
    max_new_tokens: int = 256
    batch: int = 8
    """Rows that are answered at once."""
    max_tokens: int | None = None
    """Tokens that a row may have; None: as many as a model has positions for."""
    over: Over = "reject"
    answers: str | None = None
    """The column of people's answers."""
    options: str | Sequence[str] | None = None
    """The column of options, or those of each letter."""
    workers: int = 0
    """Processes that count tokens."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What came of it."""

    scores: dict[str, Scores]
    """By what the models are called."""
    rows: int
    """That were answered by each of them."""
    rejected: list[Rejected] = field(default_factory=list)
    cut_off: dict[str, int] = field(default_factory=dict)
    """Answers that reached the limit of tokens before they ended, by what the models are called."""
    kept: int = 0
    """Answers that were there from before."""


def ask(asking: Asking, out: Path, display: Display) -> Asked:
    """Ask all models all rows, and score what they answer.

    Rows that one of the models cannot be asked, or that do not decode, are asked of none.

    Raises:
        TrainError: a model cannot be loaded, a column is not there, or the network is asked for.
        WorkspaceError: the folder cannot be written.
    """
    usable, rejected, lengths = _measured(asking, display)
    of = {label: _made_with(asking, model) for label, model in asking.models.items()}
    path = out / "predictions.jsonl"
    kept_model: dict[str, Any] = {}
    with (
        predictions_file(path, of) as file,
        closing(MoreOfRows(asking.data, answers=asking.answers, options=asking.options)) as more,
    ):
        wanted = set(usable)
        kept = sum(number in wanted for _, number in file.answered)
        for label, model in asking.models.items():
            missing = [number for number in usable if (label, number) not in file.answered]
            if not missing:
                continue
            with (
                display.stage(label, len(missing), "rows") as progress,
                opened(model, asking.device, kept=kept_model) as loaded,
            ):
                asked = _Rows(asking, model, more, lengths[label])
                for numbers in asked.batches(missing):
                    rejected += asked.answer(numbers, loaded, file, label=label, of=of[label])
                    progress.advance(len(numbers))
            lost = {one.row.number for one in rejected}
            usable = [number for number in usable if number not in lost]
    kept_model.clear()
    with rejected_file(out / "rejected.jsonl", after_step=None) as lines:
        for one in sorted(rejected, key=lambda one: one.row.number):
            lines.append(one.as_json())
    scores, cut_off = _scored(path, asking, set(usable))
    return Asked(scores=scores, rows=len(usable), rejected=rejected, cut_off=cut_off, kept=kept)


def predictions_of(path: Path, rows: set[int]) -> Iterator[Prediction]:
    """Yield the kept answers to some rows."""
    return (one for one in read_predictions(path) if one.row.number in rows)


def _measured(asking: Asking, display: Display) -> tuple[list[int], list[Rejected], dict[str, Any]]:
    """Return the rows that all models can be asked, those that not, and how long each is for each model."""
    usable = set(asking.numbers.tolist())
    rejected: dict[int, Rejected] = {}
    found: dict[str, Any] = {}
    with display.stage("measure", len(asking.models) * len(asking.numbers), "rows") as progress:
        for label, model in asking.models.items():
            found[label] = measure_rows(
                asking.data,
                model.family,
                model.processor,
                numbers=asking.numbers,
                split=asking.split,
                over=asking.over,
                max_tokens=asking.max_tokens or model.positions,
                workers=asking.workers,
                advance=progress.advance,
            )
            usable &= set(found[label].usable.tolist())
            for one in found[label].rejected:
                rejected.setdefault(one.row.number, one)
    return sorted(usable), list(rejected.values()), found


def _made_with(asking: Asking, model: AskedModel) -> str:
    """Return what tells answers from those of another model, other rows, or another way to ask."""
    how = [asking.max_new_tokens, *asking.device[:2], asking.max_tokens, asking.over, asking.answers, asking.options]
    return fingerprint(VERSION, model.fingerprint(), asking.data.fingerprint, how)[:16]


class _Rows:
    """The rows of a split for one model."""

    def __init__(self, asking: Asking, model: AskedModel, more: MoreOfRows, measured: Any) -> None:
        self._asking, self._model, self._more, self._measured = asking, model, more, measured
        self._thinned = ThinnedData(asking.data)

    def batches(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        """Yield rows that are answered at once: those of like length, the longest first, as far as rows are near."""
        waiting = deque(numbers)
        size = self._asking.batch
        while waiting:
            window = [waiting.popleft() for _ in range(min(len(waiting), WINDOW * size))]
            window.sort(key=lambda number: (-self._measured.lengths[number], number))
            for start in range(0, len(window), size):
                yield window[start : start + size]

    def answer(
        self, numbers: Sequence[int], loaded: Any, file: PredictionsFile, *, label: str, of: str
    ) -> list[Rejected]:
        """Have rows answered and keep that; returns those that do not decode."""
        asking, model = self._asking, self._model
        found: list[tuple[AskedRow, Encoded, tuple[float, int]]] = []
        failed = []
        for number in numbers:
            row = asking.data.ref(number)
            try:
                with working_on(row):
                    asked = self._asked(number)
                    encoded = model.family.encode(model.processor, asked.example)
                    loss = answer_loss(loaded, encoded, model.family)
            except RowRejected as error:
                failed.append(Rejected(row=row, code=error.code, message=error.message, split=asking.split))
                continue
            found.append((asked, prompt_of(encoded), loss))
        if not found:
            return failed
        answers = answers_to(
            loaded,
            model.processor,
            model.family,
            [prompt for _, prompt, _ in found],
            max_new_tokens=asking.max_new_tokens,
        )
        for (asked, _, (loss_sum, tokens)), answer in zip(found, answers, strict=True):
            prediction = Prediction(
                model=label,
                of=of,
                row=asked.example.row,
                prompt=asked.prompt,
                prediction=answer.text,
                truth=asked.truth,
                answers=asked.answers,
                options=asked.options,
                group=asked.example.row.id if asking.task.circular else "",
                cut_off=answer.cut_off,
                loss=loss_sum if math.isfinite(loss_sum) else None,
                loss_tokens=tokens,
            )
            file.add(prediction)
        return failed

    def _asked(self, number: int) -> AskedRow:
        halved = int(self._measured.thinner[number])
        data = self._thinned.with_frames_halved(halved) or self._asking.data
        return self._more.added_to(asked_row(data.example(number)))


def _scored(path: Path, asking: Asking, rows: set[int]) -> tuple[dict[str, Scores], dict[str, int]]:
    """Score the answers of each model, all together and one by one, and write each one's scores beside it.

    Returns the scores, and how many answers were cut off, by what the models are called.
    """
    scores, cut_off = {}, {}
    for label in asking.models:
        found = [one for one in predictions_of(path, rows) if one.model == label]
        found.sort(key=lambda one: one.row.number)
        cut_off[label] = sum(one.cut_off for one in found)
        loss, perplexity = mean_loss([(math.nan if one.loss is None else one.loss, one.loss_tokens) for one in found])
        scores[label] = evaluate_texts(asking.task, [one.scored for one in found], loss=loss, perplexity=perplexity)
    add_scores(path, scores)
    return scores, cut_off
