"""The loss over all answers' tokens of a split, as it is evaluated within a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from train.families.family import IGNORED
from train.runs.planned_batches import loader

if TYPE_CHECKING:
    from collections.abc import Callable

    from train.runs.planned_batches import Batch, PlannedBatches
    from train.runs.rejected_rows import Rejected


def split_loss(
    model: Any,
    batches: PlannedBatches,
    *,
    workers: int,
    device: torch.device,
    prepared: Callable[[dict[str, Any]], dict[str, Any]],
) -> tuple[torch.Tensor, list[Rejected]]:
    """Return what one process makes of its batches.

    Args:
        model: Also one that is wrapped; it is left as it was.
        batches: Of this process.
        workers: Processes that make them.
        device: Of the model.
        prepared: Brings arguments to the device.

    Returns:
        [3] of float64: the sum of the losses, the number of the answers' tokens, and of rows, by their share; and the
        rows that do not decode.

    Raises:
        TrainError: the network was asked for, or a shard is gone.
    """
    was_training = model.training
    model.eval()
    total = torch.zeros(3, dtype=torch.float64, device=device)
    failed: list[Rejected] = []
    for batch in loader(batches, workers=min(workers, len(batches))):
        if batch.error is not None:
            raise batch.error
        failed += batch.failed
        tokens = int((batch.inputs["labels"][..., 1:] != IGNORED).sum())
        if tokens:
            total += _counted(model, batch, tokens, device, prepared)
    model.train(was_training)
    return total, failed


def _counted(
    model: Any,
    batch: Batch,
    tokens: int,
    device: torch.device,
    prepared: Callable[[dict[str, Any]], dict[str, Any]],
) -> torch.Tensor:
    with torch.no_grad():
        # divided by one: the sum
        loss = model(**prepared(batch.inputs), num_items_in_batch=torch.tensor(1.0, device=device)).loss
    counted = torch.tensor([float(loss), tokens, len(batch.rows)], dtype=torch.float64, device=device)
    return counted * batch.weight
