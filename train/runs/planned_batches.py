"""Batches as tensors, one after the other as a schedule has them; made by workers, in the same order for any number."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.errors import RowRejected, ShardwrightError
from train.batching.collate import collate
from train.batching.learnt_logits import learnt_logits
from train.batching.pack import pack
from train.example import TrainError
from train.families.family import IGNORED
from train.no_network import working_on
from train.runs.loader_workers import be_a_worker
from train.runs.measure_rows import ThinnedData
from train.runs.rejected_rows import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from train.example import Encoded, RowRef
    from train.families.family import Family
    from train.feed.training_data import TrainingData
    from train.runs.kept_features import KeptEncoded


@dataclass(slots=True, kw_only=True)
class Batch:
    """A batch, and what is to be said of it."""

    inputs: dict[str, Any]
    """Arguments of the model."""
    rows: list[RowRef]
    tokens: int
    """Without padding."""
    weight: float = 1.0
    """The share that it counts for, where several processes evaluate the same rows."""
    failed: list[Rejected] = field(default_factory=list)
    """Rows that were to be in it, and could not be decoded."""
    error: ShardwrightError | None = None
    """What went wrong altogether; then there is nothing else."""

    def pin_memory(self) -> Batch:
        """Lay the tensors where a GPU fetches them from; the loader calls this."""
        self.inputs = _pinned(self.inputs)
        return self


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Turns rows of a split into batches."""

    data: TrainingData
    family: Family
    processor: Any
    config: Any
    """Of the model."""
    split: str
    packed: bool
    multiple: int
    thinner: np.ndarray
    """[rows] how often a row's frames are halved; see `measure_rows`."""
    kept: KeptEncoded | None = None
    """Rows with features of their media, where they were computed before."""
    learnt_only: bool = False
    """Are logits computed only where something is learnt?"""

    def encoded(self, number: int, thinned: ThinnedData, *, prove: bool) -> Encoded:
        """Return a row as tensors; with `prove`, what is learnt of it is proved to be what the assistant says.

        Raises:
            RowRejected: it does not decode.
            TrainError: what is learnt is not what was meant, or the network was asked for.
        """
        halved = int(self.thinner[number])
        if self.kept is not None:
            found = self.kept.get(number, halved)
            if found is None:
                raise TrainError(
                    f"the kept features of {self.data.ref(number)} are gone or damaged",
                    hint="run it again: they are computed anew",
                )
            # kept rows are shared by all that have the same content, wherever they lie
            return replace(found, row=self.data.ref(number))
        data = thinned.with_frames_halved(halved) or self.data
        with working_on(self.data.ref(number)):
            example = data.example(number)
            encoded = self.family.encode(self.processor, example)
            if prove:
                self.family.proved(self.processor, encoded, example)
        return encoded

    def singles(self, numbers: Sequence[int]) -> list[Encoded]:
        """Return rows as tensors, without those that do not decode; for proofs, outside of a loader.

        Raises:
            TrainError: see `encoded`.
        """
        thinned = ThinnedData(self.data)
        found = []
        for number in numbers:
            with suppress(RowRejected):
                found.append(self.encoded(number, thinned, prove=True))
        return found

    def batch(self, numbers: Sequence[int], thinned: ThinnedData, *, prove: bool) -> Batch:
        """Return rows as a batch; of those that do not decode it tells, and goes on without them.

        A batch of which nothing is left is one token that nothing is learnt from, so that processes that train together
        stay together.

        Raises:
            TrainError: see `encoded`.
        """
        found: list[Encoded] = []
        failed: list[Rejected] = []
        for number in numbers:
            try:
                found.append(self.encoded(number, thinned, prove=prove))
            except RowRejected as error:
                row = self.data.ref(number)
                failed.append(Rejected(row=row, code=error.code, message=error.message, split=self.split))
        return Batch(
            inputs=self.joined(found), rows=[one.row for one in found], tokens=sum(map(len_of, found)), failed=failed
        )

    def joined(self, found: Sequence[Encoded]) -> dict[str, Any]:
        """Return rows as one batch; of none, one token that nothing is learnt from."""
        tokenizer = self.processor.tokenizer
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        if not found:
            return {
                "input_ids": torch.tensor([[pad_id]]),
                "attention_mask": torch.ones(1, 1, dtype=torch.int64),
                "labels": torch.tensor([[IGNORED]]),
                "use_cache": False,
            }
        if self.packed:
            batch = pack(found, self.family, self.config)
        else:
            batch = collate(found, self.family, pad_id=pad_id, multiple=self.multiple)
        return learnt_logits(batch) if self.learnt_only else batch


def _pinned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _pinned(own) for name, own in value.items()}
    return value.pin_memory() if isinstance(value, torch.Tensor) else value


def len_of(encoded: Encoded) -> int:
    """Return the tokens of a row."""
    return encoded.length


class PlannedBatches(Dataset[Batch]):
    """The batches of one process, each by its number; small to fork, and of no state but what is open."""

    def __init__(
        self,
        encoder: Encoder,
        count: int,
        rows: Callable[[int], tuple[Sequence[int], float]],
        proves: Callable[[int], bool],
    ) -> None:
        """Plan them.

        Args:
            encoder: Makes them.
            count: How many there are.
            rows: Of a batch's number, its rows, and the share that they count for.
            proves: Of a batch's number, whether what is learnt of its rows is proved.
        """
        self.encoder, self.count, self.rows, self.proves = encoder, count, rows, proves
        self.thinned = ThinnedData(encoder.data)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Batch:
        rows, weight = self.rows(number)
        try:
            batch = self.encoder.batch(rows, self.thinned, prove=self.proves(number))
        except ShardwrightError as error:
            # a loader would make text of it
            return Batch(inputs={}, rows=[], tokens=0, error=error)
        batch.weight = weight
        return batch


def loader(batches: PlannedBatches, *, workers: int, pin: bool = False, ahead: int | None = None) -> DataLoader[Batch]:
    """Return a loader of batches, in order.

    Args:
        batches: What it loads.
        workers: Processes; 0: this one.
        pin: Lay tensors where a GPU fetches them from.
        ahead: Batches that each worker makes before they are asked for.
    """
    # a generator of its own, so that making a loader changes nothing of the dropout that follows
    return DataLoader(
        batches,
        batch_size=1,
        collate_fn=_only,
        num_workers=workers,
        worker_init_fn=be_a_worker if workers else None,
        generator=torch.Generator(),
        pin_memory=pin,
        prefetch_factor=(ahead or 2) if workers else None,
    )


def _only(batches: list[Batch]) -> Batch:
    (batch,) = batches
    return batch
