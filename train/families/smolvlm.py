"""SmolVLM2: images become tiles and a view of the whole, frames of a video become squares, each behind its time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from pipeline.tokens.smolvlm import SmolVLM2
from train.families.family import Expansion, Family
from train.families.processor_call import called, metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from train.example import Frames, FramesSize, Image, ImageSize


def _image(processor: Any, size: ImageSize) -> Expansion:
    door = processor.image_processor
    rows = columns = 0
    if door.do_image_splitting:
        longest, tile = door.size["longest_edge"], door.max_image_size["longest_edge"]
        arithmetic = SmolVLM2(name="", models=(), longest_side=longest, tile=tile, tile_tokens=processor.image_seq_len)
        columns, rows = arithmetic.grid(size.width, size.height)
        if columns * rows == 1:
            rows = columns = 0
    return _drawn_together(processor, processor.replace_image_token({"rows": [[rows]], "cols": [[columns]]}, 0))


def _videos(processor: Any, sizes: Sequence[FramesSize]) -> list[Expansion]:
    from transformers.video_utils import VideoMetadata

    # Shorter videos of an example are filled up with black, and each text names the longest one's number of frames.
    shape = (len(sizes), max((len(size.numbers) for size in sizes), default=0))
    told = [VideoMetadata(**metadata(size)) for size in sizes]
    inputs = {"pixel_values": SimpleNamespace(shape=shape), "video_metadata": told}
    return [_drawn_together(processor, processor.replace_video_token(inputs, place)) for place in range(len(sizes))]


def _drawn_together(processor: Any, text: str) -> Expansion:
    run = processor.image_token * processor.image_seq_len
    return Expansion(text.replace(run, processor.image_token), text.count(run) * (processor.image_seq_len - 1))


def _called(processor: Any, text: str, images: Sequence[Image], videos: Sequence[Frames]) -> dict[str, Tensor]:
    """Call the processor, and return all tiles or frames of the example in one row, without what fills it up."""
    tensors = called(processor, text, images, videos)
    for name in ("pixel_values", "pixel_attention_mask"):
        if videos and name in tensors:
            own = [row[: len(frames.numbers)] for row, frames in zip(tensors[name], videos, strict=True)]
            tensors[name] = torch.cat(own)[None]
    return tensors


def _joined(media: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return all tiles of all examples in one row [1, tiles, 3, height, width]: the model counts them off by its ids.

    It takes rows of different lengths only filled up with black, which would be preprocessed and moved for nothing.
    """
    found = [one for one in media if one]
    if not found:
        return {}
    height = max(one["pixel_values"].shape[-2] for one in found)
    width = max(one["pixel_values"].shape[-1] for one in found)
    joined = {}
    for name in ("pixel_values", "pixel_attention_mask"):
        if all(name in one for one in found):
            tensors = [one[name] for one in found]
            filled = [functional.pad(t, (0, width - t.shape[-1], 0, height - t.shape[-2])) for t in tensors]
            joined[name] = torch.cat(filled, dim=1)
    return joined


def _video_template() -> str:
    from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

    return str(DEFAULT_CHAT_TEMPLATE)


SMOLVLM = Family(
    name="smolvlm",
    model_types=("smolvlm",),
    vision="model.vision_model",
    projector=("model.connector",),
    text="model.text_model",
    lora_targets=r"model\.text_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
    # Its processor gives pixels of both under one name, so a video's would take the place of an image's.
    mixes_media=False,
    template="smolvlm.jinja",
    end_of_turn="<end_of_utterance>",
    before_answer=" ",
    image=_image,
    videos=_videos,
    call=_called,
    join=_joined,
    video_template=_video_template,
)
