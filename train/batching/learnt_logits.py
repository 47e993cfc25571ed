"""Batches whose logits are computed only where something is learnt: of a row with media, that is the lesser part.

A logit for every token of the vocabulary at every position is the largest matrix of a step, in memory and, with a large
vocabulary and a small model, in time. What is learnt of a position that has no label is nothing, so its logits are
computed to be thrown away. transformers' models (5.23) take the positions to keep, and labels that are shifted already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn.functional import pad

from train.families.family import IGNORED

if TYPE_CHECKING:
    from torch import Tensor


def learnt_logits(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch with `logits_to_keep` and `shift_labels`, and everything else as it was.

    The loss is that of the batch without them: a mean, or sum, over the same tokens. Logits come as [learnt tokens,
    vocabulary], one example behind the other.

    Args:
        batch: Arguments of a model, `labels` of [examples, length] among them. One that nothing is learnt from stays
            as it is: a loss of no logits is no number.
    """
    labels: Tensor = batch["labels"]
    next_labels = pad(labels, (0, 1), value=IGNORED)[:, 1:]
    kept = next_labels != IGNORED
    if not kept.any():
        return batch
    return batch | {"logits_to_keep": kept, "shift_labels": next_labels[kept]}
