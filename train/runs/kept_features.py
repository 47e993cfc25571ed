"""Features of a frozen vision tower, computed once before the training, and read by the workers in place of media."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.errors import RowRejected, ShardwrightError
from pipeline.manifest import fingerprint
from train.runs.loader_workers import be_a_worker
from train.runs.measure_rows import ThinnedData
from train.runs.rejected_rows import Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.report import Display
    from train.batching.plan import Rows
    from train.example import Encoded
    from train.models.vision_cache import KeptRows, VisionCache
    from train.runs.planned_batches import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEncoded:
    """Gives back the rows of a split with features; needs no model, and goes to other processes."""

    rows: KeptRows
    made_from: str
    """A fingerprint of the split, the processor and the family."""

    def key(self, number: int, halved: int) -> str:
        """Return the name of a row, whose frames were halved so often."""
        return f"{self.made_from} {number} {halved}"

    def get(self, number: int, halved: int) -> Encoded | None:
        """Return a row, or None where it is not there whole."""
        return self.rows.get(self.key(number, halved))


def keep_features(
    cache: VisionCache, encoder: Encoder, numbers: Rows, *, made_by: str, workers: int, display: Display
) -> tuple[Encoder, list[Rejected]]:
    """Compute and keep the features of rows that have none yet.

    Args:
        cache: Computes and keeps them.
        encoder: Makes rows into tensors.
        numbers: The rows.
        made_by: A fingerprint of the processor.
        workers: Processes that decode and encode.
        display: Shows how far it is.

    Returns:
        What makes batches out of them, and the rows whose media do not decode.

    Raises:
        TrainError: what is learnt of a row is not what was meant, or kept features give other logits than pixels.
    """
    made_from = fingerprint(encoder.data.fingerprint, encoder.family.name, made_by)
    kept = KeptEncoded(rows=cache.rows, made_from=made_from)
    missing = [int(one) for one in numbers if kept.get(int(one), int(encoder.thinner[one])) is None]
    pad_id = encoder.processor.tokenizer.pad_token_id or 0
    failed: list[Rejected] = []
    proved = False
    with display.stage("features", len(missing), "rows") as progress:
        for found in _singles(encoder, missing, workers):
            if isinstance(found, ShardwrightError):
                raise found
            if isinstance(found, Rejected):
                failed.append(found)
            else:
                if found.media and not proved:
                    cache.prove([found], pad_id=pad_id)
                    proved = True
                number = found.row.number
                cache.put(kept.key(number, int(encoder.thinner[number])), found)
            progress.advance(1)
    return replace(encoder, kept=kept), failed


class _Singles(Dataset[Any]):
    """Rows as tensors, one at a time."""

    def __init__(self, encoder: Encoder, numbers: Sequence[int]) -> None:
        self.encoder, self.numbers = encoder, numbers
        self.thinned = ThinnedData(encoder.data)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> Encoded | Rejected | ShardwrightError:
        number = self.numbers[place]
        try:
            return self.encoder.encoded(number, self.thinned, prove=True)
        except RowRejected as error:
            row = self.encoder.data.ref(number)
            return Rejected(row=row, code=error.code, message=error.message, split=self.encoder.split)
        except ShardwrightError as error:
            return error


def _singles(encoder: Encoder, numbers: Sequence[int], workers: int) -> DataLoader[Any]:
    return DataLoader(
        _Singles(encoder, numbers),
        batch_size=None,
        num_workers=workers if len(numbers) > 1 else 0,
        worker_init_fn=be_a_worker if workers else None,
        generator=torch.Generator(),
    )
