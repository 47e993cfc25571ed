"""What a model would answer to given rows, as numbers by which two models are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from train.batching.collate import collate
from train.batching.looking_only import looking_only
from train.families.family import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from train.example import Encoded
    from train.families.family import Family

MOST = 256
"""Positions of an example whose logits are compared, the last of those that are learnt: a vocabulary is large."""


class Difference(NamedTuple):
    """How far the logits of two models lie apart."""

    largest: float
    mean: float
    agreeing: float
    """Share of positions whose most likely token is the same."""
    scale: float
    """The largest logit of the first model, which a tolerance is a share of."""

    def within(self, tolerance: float) -> bool:
        """Is it at most a share of the largest logit? What is no number is not."""
        return self.largest <= tolerance * max(self.scale, 1.0)


def questions(examples: Sequence[Encoded], family: Family) -> list[dict[str, Tensor]]:
    """Return each example as arguments of a model that gives the logits from which its learnt tokens are predicted."""
    asked = []
    for example in examples:
        batch = collate([example], family, pad_id=0)
        learnt = (batch.pop("labels")[0, 1:] != IGNORED).nonzero()[:, 0]
        del batch["use_cache"]
        asked.append(batch | {"logits_to_keep": learnt[-MOST:]})
    return asked


def answers(model: Any, asked: Sequence[dict[str, Tensor]]) -> list[Tensor]:
    """Return [positions, vocabulary] of float32 for each question."""
    with looking_only(model):
        given = [{name: own.to(model.device) for name, own in one.items()} for one in asked]
        return [model(**one, use_cache=False).logits[0].float().cpu() for one in given]


def difference(first: Sequence[Tensor], second: Sequence[Tensor]) -> Difference:
    """Compare the answers of two models to the same questions."""
    one, two = torch.cat(list(first)), torch.cat(list(second))
    apart = (one - two).abs()
    return Difference(
        largest=float(apart.max()),
        mean=float(apart.mean()),
        agreeing=float((one.argmax(-1) == two.argmax(-1)).float().mean()),
        scale=float(one.abs().max()),
    )
