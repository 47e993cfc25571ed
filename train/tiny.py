"""Tiny models with random weights, one of each family: to try a training in seconds, on any machine, without a hub.

    folder/  config.json  generation_config.json  model.safetensors     about 0.2 million parameters
             processor_config.json  chat_template.jinja                 the family's own processor, with small sizes
             tokenizer.json  tokenizer_config.json                      cuts texts as the family's does, 700 tokens

Everything that reads a released checkpoint reads these. They know nothing, and learn a handful of rows by heart.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.printable import escaped
from train.example import TrainError
from train.families.registry import families
from train.families.rendering import template_text
from train.torchvision_ops import ensure_torchvision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CORPUS = (
    "What happens in the video? What is shown in the image? Describe the picture. Is it true? Answer with a letter.",
    "A rabbit stands in a green meadow under a tree. People ride bikes down the street past parked cars.",
    "A man in a dark suit talks to the camera. Two astronauts float through a white room, and the earth is below them.",
    "You are provided the following series of eight frames from a 0:00:10 [H:MM:SS] video.\n\nFrame from 00:01:",
    "User: Assistant: a red square on white <0.3 seconds> Frame1: system\nuser\nassistant\nYou are helpful.",
    r"\frac { 1 } { 2 } \int _ { 0 } ^ { \infty } e ^ { - x ^ { 2 } } d x = \sqrt { \pi } , \alpha + \left( x \right)",
)
"""What the tokenizers learn their words from; every other word is spelt in bytes."""
VOCABULARY = 700
SHARPER = 12.0
"""The head's weights are so many times what they are drawn as. As drawn, no hidden state makes a logit that is far from
the others', and what only adapts the layers before the head could learn nothing by heart."""

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}
VISION = {"hidden_size": 32, "intermediate_size": 64}
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QWEN_CONTROL = (*CONTROL, "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
SMOLVLM_ROLES = {
    "bos_token": "<|im_start|>",
    "eos_token": "<end_of_utterance>",
    "pad_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
}
QWEN_ROLES = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def make_tiny(family: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny model with its processor, and return its folder.

    Args:
        family: The name of a family, e.g. `qwen2_5_vl`.
        folder: Where it is written; made if it is not there.
        seed: Of the weights; the same one gives the same bytes.

    Raises:
        TrainError: no such family.
    """
    ensure_torchvision()
    import torch

    if family not in _MAKERS:
        raise TrainError(f"there is no family {escaped(family)!r}", allowed=", ".join(_MAKERS))
    known = next(one for one in families() if one.name == family)
    # as released: the same text, and nothing marks what the assistant says
    template = re.sub(r"\{%- (end)?generation -%\}", "", template_text(known.template))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model, processor = _MAKERS[family](template)
        model.get_output_embeddings().weight.mul_(SHARPER)
    tokenizer = processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(known.end_of_turn)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    folder.mkdir(parents=True, exist_ok=True)
    with _no_bars():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


@contextmanager
def _no_bars() -> Iterator[None]:
    """Have transformers draw no progress bars for files that are written at once."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _smolvlm(template: str) -> tuple[Any, Any]:
    import transformers
    from tokenizers import pre_tokenizers

    named = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
        "video_token": "<video>",
    }
    places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = _words([*CONTROL, *named.values(), *places], pre_tokenizers.Sequence([digits, _bytes()]))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        extra_special_tokens=named,
        **SMOLVLM_ROLES,
    )
    tile = {"longest_edge": 32}
    sampling = {"max_frames": 8, "fps": 1, "video_size": tile}
    processor = transformers.SmolVLMProcessor(
        transformers.SmolVLMImageProcessor(size={"longest_edge": 64}, max_image_size=tile),
        tokenizer,
        transformers.SmolVLMVideoProcessor(size=tile, max_image_size=tile, video_sampling=sampling),
        image_seq_len=4,
        chat_template=template,
    )
    numbers = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = transformers.SmolVLMConfig(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,
        tie_word_embeddings=False,
        vision_config=VISION | {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
        text_config=TEXT | numbers | {"model_type": "llama", "vocab_size": len(tokenizer)},
    )
    return transformers.SmolVLMForConditionalGeneration(config), processor


def _qwen2_vl(template: str) -> tuple[Any, Any]:
    import transformers

    tokenizer, settings = _qwen(sections=[2, 3, 3])
    config = transformers.Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 64,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        **settings,
    )
    processor = _qwen_processor(transformers.Qwen2VLProcessor, transformers.Qwen2VLVideoProcessor, tokenizer, template)
    return transformers.Qwen2VLForConditionalGeneration(config), processor


