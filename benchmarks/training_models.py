"""What all sides of a comparison of trainings are given: models with random weights in the shapes of released ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


FRAMES = 8
"""Of each clip."""
QUESTION = "What is shown?"
WARM_UP = 2
"""Steps that are left out: all is warm behind them."""


@dataclass(frozen=True)
class Shape:
    """A model, and how much of a dataset a comparison takes of it."""

    family: str
    rows: int
    samples: int
    """Rows of a batch."""
    make: Callable[[Any, Any], Any] | None = None
    """Of a tiny model's processor, which it changes, and its config: the model. None: the tiny model itself."""


def make_model(shape: Shape, folder: Path, *, half: bool) -> tuple[int, int]:
    """Write a model with its processor; returns its parameters in all, and those of its vision tower."""
    from train.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    from train.families.registry import families
    from train.tiny import make_tiny

    logging.disable_progress_bar()
    make_tiny(shape.family, folder)
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder)
    if shape.make is not None:
        torch.manual_seed(0)
        speaks = model.generation_config
        model = shape.make(processor, model.config)
        model.generation_config.eos_token_id, model.generation_config.pad_token_id = speaks.eos_token_id, 0
        model.to(torch.bfloat16 if half else torch.float32).save_pretrained(folder)
        processor.save_pretrained(folder)
    tower = next(family.vision for family in families() if family.name == shape.family)
    vision = sum(own.numel() for name, own in model.named_parameters() if name.startswith(f"{tower}."))
    return sum(own.numel() for own in model.parameters()), vision


def _smolvlm(side: int, vision: dict[str, int], text: dict[str, Any], *, most: int) -> Callable[[Any, Any], Any]:
    """Return what makes a model like SmolVLM2: squares of `side` pixels, images of up to `most` pixels a side."""

    def make(processor: Any, config: Any) -> Any:
        import transformers

        tile = {"longest_edge": side}
        processor.image_processor.size = {"longest_edge": most}
        processor.image_processor.max_image_size = tile
        processor.video_processor.size = processor.video_processor.max_image_size = tile
        processor.image_seq_len = (side // 16 // 4) ** 2
        tokens = {name: getattr(config.text_config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        shaped = transformers.SmolVLMConfig(
            image_token_id=config.image_token_id,
            pad_token_id=processor.tokenizer.pad_token_id,
            scale_factor=4,
            tie_word_embeddings=False,
            vision_config={"image_size": side, "patch_size": 16, **vision},
            text_config={"model_type": "llama", "max_position_embeddings": 8192, **tokens, **text},
        )
        return transformers.SmolVLMForConditionalGeneration(shaped)

    return make


def _qwen2_vl_2b(processor: Any, config: Any) -> Any:
    """Make a model like Qwen2-VL-2B."""
    import transformers

    area = 28**2
    processor.image_processor.size = {"shortest_edge": 4 * area, "longest_edge": 1280 * area}
    processor.video_processor.size = {"shortest_edge": 128 * area, "longest_edge": 768 * area}
    vision = {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "mlp_ratio": 4, "patch_size": 14}
    text = config.text_config.to_dict() | {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "vocab_size": 151_936,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "layer_types": None,
    }
    media = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    tokens = {name: getattr(config, name) for name in media}
    shaped = transformers.Qwen2VLConfig(vision_config=vision, text_config=text, tie_word_embeddings=True, **tokens)
    return transformers.Qwen2VLForConditionalGeneration(shaped)


SHAPES = {
    "tiny": Shape("smolvlm", rows=320, samples=8),
    "small": Shape(
        "smolvlm",
        rows=32,
        samples=4,
        make=_smolvlm(
            320,
            {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 5, "num_attention_heads": 4},
            {
                "hidden_size": 320,
                "intermediate_size": 864,
                "num_hidden_layers": 10,
                "vocab_size": 8192,
                "num_attention_heads": 5,
                "num_key_value_heads": 5,
            },
            most=1280,
        ),
    ),
    "500m": Shape(
        "smolvlm",
        rows=480,
        samples=8,
        make=_smolvlm(
            512,
            {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
            {
                "hidden_size": 960,
                "intermediate_size": 2560,
                "num_hidden_layers": 32,
                "vocab_size": 49_280,
                "num_attention_heads": 15,
                "num_key_value_heads": 5,
            },
            most=2048,
        ),
    ),
    "2b": Shape("qwen2_vl", rows=320, samples=4, make=_qwen2_vl_2b),
}
"""By size: tiny is train/tiny.py's; small has SmolVLM2's proportions; 500m is SmolVLM2-500M, 2b is Qwen2-VL-2B."""
