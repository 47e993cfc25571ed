"""Our arithmetic and the processors of transformers: the same frames, pixels and tokens, and the same refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.tokens.cost import FAMILIES, Cost, cost_of, image_cost, video_cost
from pipeline.tokens.family import Family, Refused, Spent, VideoFacts

EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text(encoding="utf-8"))
"""Written by `make_expected.py`."""


def _film(width: int, height: int, frames: int, fps: float) -> VideoFacts:
    return VideoFacts(width=width, height=height, frames=frames, fps=fps)


def _spent(family: Family, kind: str, facts: list[Any]) -> Spent | None:
    """Return what a medium costs, or None when it is refused."""
    try:
        return image_cost(family, *facts) if kind == "images" else video_cost(family, _film(*facts))
    except Refused:
        return None


def _assert_equal(family: Family, cases: dict[str, Any]) -> None:
    for kind in ("images", "videos"):
        assert cases[kind]
        for *facts, theirs in cases[kind]:
            # a text is the name of the error that the processor raised
            expected = None if isinstance(theirs, str) else Spent(*theirs)
            assert _spent(family, kind, facts) == expected, (family.name, kind, facts)


def test_every_family_is_compared() -> None:
    """The file has hundreds of cases for each family that can be asked for, and refusals where there are any."""
    assert set(EXPECTED["families"]) == set(FAMILIES)
    for cases in EXPECTED["families"].values():
        assert min(len(cases["images"]), len(cases["videos"])) > 150
    for name in ("qwen2-vl", "qwen2.5-vl", "qwen3-vl"):
        for kind in ("images", "videos"):
            assert sum(isinstance(case[-1], str) for case in EXPECTED["families"][name][kind]) > 5


@pytest.mark.parametrize("name", FAMILIES)
def test_released_settings(name: str) -> None:
    """Every image and video costs what the processor of the released models says."""
    _assert_equal(FAMILIES[name], EXPECTED["families"][name])


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_of_several_media(name: str) -> None:
    """Several media of a row cost what the processor makes of them together."""
    for images, films, (frames, pixels, tokens) in EXPECTED["families"][name]["rows"]:
        cost = cost_of(FAMILIES[name], images, [_film(*film) for film in films], text_tokens=7)
        assert cost == Cost(frames=frames, pixels=pixels, vision_tokens=tokens, text_tokens=7)
        assert cost.total == tokens + 7


@pytest.mark.parametrize("variant", EXPECTED["variants"], ids=lambda one: f"{one['family']}-{one['changes']}")
def test_other_settings(variant: dict[str, Any]) -> None:
    """So it is with other limits, rates and tiles than the released ones."""
    changes = {key: tuple(value) if isinstance(value, list) else value for key, value in variant["changes"].items()}
    family: Any = FAMILIES[variant["family"]]
    _assert_equal(replace(family, **changes), variant)
