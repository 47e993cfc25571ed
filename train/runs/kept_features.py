"""Features of a frozen vision tower, computed once before the training, and read by the workers in place of media."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.manifest import fingerprint
from train.example import TrainError
from train.models.vision_cache import KeptRows, VisionCache
from train.runs.planned_batches import PlannedBatches, loader
from train.runs.rejected_rows import Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.report import Display
    from train.batching.plan import Rows
    from train.example import Encoded
    from train.families.family import Family
    from train.runs.planned_batches import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEncoded:
    """Gives back rows with features; needs no model, and goes to other processes."""

    rows: KeptRows
    made_from: str
    """A fingerprint of the split, the processor and the family."""

    def key(self, number: int, thinner: int) -> str:
        """Return the name of a row."""
        return f"{self.made_from} {number} {thinner}"

    def get(self, number: int, thinner: int) -> Encoded | None:
        """Return a row, or None where it is not there whole."""
        return self.rows.get(self.key(number, thinner))


def kept_encoded(cache: VisionCache, encoder: Encoder) -> KeptEncoded:
    """Return where the rows of a split are kept, or will be."""
    part = encoder.processor.to_dict() if hasattr(encoder.processor, "to_dict") else str(encoder.processor)
    made_from = fingerprint(encoder.data.fingerprint, encoder.family.name, encoder.family.template, str(part))
    return KeptEncoded(rows=cache.rows, made_from=made_from)


def keep_features(
    cache: VisionCache, encoder: Encoder, numbers: Rows, *, workers: int, display: Display
) -> tuple[KeptEncoded, list[Rejected]]:
    """Compute and keep the features of rows that are not kept yet; returns where, and the rows that do not decode.

    Raises:
        TrainError: what is learnt of a row is not what was meant, or kept features give other logits than pixels.
    """
    kept = kept_encoded(cache, encoder)
    missing = [int(number) for number in numbers if kept.get(int(number), int(encoder.thinner[number])) is None]
    failed: list[Rejected] = []
    singles = _Singles(encoder, missing)
    proved = False
    with display.stage("features", len(missing), "rows") as progress:
        for batch in loader(singles, workers=workers):
            if batch.error is not None:
                raise batch.error
            failed += batch.failed
            for example in batch.encoded:
                if not proved and example.media:
                    tokenizer = encoder.processor.tokenizer
                    cache.prove([example], pad_id=tokenizer.pad_token_id or 0)
                    proved = True
                number = example.row.number
                cache.put(kept.key(number, int(encoder.thinner[number])), example)
            progress.advance(1)
    return kept, failed
