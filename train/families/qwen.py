"""What Qwen2-VL, Qwen2.5-VL and Qwen3-VL have in common: how images are counted, and positions in three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.tokens.qwen import resized
from train.families.family import Expansion

if TYPE_CHECKING:
    from torch import Tensor

    from train.example import Encoded, ImageSize

VISION = "model.visual"
MERGER = "model.visual.merger"
TEXT = "model.language_model"
LORA_TARGETS = r"model\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
END_OF_TURN = "<|im_end|>"


def image(processor: Any, size: ImageSize) -> Expansion:
    """Return the placeholders of an image."""
    door = processor.image_processor
    factor = door.patch_size * door.merge_size
    width, height = resized(size.width, size.height, factor, door.size["shortest_edge"], door.size["longest_edge"])
    return Expansion(processor.image_token, width * height // factor**2 - 1)


def positions(model_class: Any, config: Any, encoded: Encoded, *names: str) -> Tensor:
    """Return [4, 1, length]: places in the text, then what the class's `get_rope_index` says of time, row and column.

    Args:
        model_class: The class behind `model.model`.
        config: The whole model's.
        encoded: One example.
        names: Media that the class wants to see for it.
    """
    # A module without parameters: only the config is looked at, and a checkpoint's worth of memory is not needed.
    model = model_class.__new__(model_class)
    nn.Module.__init__(model)
    model.config = config
    seen = {name: encoded.media[name] for name in names if name in encoded.media}
    ids = encoded.input_ids[None]
    types = torch.zeros_like(ids) if encoded.token_types is None else encoded.token_types[None]
    places, _ = model.get_rope_index(input_ids=ids, mm_token_type_ids=types, **seen)
    return torch.cat([torch.arange(encoded.length)[None, None], places])
