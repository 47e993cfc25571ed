"""Qwen3-VL: all frames of a video share one budget of pixels, and every pair stands behind its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.tokens.family import Refused
from pipeline.tokens.qwen import resized
from train.families import qwen
from train.families.family import Expansion, Family
from train.families.processor_call import metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from train.example import Encoded, FramesSize


def videos(processor: Any, sizes: Sequence[FramesSize]) -> list[Expansion]:
    """Return what is written for videos: `<1.5 seconds>` and the placeholders of two frames, again and again."""
    from transformers.video_utils import VideoMetadata

    door = processor.video_processor
    found = []
    for size in sizes:
        width, height = _resized(door, size)
        pairs = -(-len(size.numbers) // door.temporal_patch_size)
        # a grid with one placeholder for each pair, so that the text holds no runs of them
        grid = np.array([pairs, door.merge_size, door.merge_size])
        told = VideoMetadata(**metadata(size))
        text = processor.replace_video_token({"video_grid_thw": [grid], "video_metadata": [told]}, 0)
        each = width * height // (door.patch_size * door.merge_size) ** 2
        found.append(Expansion(text, pairs * (each - 1)))
    return found


def _resized(door: Any, size: FramesSize) -> tuple[int, int]:
    """Return the sides of every frame as the vision tower gets it, as `smart_resize` computes them."""
    frames, pair, factor = len(size.numbers), door.temporal_patch_size, door.patch_size * door.merge_size
    if frames < pair:
        raise Refused(f"a video needs {pair} frames, and it has {frames}")
    least, most = door.size["shortest_edge"], door.size["longest_edge"]
    if door.cap_pixels_per_frame:
        most = frames * max(min(door.max_video_tokens * factor**2, most // frames), int(least * 1.05))
    width, height = size.width, size.height
    if width < factor or height < factor:
        scale = max(factor / height, factor / width)
        width, height = int(width * scale), int(height * scale)
    return resized(width, height, factor, least, most, frames=frames, rounded=round(frames / pair) * pair)


def _positions(config: Any, encoded: Encoded) -> Tensor:
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

    return qwen.positions(Qwen3VLModel, config, encoded, "image_grid_thw", "video_grid_thw")


QWEN3_VL = Family(
    name="qwen3_vl",
    model_types=("qwen3_vl",),
    vision=qwen.VISION,
    # deepstack: some layers of the vision tower reach the text model through mergers of their own
    projector=(qwen.MERGER, "model.visual.deepstack_merger_list"),
    text=qwen.TEXT,
    lora_targets=qwen.LORA_TARGETS,
    mixes_media=True,
    template="qwen3_vl.jinja",
    end_of_turn=qwen.END_OF_TURN,
    image=qwen.image,
    videos=videos,
    place=_positions,
)
