"""Rows for tiny models: a video, two images and plain text, as every family can be trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from train.example import Example, Frames, Image, RowRef, Turn
from train.models.load import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from train.example import Encoded, Medium
    from train.families.family import Family

FAMILIES = ("smolvlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl")


class Rows(NamedTuple):
    """A model with rows that it can be trained on."""

    model: Any
    processor: Any
    family: Family
    encoded: list[Encoded]

    @property
    def pad_id(self) -> int:
        """The token that fills up."""
        return int(self.processor.tokenizer.pad_token_id)


def loaded(folder: Path, **options: Any) -> Rows:
    """Load a tiny model and encode the rows for it."""
    model, processor, family, _ = load_model(folder, **options)
    encoded = [family.encode(processor, one) for one in rows()]
    return Rows(model, processor, family, encoded)


def rows() -> list[Example]:
    """Return examples of different lengths, of noise that is the same every time."""
    return [
        _example(0, [_frames(4)], "What happens?", "People ride bikes."),
        _example(1, [_image(56, 70), _image(64, 48)], "Describe the picture.", "A rabbit stands in a green meadow."),
        _example(2, [], "Is it true?", "It is."),
        _example(3, [_frames(6)], "What is shown in the video?", "A man talks to the camera, and then to a rabbit."),
    ]


def _example(number: int, media: list[Medium], question: str, answer: str) -> Example:
    row = RowRef(number=number, shard="default/train-00000-of-00001.parquet", row=number)
    turns = (Turn(role="user", parts=(*media, question)), Turn(role="assistant", parts=(answer,)))
    return Example(row=row, turns=turns)


def _frames(count: int) -> Frames:
    pixels = np.random.default_rng(count).integers(0, 255, (count, 48, 64, 3), dtype=np.uint8)
    return Frames(pixels=pixels, numbers=tuple(range(0, 25 * count, 25)), total=25 * count, fps=25.0)


def _image(height: int, width: int) -> Image:
    return Image(pixels=np.random.default_rng(height).integers(0, 255, (height, width, 3), dtype=np.uint8))