def _qwen2_5_vl(template: str) -> tuple[Any, Any]:
    import transformers

    tokenizer, settings = _qwen(sections=[2, 3, 3])
    layers = {"depth": 2, "num_heads": 2, "patch_size": 14, "fullatt_block_indexes": [1], "window_size": 56}
    config = transformers.Qwen2_5_VLConfig(
        vision_config=VISION | layers | {"out_hidden_size": 64},
        **settings,
    )
    processor = _qwen_processor(
        transformers.Qwen2_5_VLProcessor, transformers.Qwen2VLVideoProcessor, tokenizer, template
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl(template: str) -> tuple[Any, Any]:
    import transformers

    tokenizer, settings = _qwen(sections=[4, 2, 2], head_dim=16, interleaved=True)
    layers = {"depth": 3, "num_heads": 2, "patch_size": 16, "deepstack_visual_indexes": [0, 1]}
    config = transformers.Qwen3VLConfig(
        vision_config=VISION | layers | {"out_hidden_size": 64, "num_position_embeddings": 64},
        **settings,
    )
    video = transformers.Qwen3VLVideoProcessor
    processor = _qwen_processor(transformers.Qwen3VLProcessor, video, tokenizer, template, patch=16, frames=4)
    return transformers.Qwen3VLForConditionalGeneration(config), processor


def _qwen(*, sections: list[int], interleaved: bool = False, **more: Any) -> tuple[Any, dict[str, Any]]:
    """Return a tokenizer, and what the configs of all three have in common."""
    tokenizer = _qwen_tokenizer(QWEN_CONTROL, extra_special_tokens=list(QWEN_CONTROL[1:]))
    number = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
    if interleaved:
        rope["mrope_interleaved"] = True
    text = TEXT | more | _qwen_numbers(tokenizer) | {"rope_parameters": rope}
    media = {f"{kind}_token_id": number(f"<|{kind}_pad|>") for kind in ("image", "video")}
    around = {f"vision_{side}_token_id": number(f"<|vision_{side}|>") for side in ("start", "end")}
    return tokenizer, {"text_config": text, "tie_word_embeddings": True, **media, **around}


def _qwen_processor(
    processor: Any, video: Any, tokenizer: Any, template: str, *, patch: int = 14, frames: int = 1
) -> Any:
    import transformers

    area = (2 * patch) ** 2
    images = {"shortest_edge": 4 * area, "longest_edge": 16 * area}
    videos = {"shortest_edge": 4 * area, "longest_edge": 16 * area * frames}
    return processor(
        transformers.Qwen2VLImageProcessor(size=images, patch_size=patch),
        tokenizer,
        video(size=videos, patch_size=patch, cap_pixels_per_frame=False),
        chat_template=template,
    )


def _internvl(template: str) -> tuple[Any, Any]:
    import transformers

    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _qwen_tokenizer((*CONTROL, *named.values()), extra_special_tokens=named)
    tokenizer.add_special_tokens({"bos_token": "<|im_start|>"})
    tile = {"height": 56, "width": 56}
    processor = transformers.InternVLProcessor(
        transformers.GotOcr2ImageProcessor(size=tile, min_patches=1, max_patches=4),
        tokenizer,
        transformers.InternVLVideoProcessor(size=tile),
        image_seq_length=4,
        chat_template=template,
    )
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.InternVLConfig(
        image_token_id=processor.image_token_id,
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
        vision_config=VISION | layers | {"image_size": [56, 56], "patch_size": [14, 14]},
        text_config=TEXT | _qwen_numbers(tokenizer) | {"model_type": "qwen2"},
    )
    return transformers.InternVLForConditionalGeneration(config), processor


def _qwen_numbers(tokenizer: Any) -> dict[str, int]:
    start = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": start,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": start,
    }


def _qwen_tokenizer(control: tuple[str, ...], *, extra_special_tokens: Any) -> Any:
    """Return a tokenizer that cuts texts as Qwen2's does, which its class sees to, and knows the corpus' words."""
    import json

    import transformers

    words = json.loads(_words(list(control), _bytes()).to_str())["model"]
    return transformers.Qwen2Tokenizer(
        vocab=words["vocab"],
        merges=[tuple(pair) for pair in words["merges"]],
        extra_special_tokens=extra_special_tokens,
        **QWEN_ROLES,
    )


def _bytes() -> Any:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _words(control: list[str], cut: Any) -> Any:
    """Return a tokenizer with the words of the corpus."""
    from tokenizers import Tokenizer, decoders, models, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=control,
        initial_alphabet=sorted(_bytes().alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 2, trainer)
    return tokenizer


_MAKERS: dict[str, Callable[[str], tuple[Any, Any]]] = {
    "smolvlm": _smolvlm,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "internvl": _internvl,
}
