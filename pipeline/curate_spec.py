"""What a recipe may say of curation: every key of a step under `curate:`, with a line on each."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import ByteSize, Field, field_validator, model_validator

from pipeline.document import nearest, shown
from pipeline.juicer_spec import DataJuicerSpec  # noqa: TC001  (pydantic reads it)
from pipeline.model_check import Strict
from pipeline.recaption_spec import RecaptionSpec  # noqa: TC001  (pydantic reads it)
from pipeline.spec_values import Count, Seed, as_float, as_list, byte_size

Share = Annotated[float, Field(ge=0, le=1)]
Grey = Annotated[float, Field(ge=0, le=255)]
Distance = Annotated[int, Field(ge=0, le=8)]
"""Bits by which perceptual hashes differ; beyond 8 of 128 different pictures would begin to be the same."""
LANGUAGES = frozenset(
    (  # noqa: SIM905  (140 quotes more are no easier to read)
        "ace af am an ar as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr "
        "fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk "
        "km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl no nso oc om or pa pcm pl "
        "ps pt qu ro ru rw sa se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz vec vi vo "
        "wa xh yo zh zu"
    ).split()
)
"""Languages that a text can be told to be in, by ISO 639 code."""
COMPANIONS = {"seed": ("limit", "sample", "multiple_of"), "per": ("limit",)}
"""Keys that stand beside the one of a step: with which of them."""


class _Filter(Strict):
    """Limits that come in pairs: what is below `min_…` or above `max_…` is left out."""

    @model_validator(mode="after")
    def _some_pass(self) -> Self:
        for name in type(self).model_fields:
            low, high = getattr(self, name), getattr(self, name.replace("min_", "max_", 1), None)
            if name.startswith("min_") and low is not None and high is not None and low > high:
                raise ValueError(f"{name} {shown(low)} is larger than {name.replace('min_', 'max_', 1)} {shown(high)}")
        return self


class TextFilter(_Filter):
    """Rows whose text may stay."""

    column: str | None = None
    """The column with the text; of a list of texts all of them, one below the other. Null is an empty text."""
    columns: list[str] | None = Field(default=None, min_length=1)
    """Several columns, whose texts stand one below the other."""
    turns: list[Literal["system", "user", "assistant"]] | None = Field(default=None, min_length=1)
    """What these say in the schema's `conversation`, one below the other."""
    min_chars: Count | None = None
    """Characters (code points)."""
    max_chars: Count | None = None
    """Characters (code points)."""
    min_words: Count | None = None
    """Words: runs of letters and digits between spaces; every Han character and kana is a word of its own."""
    max_words: Count | None = None
    """Words."""
    languages: list[str] | None = Field(default=None, min_length=1)
    """ISO 639 codes, e.g. `[en, zh]`: the most probable language of the text is one of these."""
    min_language_score: Share | None = None
    """How probable that language is, from 0 to 1, at the least."""
    matches: str | None = None
    """A regular expression that is found in the text."""
    lacks: str | None = None
    """A regular expression that is not found in the text."""
    min_letter_ratio: Share | None = None
    """Letters and digits by all characters, at the least."""
    max_special_ratio: Share | None = None
    """Digits, spaces, punctuation, symbols and emoji by all characters, at the most."""
    max_char_repetition: Share | None = None
    """The share of the most frequent ones among all runs of `char_run` characters, at the most."""
    char_run: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Characters of a run that may be repeated."""
    max_word_repetition: Share | None = None
    """The share of runs of `word_run` words that stand there more than once, at the most."""
    word_run: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Words of a run that may be repeated."""
    flagged_words: list[str] | None = Field(default=None, min_length=1)
    """Words that are not wanted, whatever their case."""
    max_flagged_ratio: Share | None = None
    """Words that are not wanted by all words, at the most; left out: 0."""

    @field_validator("columns", "turns", "languages", "flagged_words", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return as_list(value)

    @field_validator(
        *("min_language_score", "min_letter_ratio", "max_special_ratio", "max_char_repetition"),
        *("max_word_repetition", "max_flagged_ratio"),
        mode="before",
    )
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return as_float(value)

    @field_validator("languages")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        for code in value or ():
            if code not in LANGUAGES:
                raise ValueError(f"{shown(code)} is no language that can be told; {nearest(code, LANGUAGES)}")
        return value

    @field_validator("matches", "lacks")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{shown(value)} is not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        places = [name for name in ("column", "columns", "turns") if getattr(self, name) is not None]
        if len(places) != 1:
            raise ValueError("a text is exactly one of column, columns, turns")
        if self.min_language_score is not None and self.languages is None:
            raise ValueError("`min_language_score` goes with `languages`")
        if self.max_flagged_ratio is not None and self.flagged_words is None:
            raise ValueError("`max_flagged_ratio` goes with `flagged_words`")
        for run, rule in (("char_run", "max_char_repetition"), ("word_run", "max_word_repetition")):
            if run in self.model_fields_set and getattr(self, rule) is None:
                raise ValueError(f"`{run}` goes with `{rule}`")
        if not self.rules:
            raise ValueError("a text filter has at least one limit, e.g. min_chars")
        return self

    @property
    def rules(self) -> list[str]:
        """The limits that are set."""
        no_limits = {"column", "columns", "turns", "char_run", "word_run"}
        return [name for name in type(self).model_fields if name not in no_limits and getattr(self, name) is not None]


class _Sides(_Filter):
    min_width: Count | None = None
    """Pixels."""
    max_width: Count | None = None
    """Pixels."""
    min_height: Count | None = None
    """Pixels."""
    max_height: Count | None = None
    """Pixels."""
    min_side: Count | None = None
    """Pixels of the shorter side."""
    max_side: Count | None = None
    """Pixels of the longer side."""
    max_aspect: float | None = Field(default=None, ge=1)
    """Longer side over shorter side."""
    max_bytes: ByteSize | None = None
    """Size of the file."""
    min_sharpness: float | None = Field(default=None, ge=0)
    """Variance of the Laplacian of the greys (0 to 255), with the longer side scaled down to 512 pixels: below about 50
    much looks blurred, but so does what has no detail."""
    min_brightness: Grey | None = None
    """Mean of the greys, from 0 (black) to 255 (white)."""
    max_brightness: Grey | None = None
    """Mean of the greys."""

    @field_validator("max_bytes", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return byte_size(value)

    @field_validator("max_aspect", "min_sharpness", "min_brightness", "max_brightness", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return as_float(value)


class ImageFilter(_Sides):
    """Images that may stay."""

    animated: bool | None = None
    """Only animated images, or only still ones."""


class VideoFilter(_Sides):
    """Videos that may stay."""

    min_seconds: float | None = Field(default=None, ge=0)
    """Seconds."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Seconds."""
    min_frames: Count | None = None
    """Frames."""
    max_frames: Count | None = None
    """Frames."""
    min_fps: float | None = Field(default=None, gt=0)
    """Frames per second, on average."""
    max_fps: float | None = Field(default=None, gt=0)
    """Frames per second, on average."""
    audio: bool | None = None
    """Only with sound, or only without."""
    static: bool | None = None
    """Only those in which nothing moves, or (false) only those in which something does."""

    @field_validator("min_seconds", "max_seconds", "min_fps", "max_fps", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return as_float(value)


MEASURED = frozenset({"min_sharpness", "min_brightness", "max_brightness", "static"})
"""Limits of what no header says: pictures are decoded for them."""


class NearSpec(Strict):
    """When media are nearly the same, and which of them stay."""

    distance: Distance = 4
    """Bits, of 128, by which the perceptual hashes of two pictures may differ."""
    keep: Literal["first", "largest"] = "first"
    """Which row stays: the first one, or the one whose media have the most pixels."""


class NearlySame(Strict):
    """`near` with its options."""

    near: NearSpec
    """Keep one of the rows whose images and videos look alike."""


class CurateSpec(Strict):
    """One step of curation; steps run in order."""

    drop_if: str | None = None
    """An expression over the row, e.g. ``stars < 10 or `text prompt` == ''``; true drops the row."""
    text: TextFilter | None = None
    """Drop rows with a text outside of these limits."""
    image: ImageFilter | None = None
    """Drop rows with an image outside of these limits."""
    video: VideoFilter | None = None
    """Drop rows with a video outside of these limits."""
    deduplicate: Literal["media", "row", "near"] | NearlySame | Annotated[list[str], Field(min_length=1)] | None = None
    """Keep the first of the rows with the same media, the same everything, or the same values in these columns; or
    (`near`) one of the rows whose media look alike."""
    limit: Count | None = None
    """Keep this many rows of a config, drawn with the seed."""
    per: str | None = None
    """`limit`: keep this many rows of each value of this column, which may hold media."""
    sample: float | None = Field(default=None, gt=0, le=1)
    """Keep this share of the rows, drawn with the seed: each row by itself, so that few change when rows are added."""
    multiple_of: Count | None = None
    """Keep a multiple of this many rows; the few that are too many are drawn with the seed."""
    at_least: Count | None = None
    """Stop the build when fewer rows than this are left."""
    seed: Seed = 0
    """The seed of `limit`, `sample` and `multiple_of`."""
    recaption: RecaptionSpec | None = None
    """Write a new text for each image or video with a model on this machine."""
    data_juicer: DataJuicerSpec | None = None
    """Run a recipe of data-juicer over the rows, in an environment of its own: its file, or what is said of it."""

    @field_validator("sample", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return as_float(value)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = self.model_fields_set - set(COMPANIONS)
        if len(given) != 1 or getattr(self, next(iter(given))) is None:
            steps = ", ".join(name for name in type(self).model_fields if name not in COMPANIONS)
            raise ValueError(f"a step is exactly one of {steps}")
        for companion, partners in COMPANIONS.items():
            if companion in self.model_fields_set and self.operation not in partners:
                raise ValueError(f"`{companion}` goes with {' or '.join(f'`{partner}`' for partner in partners)}")
        return self

    @property
    def operation(self) -> str:
        """The step's one key."""
        return next(iter(self.model_fields_set - set(COMPANIONS)))

    @property
    def near(self) -> NearSpec | None:
        """What `deduplicate: near` is to do, if that is the step."""
        if isinstance(self.deduplicate, NearlySame):
            return self.deduplicate.near
        return NearSpec() if self.deduplicate == "near" else None

    def made_of(self) -> dict[str, Any]:
        """Return what the step's result depends on: what it says beyond what is left out."""
        return self.model_dump(mode="json", exclude_defaults=True)
