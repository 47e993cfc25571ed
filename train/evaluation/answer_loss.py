"""How well a model foresees true answers: the loss of their tokens, row by row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from train.batching.collate import collate
from train.evaluation.generate import bare_model, memory_errors
from train.families.family import IGNORED

if TYPE_CHECKING:
    from train.example import Encoded
    from train.families.family import Family

AT_ONCE = 1024
"""Tokens whose logits are computed together: a vocabulary of 150,000 takes 600 kB for each."""


def answer_loss(model: Any, encoded: Encoded, family: Family) -> tuple[float, int]:
    """Return the sum of the cross-entropies of an example's learnt tokens, in nats, and how many they are.

    A row's number does not depend on the rows beside it, as it is computed alone.
    """
    batch = collate([encoded], family, pad_id=0)
    labels = batch.pop("labels")[0]
    # the logits from which a token is foreseen are those of the place before it
    places = (labels[1:] != IGNORED).nonzero()[:, 0]
    bare = bare_model(model)
    given = {
        name: own.to(device=bare.device, dtype=bare.dtype if own.is_floating_point() else own.dtype)
        if isinstance(own, torch.Tensor)
        else own
        for name, own in batch.items()
    }
    training = model.training
    model.eval()
    total = 0.0
    try:
        with memory_errors(1), torch.no_grad():
            for some in places.split(AT_ONCE):
                logits = bare(**given, logits_to_keep=some.to(bare.device)).logits[0].float()
                total += float(cross_entropy(logits, labels[1:][some].to(bare.device), reduction="sum"))
    finally:
        model.train(training)
    return total, len(places)


def mean_loss(sums: list[tuple[float, int]]) -> tuple[float | None, float | None]:
    """Return the mean loss of a token over all rows, and the perplexity; None where nothing is foreseen."""
    tokens = sum(count for _, count in sums)
    if not tokens:
        return None, None
    loss = math.fsum(total for total, _ in sums) / tokens
    return loss, math.exp(loss) if loss < 700 else math.inf
