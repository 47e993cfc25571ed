"""Lengths are known before anything is decoded, and are those that encoding gives."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor

from pipeline.errors import RowRejected
from tests.train.conversations import assistant, example, frames, image, system, user
from train.example import Frames, FramesSize, Image, ImageSize, Turn
from train.families.registry import families

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from train.example import Example
    from train.families.family import Family

FAMILIES = pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
EXACT = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

sides = st.integers(1, 150) | st.integers(151, 700)
texts = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ("", " ", "\n", "a\n\n", "12 seconds", "Frame1:")
)
images = st.builds(image, sides, sides)
videos = st.builds(frames, st.integers(1, 9), st.integers(1, 120), st.integers(1, 120), step=st.integers(1, 999))
rates = st.sampled_from((0.5, 12.0, 23.976, 25.0, 29.97, 120.0))


@st.composite
def conversations(draw: st.DrawFn) -> Example:
    """Draw a conversation of one to three answers with a few media."""
    turns = [system(draw(texts))] if draw(st.booleans()) else []
    kinds = draw(st.sampled_from(("images", "videos", "both", "none")))
    media = {"images": images, "videos": videos, "both": images | videos, "none": texts}[kinds]
    for _ in range(draw(st.integers(1, 3))):
        turns.append(user(*draw(st.lists(texts | media, max_size=4))))
        turns.append(assistant(*draw(st.lists(texts, max_size=2))))
    return example(*turns)


@pytest.fixture(scope="module")
def processor_of(tiny: Callable[[str], Path]) -> Callable[[Family], Any]:
    """Give a processor of a family's tiny model that the test may change."""
    return lambda family: AutoProcessor.from_pretrained(tiny(family.name))


def _sizes_only(conversation: Example) -> Example:
    turns = [
        Turn(
            role=turn.role, parts=tuple(part.size if isinstance(part, Image | Frames) else part for part in turn.parts)
        )
        for turn in conversation.turns
    ]
    return example(*turns)


def _exact(family: Family, processor: Any, conversation: Example) -> None:
    """Prove that length and encoding agree, in tokens or in their refusal."""
    try:
        encoded = family.encode(processor, conversation)
    except RowRejected as refused:
        with pytest.raises(RowRejected, match=re.escape(refused.message)):
            family.length(processor, _sizes_only(conversation))
    else:
        assert family.length(processor, _sizes_only(conversation)) == encoded.length
        family.proved(processor, encoded, conversation)


def _with_settings(family: Family, processor: Any, *, much: bool) -> Any:
    """Change what decides into how many tokens media turn: sizes, tiles, caps."""
    images, videos = processor.image_processor, processor.video_processor
    if family.name == "smolvlm":
        images.size = {"longest_edge": 200 if much else 50}
        images.max_image_size = {"longest_edge": 32}
        images.do_image_splitting = much
    elif family.name == "internvl":
        images.min_patches, images.max_patches = (2, 12) if much else (1, 1)
    else:
        area = (images.patch_size * images.merge_size) ** 2
        images.size = {"shortest_edge": area if much else 9 * area, "longest_edge": (40 if much else 9) * area}
        videos.size = {"shortest_edge": 2 * area, "longest_edge": (90 if much else 10) * area}
        videos.cap_pixels_per_frame = much
        videos.max_video_tokens = 30 if family.name != "qwen3_vl" else 6
    return processor


@FAMILIES
@EXACT
@given(conversation=conversations())
def test_lengths_are_exact(family: Family, processor_of: Callable[[Family], Any], conversation: Example) -> None:
    """Of any conversation, its length from sizes is the number of its tokens."""
    _exact(family, _kept(family, processor_of), conversation)


@FAMILIES
@pytest.mark.parametrize("much", [True, False], ids=["many tiles", "few tiles"])
@settings(EXACT, max_examples=40)
@given(conversation=conversations())
def test_lengths_follow_the_processor(
    family: Family, much: bool, processor_of: Callable[[Family], Any], conversation: Example
) -> None:
    """The settings that count are those of the processor at hand."""
    _exact(family, _kept(family, processor_of, much=much), conversation)


@FAMILIES
@settings(EXACT, max_examples=40)
@given(count=st.integers(2, 80), step=st.integers(1, 2000), fps=rates)
def test_times_are_counted(
    family: Family, processor_of: Callable[[Family], Any], count: int, step: int, fps: float
) -> None:
    """What is written of times counts as it is cut, from the first seconds to many hours."""
    _exact(family, _kept(family, processor_of), example(user(frames(count, 8, 8, step=step, fps=fps)), assistant("A.")))


@FAMILIES
def test_nothing_is_decoded(family: Family, processor_of: Callable[[Family], Any]) -> None:
    """An image of six gigapixels and a video of a day have a length."""
    processor = processor_of(family)
    day = FramesSize(width=7680, height=4320, numbers=tuple(range(0, 2_073_600, 25_920)), total=2_073_600, fps=24.0)
    assert family.length(processor, example(user(day, "?"), assistant("."))) > 80
    poster = ImageSize(width=100_000, height=60_000)
    once = family.length(processor, example(user(poster, "?"), assistant(".")))
    assert family.length(processor, example(user("?"), assistant("."))) < once
    assert once < family.length(processor, example(user(poster, poster, "?"), assistant(".")))


_KEPT: dict[tuple[str, bool | None], Any] = {}


def _kept(family: Family, processor_of: Callable[[Family], Any], *, much: bool | None = None) -> Any:
    """Return a processor, loaded once for all examples of a test."""
    key = (family.name, much)
    if key not in _KEPT:
        processor = copy.deepcopy(processor_of(family))
        _KEPT[key] = processor if much is None else _with_settings(family, processor, much=much)
    return _KEPT[key]
