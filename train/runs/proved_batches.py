"""Two ways to compute the same with less, taken where a model is proved to give the same, and told of where it is not.

packed rows    attend by sample (models/sample_attention.py), else as a whole
logits         are computed where something is learnt (batching/learnt_logits.py), else everywhere
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from train.batching.learnt_logits import learnt_logits
from train.batching.looking_only import looking_only
from train.batching.moved import moved
from train.batching.pack import prove_packing
from train.example import TrainError
from train.models.sample_attention import attend_by_sample, attend_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.example import Encoded
    from train.families.family import Family
    from train.settings import Settings

CLOSE = {torch.float32: 1e-4}
"""How far the losses of a batch may lie apart, as a share: logits are multiplied in blocks of other sizes. In half
precision more."""
CLOSE_IN_HALF = 1e-2


def prove_packed(
    model: Any, family: Family, examples: Sequence[Encoded], settings: Settings, *, longest: int
) -> list[str]:
    """Prove that packed examples do not see each other, and have the model attend to each by itself if it can.

    Args:
        model: With its method applied.
        family: Of the model.
        examples: Real ones.
        settings: Of the stage.
        longest: Tokens of the longest row.

    Returns:
        What the plan is to say.

    Raises:
        TrainError: they see each other, or are seen otherwise than alone; see `prove_packing`.
    """
    if settings.attention != "sdpa":
        prove_packing(model, family, examples)
        return []
    if settings.arguments.get("torch_compile"):
        reason: str | None = "a compiled model has no place for lengths that change"
    else:
        reason = attend_by_sample(model)
    if reason is None:
        try:
            prove_packing(model, family, examples)
        except TrainError as error:
            attend_whole(model)
            reason = f"by sample, {error.what}"
        else:
            return _of_window(model, longest)
    prove_packing(model, family, examples)
    return [f"packed rows are attended to as a whole, which takes time with their square: {reason}"]


def _of_window(model: Any, longest: int) -> list[str]:
    text = model.config.get_text_config()
    window = getattr(text, "sliding_window", None)
    if window is None or "sliding_attention" not in (getattr(text, "layer_types", None) or ()) or longest <= window:
        return []
    which = f"packed rows with one of more than {window:,} tokens"
    return [f"{which} are attended to as a whole in layers with a sliding window, which takes time with their square"]


def why_all_logits(model: Any, inputs: dict[str, Any], settings: Settings) -> str | None:
    """Return None where a model gives the same loss from the logits of learnt positions alone, else why it must not.

    Args:
        model: With its method applied.
        inputs: A batch with labelled tokens, with all its logits.
        settings: Of the stage.
    """
    if settings.liger:
        return "Liger's kernel never has all of them at once"
    if settings.arguments.get("torch_compile"):
        return "a model would be compiled again for every number of them"
    given = moved(inputs, model.device)
    with looking_only(model):
        whole = float(model(**given).loss)
        try:
            kept = float(model(**learnt_logits(given)).loss)
        except (TypeError, ValueError) as error:
            return f"the model takes no positions to keep ({type(error).__name__})"
    if not abs(kept - whole) <= CLOSE.get(model.dtype, CLOSE_IN_HALF) * abs(whole):
        return f"of the learnt positions alone the model makes a loss of {kept:.5g} instead of {whole:.5g}"
    return None
