"""Calling a processor for one example, with media that are decoded already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from train.example import Frames, FramesSize, Image

CHANNELS_FIRST = "channels_first"


def called(processor: Any, text: str, images: Sequence[Image], videos: Sequence[Frames]) -> dict[str, Tensor]:
    """Return what a processor makes of a rendered text and its media, with a batch dimension of 1.

    Frames are taken as they are, none is sampled; their numbers and their rate give the times that are written.
    """
    options: dict[str, Any] = {}
    if images:
        options["images"] = [[_channels_first(image.pixels) for image in images]]
        options["images_kwargs"] = {"input_data_format": CHANNELS_FIRST}
    if videos:
        options["videos"] = [[_channels_first(frames.pixels) for frames in videos]]
        options["videos_kwargs"] = {
            "input_data_format": CHANNELS_FIRST,
            "do_sample_frames": False,
            "video_metadata": [[metadata(frames.size) for frames in videos]],
        }
        if getattr(processor.video_processor, "cap_pixels_per_frame", False) is None:
            # Qwen's default is about to change; said outright, it stays what it is and nobody is warned
            options["videos_kwargs"]["cap_pixels_per_frame"] = False
    # templates write all special tokens themselves
    out = processor(text=[text], return_tensors="pt", add_special_tokens=False, **options)
    return {name: value for name, value in out.items() if isinstance(value, torch.Tensor)}


def metadata(frames: FramesSize) -> dict[str, Any]:
    """Return what a processor is told of a video."""
    return {
        "total_num_frames": frames.total,
        "fps": frames.fps,
        "duration": frames.total / frames.fps,
        "frames_indices": list(frames.numbers),
        "height": frames.height,
        "width": frames.width,
    }


def _channels_first(pixels: np.ndarray) -> Tensor:
    """Return [..., height, width, 3] as [..., 3, height, width], without a copy where torch may write to the memory."""
    return torch.from_numpy(np.require(pixels, requirements="W")).movedim(-1, -3)
