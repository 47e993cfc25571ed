"""InternVL 2.5 and 3, as transformers has them: an image becomes tiles and a thumbnail, a frame becomes one tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from train.families.family import Expansion, Family
from train.families.processor_call import called

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from train.example import Frames, FramesSize, Image, ImageSize


def _image(processor: Any, size: ImageSize) -> Expansion:
    # what the processor's class says of tiles goes before its image processor's setting
    tiles = processor.image_processor.get_number_of_image_patches(size.height, size.width, processor.images_kwargs)
    return _drawn_together(processor, processor.replace_image_token({"num_patches": [tiles]}, 0), tiles)


def _videos(processor: Any, sizes: Sequence[FramesSize]) -> list[Expansion]:
    found = []
    for size in sizes:
        frames = np.empty((len(size.numbers), 0))
        text = processor.replace_video_token({"pixel_values_videos": [frames]}, 0)
        found.append(_drawn_together(processor, text, len(size.numbers)))
    return found


def _drawn_together(processor: Any, text: str, tiles: int) -> Expansion:
    token, count = processor.image_token, processor.image_seq_length
    return Expansion(text.replace(token * count, token), tiles * (count - 1))


def _called(processor: Any, text: str, images: Sequence[Image], videos: Sequence[Frames]) -> dict[str, Tensor]:
    """Call the processor; once for each video where they differ in frames, which it cannot take together.

    The text is then cut behind each video. What the processor writes there ends with a control token, so the pieces
    have the tokens that the whole text has.
    """
    if len({len(frames.numbers) for frames in videos}) < 2:
        return called(processor, text, images, videos)
    one = [called(processor, *piece) for piece in _one_video_each(processor, text, images, videos)]
    pixels = [tensors["pixel_values"] for tensors in one if "pixel_values" in tensors]
    return {"input_ids": torch.cat([tensors["input_ids"] for tensors in one], dim=1), "pixel_values": torch.cat(pixels)}


def _one_video_each(
    processor: Any, text: str, images: Sequence[Image], videos: Sequence[Frames]
) -> Iterator[tuple[str, Sequence[Image], Sequence[Frames]]]:
    *pieces, last = text.split(processor.video_token)
    pieces = [piece + processor.video_token for piece in pieces]
    seen = 0
    for number, piece in enumerate([*pieces, last] if last else pieces):
        shown = piece.count(processor.image_token)
        yield piece, images[seen : seen + shown], videos[number : number + 1]
        seen += shown


INTERNVL = Family(
    name="internvl",
    model_types=("internvl",),
    vision="model.vision_tower",
    projector=("model.multi_modal_projector",),
    text="model.language_model",
    lora_targets=r"model\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
    mixes_media=True,
    template="internvl.jinja",
    end_of_turn="<|im_end|>",
    image=_image,
    videos=_videos,
    call=_called,
)
