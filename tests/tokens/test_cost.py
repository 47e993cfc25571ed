"""The price of a row: families by name, what nobody measured, strange values, and text by its characters."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.tokens.cost import (
    FAMILIES,
    Cost,
    characters_per_token,
    cost_of,
    estimated_text,
    family_of,
    image_cost,
    video_cost,
)
from pipeline.tokens.family import Refused, Unmeasured, VideoFacts

ROOT = Path(__file__).parents[2]
QWEN = FAMILIES["qwen2.5-vl"]
ODD_INTEGERS = st.one_of(st.none(), st.integers(), st.integers(-2, 5000), st.sampled_from([0, 1, 1 << 31, 1 << 63]))
ODD_FLOATS = st.one_of(st.none(), st.floats(), st.floats(0.01, 1e6))


def test_nothing_heavy_is_loaded() -> None:
    """Pricing needs no library of models, and no other either."""
    script = (
        "import sys\n"
        "import pipeline.tokens.cost\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'numpy', 'pyarrow', 'PIL', 'av', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_a_row_by_hand() -> None:
    """640 x 480 pixels are 23 x 17 pieces of 28 for Qwen2.5-VL, between two tokens; ten characters, three tokens."""
    cost = cost_of(QWEN, [(640, 480)], characters=10)
    assert cost == Cost(frames=0, pixels=644 * 476, vision_tokens=23 * 17 + 2, text_tokens=3)
    assert cost.total == 396


def test_a_video_by_hand() -> None:
    """Ten seconds give SmolVLM2 ten frames of 64 tokens; intro, times, marks and outro come on top."""
    video = VideoFacts(width=640, height=272, frames=250, fps=25.0)
    cost = cost_of(FAMILIES["smolvlm2"], videos=[video])
    intro, frame, outro = 20 + 1 + 8, 4 + 6 + 64 + 3, 2
    assert cost == Cost(frames=10, pixels=10 * 512**2, vision_tokens=intro + 10 * frame + outro, text_tokens=0)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("qwen2.5-vl", "qwen2.5-vl"),
        (" Qwen2.5-VL ", "qwen2.5-vl"),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2.5-vl"),
        ("SmolVLM2-2.2B-Instruct", "smolvlm2-2.2b"),
        ("HuggingFaceTB/SmolVLM2-256M-Video-Instruct", "smolvlm2"),
        ("OpenGVLab/InternVL3-2B-hf", "internvl"),
    ],
)
def test_families_by_name(name: str, family: str) -> None:
    """A family is found by its name, and by those of its models."""
    assert family_of(name).name == family


def test_an_unknown_family() -> None:
    """Whoever asks for another family learns which there are."""
    with pytest.raises(UsageError, match="there is no model family 'llava'") as error:
        family_of("llava")
    assert error.value.allowed == "smolvlm2, smolvlm2-2.2b, qwen2-vl, qwen2.5-vl, qwen3-vl, internvl"


def test_of_frames_rate_and_seconds_any_two_are_enough() -> None:
    """What is missing is computed; a rate that nobody knows is 24; what contradicts the frames is not believed."""
    size: dict[str, Any] = {"width": 64, "height": 48}
    known = video_cost(QWEN, VideoFacts(**size, frames=240, fps=24.0))
    assert known.frames == 20
    for facts in (
        {"frames": 240, "duration": 10.0},
        {"fps": 24.0, "duration": 10.0},
        {"duration": 10.0},
        {"frames": 240},
        {"frames": 240, "fps": 24.0, "duration": 99.0},
        {"frames": 240, "fps": float("nan"), "duration": -1.0},
    ):
        assert video_cost(QWEN, VideoFacts(**size, **facts)) == known, facts


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_nobody_measured_has_no_price(family: Any) -> None:
    """A size or a number of frames that is not known is no error of the medium, and costs no guess."""
    for width, height in ((None, 5), (5, None), (0, 5), (5, -1), (1 << 31, 5)):
        with pytest.raises(Unmeasured, match="nobody knows its size"):
            image_cost(family, width, height)
    for facts in ({}, {"fps": 25.0}, {"frames": 0}, {"frames": -1}, {"frames": 1 << 63}, {"duration": 0.001}):
        with pytest.raises(Unmeasured, match="nobody counted its frames"):
            video_cost(family, VideoFacts(width=5, height=5, **facts))  # type: ignore[arg-type]


def test_refusals_say_why() -> None:
    """What the processors fail on is refused with both numbers."""
    with pytest.raises(Refused, match=r"one side is 200\.50 times the other, and 200 times is the most"):
        image_cost(QWEN, 401, 2)
    with pytest.raises(Refused, match="frames are sampled 2 by 2, and it has 1"):
        video_cost(QWEN, VideoFacts(width=64, height=48, frames=1, fps=25.0))
    with pytest.raises(Refused, match="a video needs 2 frames, and it has 1"):
        video_cost(FAMILIES["qwen3-vl"], VideoFacts(width=64, height=48, frames=1, fps=25.0))


@given(ODD_INTEGERS, ODD_INTEGERS, ODD_INTEGERS, ODD_FLOATS, ODD_FLOATS)
def test_strange_values_never_crash(
    width: int | None, height: int | None, frames: int | None, fps: float | None, duration: float | None
) -> None:
    """Whatever a probe says, there is a price or a reason why there is none."""
    video = VideoFacts(width=width or 0, height=height or 0, frames=frames, fps=fps, duration=duration)
    for family in FAMILIES.values():
        for price, facts in ((image_cost, (width, height)), (video_cost, (video,))):
            try:
                spent = price(family, *facts)  # type: ignore[operator]
            except (Refused, Unmeasured):
                continue
            assert spent.tokens > 0
            assert spent.pixels > 0
            assert (spent.frames > 0) == (price is video_cost)


def test_more_is_never_cheaper() -> None:
    """A longer video costs no less, up to the most frames that are sampled."""
    for family in FAMILIES.values():
        costs = [
            video_cost(family, VideoFacts(width=320, height=240, frames=25 * seconds, fps=25.0)).tokens
            for seconds in range(1, 60)
        ]
        if family.name == "qwen3-vl":  # all frames share a budget: rounding takes some back
            assert costs[-1] > costs[0]
        else:
            assert costs == sorted(costs)


def test_settings_are_replaced() -> None:
    """A family is a value: who trains with fewer frames asks for them."""
    few: Any = replace(FAMILIES["smolvlm2"], max_frames=8)  # type: ignore[type-var]
    assert video_cost(few, VideoFacts(width=64, height=48, frames=2500, fps=25.0)).frames == 8


def test_text_is_estimated() -> None:
    """Four characters are a token; one is where a card names only languages that write so densely."""
    assert [estimated_text(count) for count in (-1, 0, 1, 4, 5)] == [0, 0, 1, 1, 2]
    assert estimated_text(5, 1) == 5
    assert [characters_per_token(one) for one in (["zh"], "ja", ["zh", "ko"], ["zh-Hant"])] == [1, 1, 1, 1]
    assert [characters_per_token(one) for one in (["en"], ["en", "zh"], [], None, {}, [None], [["zh"]], 5)] == [4] * 8
