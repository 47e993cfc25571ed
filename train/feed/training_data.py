"""The rows of a split as examples, read in place out of the shards."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.conversation import TextPart
from pipeline.errors import RowRejected
from pipeline.labels import labelling
from pipeline.manifest import fingerprint
from train.example import Example, Medium, RowRef, Turn
from train.feed.plan import RowPlaces
from train.feed.shard_reader import ShardReader
from train.feed.split_media import SplitMedia, of_medium
from train.no_network import working_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.checks.media_sources import Source
    from pipeline.conversation import Message
    from train.feed.media_record import MediaRecord
    from train.feed.plan import Plan, RowPlace

VERSION = 1
"""Raised when the same rows become other examples."""


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """What one process has open."""

    process: int
    reader: ShardReader
    media: SplitMedia
    render: Callable[[Mapping[str, Any]], list[Message]]
    labels: dict[str, Callable[[Any], Any]]


class TrainingData:
    """The rows of a split as examples. Small to send to another process, which opens the shards for itself."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.places = RowPlaces(plan.groups)
        self.rows = int(self.places.shards[-1])
        """Rows of the split."""
        self.row_groups: np.ndarray = np.array([rows for groups in plan.groups for rows in groups], np.int64)
        """Rows of each row group, in the order of the split; what `train.feed.order.order` takes."""
        self._here: _Opened | None = None
        told = [[shard.name, *self.media.content(number)] for number, shard in enumerate(plan.shards)]
        self.fingerprint = fingerprint(VERSION, told, *plan.plain())
        """Of all that decides what the examples are: shards and media, conversation, frames and sizes."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is open."""
        return {**self.__dict__, "_here": None}

    def __len__(self) -> int:
        return self.rows

    def close(self) -> None:
        """Close what this process has open; it is opened again when it is needed."""
        opened, self._here = self._here, None
        # what a process was forked with is not its own
        if opened is not None and opened.process == os.getpid():
            opened.media.close()
            opened.reader.close()

    @property
    def media(self) -> SplitMedia:
        """The media of the rows, for this process."""
        return self._opened.media

    @property
    def _opened(self) -> _Opened:
        if self._here is None or self._here.process != os.getpid():
            plan = self.plan
            texts = dict.fromkeys([*plan.view.texts, *filter(None, [plan.id_column])])
            reader = ShardReader(plan.root, plan.shards, list(texts))
            labels = {name: label for name, kind in plan.types.items() if (label := labelling(kind)) is not None}
            self._here = _Opened(
                process=os.getpid(),
                reader=reader,
                media=SplitMedia(plan, reader),
                render=plan.view.compiled(frozenset(source.name for source in plan.sources if source.is_list)),
                labels=labels,
            )
        return self._here

    def ref(self, number: int) -> RowRef:
        """Return which row this is; 0-based, in the split.

        Raises:
            TrainError: its shard is gone or changed.
        """
        place = self.places.of(number)
        named = ""
        if self.plan.id_column is not None:
            try:
                named = str(self._values(place)[self.plan.id_column])
            except RowRejected:
                named = ""  # told when the row itself is asked for
        return RowRef(number=number, shard=self.plan.shards[place.shard].name, row=place.row, id=named)

    def shape(self, number: int) -> Example:
        """Return a row with the sizes of its media, of which nothing is decoded.

        Raises:
            RowRejected: it cannot be used, as far as is known without decoding.
            TrainError: its shard is gone or changed.
        """
        media = self.media
        return self._example(number, lambda place, _, record: media.size(place, record))

    def example(self, number: int) -> Example:
        """Return a row with its media decoded: images upright, of videos exactly the frames that `shape` tells of.

        Raises:
            RowRejected: it cannot be used, or a medium does not decode.
            TrainError: its shard is gone or changed.
        """
        with working_on(self.ref(number)):
            return self._example(number, self.media.decoded)

    def unusable(self) -> list[tuple[RowRef, str, str]]:
        """Return the rows that `shape` refuses, each with code and message.

        Reads the texts of all rows; who asks for the shape of every row anyway sees the same.

        Raises:
            TrainError: a shard is gone or changed.
        """
        found = []
        for number in range(self.rows):
            try:
                self.shape(number)
            except RowRejected as error:
                found.append((self.ref(number), error.code, error.message))
        return found

    def _example(self, number: int, medium_of: Callable[[RowPlace, Source, MediaRecord], Medium]) -> Example:
        place = self.places.of(number)
        media = self.media.of_row(place)
        sources = {source.name: source for source in self.plan.sources}
        values = self._values(place)
        for name, source in sources.items():
            if name not in values:  # else paths that are texts of the conversation as well
                count = sum(column == source.number for column, _ in media)
                values[name] = [True] * count if source.is_list else (True if count else None)
        turns = []
        for message in self._opened.render(values):
            parts: list[str | Medium] = []
            for part in message.parts:
                if isinstance(part, TextPart):
                    parts.append(part.text)
                    continue
                source, position = sources[part.column], part.position or 0
                try:
                    parts.append(medium_of(place, source, media[source.number, position]))
                except RowRejected as error:
                    raise of_medium(source, position, error) from None
            turns.append(Turn(role=message.role, parts=tuple(parts)))
        _check(turns)
        return Example(row=self.ref(number), turns=tuple(turns))

    def _values(self, place: RowPlace) -> dict[str, Any]:
        opened = self._opened
        values = opened.reader.values(place)
        for name, label in opened.labels.items():
            values[name] = label(values[name])
        return values


def _check(turns: list[Turn]) -> None:
    """Refuse a conversation in which there is nothing to learn.

    Raises:
        RowRejected: `conversation.empty`, `conversation.no_answer`.
    """
    if not turns:
        raise RowRejected("conversation.empty", "the conversation has no turns")
    answers = [part for turn in turns if turn.role == "assistant" for part in turn.parts if isinstance(part, str)]
    if not any(part.strip() for part in answers):
        raise RowRejected("conversation.no_answer", "the assistant says nothing")
