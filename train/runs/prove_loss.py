"""The proof that a model divides its loss by the answers' tokens of a whole step, and not by those of a batch."""

from __future__ import annotations

from typing import Any

import torch

from train.batching.moved import moved
from train.example import TrainError
from train.families.family import IGNORED

CLOSE = 1e-2
"""How far both may lie from each other, as a share: enough for half precision, and far less than a token more."""


def prove_loss(model: Any, inputs: dict[str, Any]) -> None:
    """Prove that a model's loss is a sum divided by the number that it is given.

    Models take it as an argument that most of them pass on and some ignore, without a word; then short answers would
    count for more than long ones wherever a step is made of several batches.

    Args:
        model: With its method applied.
        inputs: A batch with more than one labelled token.

    Raises:
        TrainError: it is not.
    """
    given = moved(inputs, model.device)
    tokens = int((given["labels"][..., 1:] != IGNORED).sum())
    training = model.training
    model.eval()
    with torch.no_grad():
        mean = float(model(**given).loss)
        divided = float(model(**given, num_items_in_batch=torch.tensor(2.0 * tokens, device=model.device)).loss)
    model.train(training)
    if not abs(2 * divided - mean) <= CLOSE * abs(mean):
        raise TrainError(
            f"the model's loss is {divided:.5g} where it should be half of {mean:.5g}: it does not count the tokens of "
            "a whole step, so that several batches cannot make one",
            hint="let a step be one batch on one device, without `liger`",
        )
