"""The media of a batch as arguments of the model: as pixels, or as features that were computed from them before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from train.example import Encoded
    from train.families.family import Family

FEATURES = "features."
"""How the names of features begin among the media of an example: `features.<image or video>.<name>`."""
PIXELS = ("pixel_values", "pixel_values_videos", "pixel_attention_mask")
"""What features stand in the place of."""


def media_arguments(examples: Sequence[Encoded], family: Family) -> dict[str, Any]:
    """Return the media of examples, in their order, as arguments of the model.

    Features come as `mm_encoder_outputs`, a dict of kinds of dicts of tensors, which a model takes once
    `take_features` (models/vision_features.py) was called for it. Either all examples with media have features or none.
    """
    plain = [{name: own for name, own in one.media.items() if not name.startswith(FEATURES)} for one in examples]
    arguments: dict[str, Any] = family.media_batch(plain)
    features = [{name: own for name, own in one.media.items() if name.startswith(FEATURES)} for one in examples]
    names = dict.fromkeys(name for one in features for name in one)
    if names:
        assert not any(name in arguments for name in PIXELS), "examples with and without features in one batch"
        outputs: dict[str, dict[str, Any]] = {}
        for name in names:
            _, kind, what = name.split(".", 2)
            joined = torch.cat([one[name] for one in features if name in one])
            outputs.setdefault(kind, {})[what] = joined
        arguments["mm_encoder_outputs"] = outputs
    return arguments
