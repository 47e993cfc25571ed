"""Qwen2-VL: media of any shape; frames go in pairs, and their times are known to the model only by their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.tokens.qwen import resized
from train.families import qwen
from train.families.family import Expansion, Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from train.example import Encoded, FramesSize

CAPPED_SHARE = 0.9
"""Of `max_video_tokens`, what a capped video may take."""


def videos(processor: Any, sizes: Sequence[FramesSize]) -> list[Expansion]:
    """Return the placeholders of videos: every pair of frames like an image."""
    door = processor.video_processor
    factor, pair = door.patch_size * door.merge_size, door.temporal_patch_size
    found = []
    for size in sizes:
        frames = len(size.numbers)
        least, most = door.size["shortest_edge"], door.size["longest_edge"]
        if door.cap_pixels_per_frame:
            total = int(door.max_video_tokens * factor * factor * CAPPED_SHARE)
            most = max(min(most, total * pair // frames), int(least * 1.05))
        width, height = resized(size.width, size.height, factor, least, most)
        found.append(Expansion(processor.video_token, -(-frames // pair) * (width * height // factor**2) - 1))
    return found


def _positions(config: Any, encoded: Encoded) -> Tensor:
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

    return qwen.positions(Qwen2VLModel, config, encoded, "image_grid_thw", "video_grid_thw")


QWEN2_VL = Family(
    name="qwen2_vl",
    model_types=("qwen2_vl",),
    vision=qwen.VISION,
    projector=(qwen.MERGER,),
    text=qwen.TEXT,
    lora_targets=qwen.LORA_TARGETS,
    mixes_media=True,
    template="qwen2_vl.jinja",
    end_of_turn=qwen.END_OF_TURN,
    image=qwen.image,
    videos=videos,
    place=_positions,
)
