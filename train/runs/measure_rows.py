"""How long each row of a split is for a model, before anything is decoded, and which rows cannot be used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.errors import RowRejected, ShardwrightError
from train.feed.training_data import TrainingData
from train.runs.loader_workers import be_a_worker
from train.runs.rejected_rows import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from train.batching.plan import Rows
    from train.families.family import Family

TOO_LONG = "train.too_long"
CHUNK = 64
"""Rows that a worker measures before it answers."""

Over = Literal["reject", "stop", "fewer_frames"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The rows of a split, as long as they are."""

    lengths: Rows
    """[rows] tokens, media counted; 0 where a row cannot be used."""
    thinner: np.ndarray
    """[rows] how often a row's frames were halved until it fitted."""
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def usable(self) -> Rows:
        """The numbers of the rows that can be used, rising."""
        return np.flatnonzero(self.lengths)


class ThinnedData:
    """A split of which some rows are shown with fewer frames; otherwise it is the split itself."""

    def __init__(self, data: TrainingData) -> None:
        self._data = {0: data}

    def with_frames_halved(self, times: int) -> TrainingData | None:
        """Return the split with half the frames, so often; None where there would be none left to take away."""
        if times not in self._data:
            plan = self._data[0].plan
            sampling, divisor = plan.frames, 2**times
            key = "count" if sampling.count is not None else "at_most"
            most = (getattr(sampling, key) or 1024) // divisor
            most -= most % sampling.multiple_of
            if most < max(1, sampling.multiple_of):
                return None
            fewer: dict[str, Any] = {key: most}
            if key == "at_most":
                fewer["at_least"] = min(sampling.at_least, most)
            self._data[times] = TrainingData(replace(plan, frames=replace(sampling, **fewer)))
        return self._data[times]


class _Chunks(Dataset[Any]):
    """Chunks of rows, each answered by what is found out about them."""

    def __init__(
        self,
        data: TrainingData,
        family: Family,
        processor: Any,
        chunks: Sequence[Rows],
        *,
        over: Over,
        most: int | None,
    ) -> None:
        self.data, self.thinned = data, ThinnedData(data)
        self.family, self.processor = family, processor
        self.chunks, self.over, self.most = chunks, over, most

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, place: int) -> Any:
        try:
            return [self._measured(int(number)) for number in self.chunks[place]]
        except ShardwrightError as error:
            # a loader would make text of it
            return error

    def _measured(self, number: int) -> tuple[int, int, int, str, str]:
        """Return a row's number, its length, how often its frames were halved, and why it cannot be used."""
        try:
            first = length = self.family.length(self.processor, self.data.shape(number))
            times = 0
            while self.most is not None and length > self.most:
                times += 1
                fewer = self.thinned.with_frames_halved(times) if self.over == "fewer_frames" else None
                if fewer is None:
                    what = f"{first:,} tokens, and {self.most:,} are allowed"
                    what += f"; with the fewest frames it has {length:,}" if length < first else ""
                    return number, 0, 0, TOO_LONG, what
                length = self.family.length(self.processor, fewer.shape(number))
        except RowRejected as error:
            return number, 0, 0, error.code, error.message
        return number, length, times, "", ""


def measure_rows(
    data: TrainingData,
    family: Family,
    processor: Any,
    *,
    numbers: Rows,
    split: str,
    over: Over,
    max_tokens: int | None,
    workers: int,
    advance: Callable[[int], object] = lambda _: None,
) -> Measured:
    """Return how long the rows of a split are; rows that are not asked for have no length.

    Args:
        data: The split.
        family: Of the model.
        processor: Of the model.
        numbers: The rows to measure; of several processes each may take its share, and `joined` puts them together.
        split: Its name, for records.
        over: What becomes of rows that are too long.
        max_tokens: Tokens that a row may have.
        workers: Processes to work in; 0: this one.
        advance: Called with the number of rows that were measured.

    Raises:
        TrainError: a shard is gone or changed.
    """
    chunks = [numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK)]
    found = _Chunks(data, family, processor, chunks, over=over, most=max_tokens)
    processes = min(workers, len(chunks)) if len(chunks) > 1 else 0
    lengths, thinner = np.zeros(data.rows, np.int64), np.zeros(data.rows, np.int8)
    rejected = []
    for answer in DataLoader(
        found,
        batch_size=None,
        num_workers=processes,
        worker_init_fn=be_a_worker if processes else None,
        generator=torch.Generator(),
    ):
        if isinstance(answer, ShardwrightError):
            raise answer
        for number, length, times, code, message in answer:
            lengths[number], thinner[number] = length, times
            if code:
                rejected.append(Rejected(row=data.ref(number), code=code, message=message, split=split))
        advance(len(answer))
    return Measured(lengths=lengths, thinner=thinner, rejected=rejected)


def joined(parts: Sequence[Measured]) -> Measured:
    """Put together what several processes measured, each its share."""
    rejected = sorted((one for part in parts for one in part.rejected), key=lambda one: one.row.number)
    lengths, thinner = parts[0].lengths.copy(), parts[0].thinner.copy()
    for part in parts[1:]:
        lengths += part.lengths
        thinner += part.thinner
    return Measured(lengths=lengths, thinner=thinner, rejected=rejected)
