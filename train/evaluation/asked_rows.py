"""Rows as questions: what is asked, what is true, and what else a task knows of a row."""

from __future__ import annotations

import string
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from pipeline.document import nearest
from pipeline.errors import RowRejected
from pipeline.printable import escaped
from train.example import Frames, FramesSize, TrainError
from train.families.family import IGNORED
from train.feed.shard_reader import ShardReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from train.example import Encoded, Example, Turn
    from train.feed.training_data import TrainingData

ANSWERS = ("answers",)
OPTIONS = ("options", "choices")
LETTERS = tuple(string.ascii_uppercase)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRow:
    """A row that a model is asked."""

    example: Example
    """Up to its last answer."""
    prompt: str
    """Without the last answer, media as their placeholders."""
    truth: str
    answers: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


def asked_row(example: Example) -> AskedRow:
    """Return an example as a question.

    Raises:
        RowRejected: `train.no_answer`, nothing in it is an answer.
    """
    answered = [place for place, turn in enumerate(example.turns) if turn.role == "assistant"]
    if not answered:
        raise RowRejected("train.no_answer", "the assistant says nothing in it, so there is no true answer")
    turns = example.turns[: answered[-1] + 1]
    prompt = "\n".join(_as_text(turn) for turn in turns[:-1])
    truth = "".join(part for part in turns[-1].parts if isinstance(part, str))
    return AskedRow(example=replace(example, turns=turns), prompt=prompt, truth=truth)


def prompt_of(encoded: Encoded) -> Encoded:
    """Return what stands before the last answer of an example, which is what `Family.prompt` gives for it.

    Media are the user's, so they all stand before it; they need not be prepared once more.
    """
    labels = encoded.labels.tolist()
    start = max(place for place, label in enumerate(labels) if label != IGNORED)
    while start and labels[start - 1] != IGNORED:
        start -= 1
    return replace(
        encoded,
        input_ids=encoded.input_ids[:start],
        labels=encoded.labels[:start],
        token_types=None if encoded.token_types is None else encoded.token_types[:start],
    )


def _as_text(turn: Turn) -> str:
    parts = [
        part if isinstance(part, str) else "<video>" if isinstance(part, Frames | FramesSize) else "<image>"
        for part in turn.parts
    ]
    return "".join(parts) if turn.role == "user" else f"{turn.role}: {''.join(parts)}"


class MoreOfRows:
    """Columns of a split that are in no conversation: people's answers, options; closed by `close`."""

    def __init__(self, data: TrainingData, *, answers: str | None, options: str | Sequence[str] | None) -> None:
        """Say which columns they are; None: none of them is read.

        Raises:
            TrainError: there is no such column.
        """
        self._answers, self._options = answers, options
        names = [name for name in (answers, *([options] if isinstance(options, str) else options or ())) if name]
        known = column_names(data)
        for name in names:
            if name not in known:
                raise TrainError(
                    f"there is no column {escaped(name)!r}", allowed=", ".join(known), hint=nearest(name, known)
                )
        self._data = data
        self._reader = ShardReader(data.plan.root, data.plan.shards, names) if names else None

    def close(self) -> None:
        """Close what is open."""
        if self._reader is not None:
            self._reader.close()

    def added_to(self, asked: AskedRow) -> AskedRow:
        """Return a row with what the columns say of it.

        Raises:
            RowRejected: a value is none of texts.
        """
        if self._reader is None:
            return asked
        values = self._reader.values(self._data.places.of(asked.example.row.number))
        answers = _texts(values[self._answers], self._answers) if self._answers else ()
        return replace(asked, answers=answers, options=self._options_in(values))

    def _options_in(self, values: Mapping[str, Any]) -> dict[str, str]:
        if self._options is None:
            return {}
        if not isinstance(self._options, str):
            # a column for each letter, empty where a question has fewer options
            return {name.strip(): str(values[name]) for name in self._options if values[name] not in (None, "", "nan")}
        said = values[self._options]
        if isinstance(said, dict) and not any(isinstance(value, list) for value in said.values()):
            return {str(letter): str(text) for letter, text in said.items() if text is not None}
        return dict(zip(LETTERS, _texts(said, self._options), strict=False))


def column_names(data: TrainingData) -> list[str]:
    """Return the columns of a split."""
    names: list[str] = pq.read_schema(data.plan.shards[0].path).names
    return names


def likely_columns(data: TrainingData, kind: str) -> tuple[str | None, str | Sequence[str] | None]:
    """Return the columns of people's answers and of options that a task's rows usually have, as far as they are there.

    Those are `answers` for `short_answer`; for `choices` `options`, `choices`, or a column for each letter from `A` on.
    """
    names = column_names(data)
    answers = next((name for name in ANSWERS if name in names), None) if kind == "short_answer" else None
    options: str | Sequence[str] | None = None
    if kind == "choices":
        letters = [letter for letter in LETTERS if letter in names]
        options = next((name for name in OPTIONS if name in names), None)
        if options is None and letters[:2] == ["A", "B"]:
            options = letters
    return answers, options


def _texts(value: Any, column: str | None) -> tuple[str, ...]:
    """Return a list of texts, or of records of which `answer` is the text, as VQA has them."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    texts = [item.get("answer") if isinstance(item, dict) else item for item in items]
    known = tuple(text for text in texts if isinstance(text, str))
    if len(known) < len(texts):
        raise RowRejected("evaluate.column", f"{column} is no list of texts: {escaped(str(value))[:200]}")
    return known
