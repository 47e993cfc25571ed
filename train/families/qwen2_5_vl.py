"""Qwen2.5-VL: as Qwen2-VL, and positions in time follow the seconds between frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from train.families import qwen
from train.families.family import Family
from train.families.qwen2_vl import videos

if TYPE_CHECKING:
    from torch import Tensor

    from train.example import Encoded


def _positions(config: Any, encoded: Encoded) -> Tensor:
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

    return qwen.positions(Qwen2_5_VLModel, config, encoded, "image_grid_thw", "video_grid_thw", "second_per_grid_ts")


QWEN2_5_VL = Family(
    name="qwen2_5_vl",
    model_types=("qwen2_5_vl",),
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
