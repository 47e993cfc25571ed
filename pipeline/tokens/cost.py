"""What a row costs a model family: frames, pixels and tokens, from what a probe knows, without decoding anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.tokens.family import Unmeasured
from pipeline.tokens.internvl import InternVL
from pipeline.tokens.qwen import Qwen2VL, Qwen3VL
from pipeline.tokens.smolvlm import SmolVLM2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.tokens.family import Family, Spent, VideoFacts

CHARACTERS_PER_TOKEN = 4
"""An estimate for text nobody tokenized: English has 3.7 to 5.1, German 2.8 to 3.5, formulas and JSON 2 to 3."""
DENSE = frozenset({"zh", "yue", "wuu", "ja", "ko"})
"""Languages in which a character is about a token: 1.7 to 1.9 characters for Qwen, 0.5 to 0.7 for SmolLM2."""


def _names(owner: str, family: str, *sizes: str, ending: str = "") -> tuple[str, ...]:
    return tuple(f"{owner}/{family}-{size}{ending}" for size in sizes)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        SmolVLM2(
            name="smolvlm2",
            models=_names("HuggingFaceTB", "SmolVLM2", "500M", "256M", ending="-Video-Instruct"),
            longest_side=2048,
            tile=512,
            tile_tokens=64,
        ),
        SmolVLM2(
            name="smolvlm2-2.2b",
            models=_names("HuggingFaceTB", "SmolVLM2", "2.2B", ending="-Instruct"),
            longest_side=1536,
            tile=384,
            tile_tokens=81,
        ),
        Qwen2VL(name="qwen2-vl", models=_names("Qwen", "Qwen2-VL", "2B", "7B", "72B", ending="-Instruct")),
        Qwen2VL(name="qwen2.5-vl", models=_names("Qwen", "Qwen2.5-VL", "3B", "7B", "32B", "72B", ending="-Instruct")),
        Qwen3VL(name="qwen3-vl", models=_names("Qwen", "Qwen3-VL", "2B", "4B", "8B", "32B", ending="-Instruct")),
        InternVL(
            name="internvl",
            models=_names("OpenGVLab", "InternVL3", "1B", "2B", "8B", "14B", "38B", "78B", ending="-hf"),
        ),
    )
}
"""Name -> family, with the settings of the released models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a row costs."""

    frames: int
    pixels: int
    vision_tokens: int
    text_tokens: int

    @property
    def total(self) -> int:
        """All tokens; the words of the chat template around the turns, ten to thirty tokens a row, are not counted."""
        return self.vision_tokens + self.text_tokens


def family_of(name: str) -> Family:
    """Return a family by its name, or by the name of one of its released models.

    Raises:
        UsageError: there is no such family.
    """
    wanted = name.strip().lower()
    for family in FAMILIES.values():
        known = {family.name, *(form.lower() for model in family.models for form in (model, model.partition("/")[2]))}
        if wanted in known:
            return family
    raise UsageError(f"there is no model family {name!r}", allowed=", ".join(FAMILIES))


def cost_of(
    family: Family,
    images: Iterable[tuple[int, int]] = (),
    videos: Iterable[VideoFacts] = (),
    *,
    characters: int = 0,
    text_tokens: int | None = None,
) -> Cost:
    """Return what a row costs that has these media; its text is counted if somebody did, else estimated.

    Raises:
        Refused: the family's processor fails on one of the media.
        Unmeasured: too little is known of one of them.
    """
    spent = [image_cost(family, width, height) for width, height in images]
    spent += [video_cost(family, video) for video in videos]
    return Cost(
        frames=sum(one.frames for one in spent),
        pixels=sum(one.pixels for one in spent),
        vision_tokens=sum(one.tokens for one in spent),
        text_tokens=estimated_text(characters) if text_tokens is None else text_tokens,
    )


def image_cost(family: Family, width: int | None, height: int | None) -> Spent:
    """Return what an image costs; raises like `cost_of`."""
    if width is None or height is None or not _is_size(width, height):
        raise Unmeasured("nobody knows its size")
    return family.image(width, height)


def video_cost(family: Family, video: VideoFacts) -> Spent:
    """Return what a video costs; raises like `cost_of`."""
    if not _is_size(video.width, video.height):
        raise Unmeasured("nobody knows its size")
    return family.video(video)


def _is_size(width: int, height: int) -> bool:
    return min(width, height) > 0 and max(width, height) < 1 << 31


def estimated_text(characters: int, per_token: int = CHARACTERS_PER_TOKEN) -> int:
    """Return about how many tokens a text of so many characters has."""
    return -(-max(characters, 0) // per_token)


def characters_per_token(languages: object) -> int:
    """Return how many characters are taken for a token, from the languages that a card names."""
    named = [languages] if isinstance(languages, str) else languages
    if not isinstance(named, list) or not named:
        return CHARACTERS_PER_TOKEN
    dense = all(isinstance(one, str) and one.lower().partition("-")[0] in DENSE for one in named)
    return 1 if dense else CHARACTERS_PER_TOKEN
