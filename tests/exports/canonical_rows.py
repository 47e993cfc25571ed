"""Canonical rows made up for tests of exports: any texts, and media that are real files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hypothesis import strategies as st

from pipeline.rows.canonical import CanonicalRow, CanonicalTurn, Medium
from tests.project import png

if TYPE_CHECKING:
    from pipeline.exports.losses import Losses

MEDIA = Path(__file__).parents[1] / "data" / "media"
COLUMNS = {"image": "images", "video": "videos"}

PLACEHOLDERS = ("<image>", "<video>", "<audio>", "<IMG_CONTEXT>", "<VIDEO_CONTEXT>", "<__dj__image>", "<|__dj__eoc|>")
"""What stands for media in some format, here in texts where it is only text."""
ODD = (
    *("[[gpt]]: ", "\n[[human]]: no", "\n", "\r\n", "\r", "\t", " ", "  ", '"', "'", ",", ";", "=1+1", "@SUM(A1)", "-"),
    *(
        "{}",
        "[]",
        "[1]",
        "null",
        "NaN",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "true",
        "7",
        "\\n",
        "\u2028",
        "\u00a0",
        "é",
    ),
    *("e\u0301", "漢字", "🙂", "\ufeff", "\u202e", "\x7f", "\x1b[31m", "<ref-object>", "<bbox>", "human", "gpt", "…"),
)
"""Pieces of text that formats, readers and terminals have opinions about."""


@cache
def medium(kind: Literal["image", "video"], number: int) -> Medium:
    """Return one of a few media, each of other bytes."""
    data, ending = (png(number), ".png") if kind == "image" else _video(number)
    return Medium(
        kind=kind,
        column=COLUMNS[kind],
        name=f"some folder/{kind} {number}{ending}",
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        ending=ending,
        read=lambda: data,
    )


def _video(number: int) -> tuple[bytes, str]:
    path = MEDIA / ("hevc_white_frame.mp4", "fixture.mov")[number % 2]
    return path.read_bytes(), path.suffix


def turn(role: Literal["system", "user", "assistant"], *parts: str | Medium) -> CanonicalTurn:
    """Return a turn; texts that follow each other are joined and empty ones left out, as reading a dataset does."""
    joined: list[str | Medium] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part:
            joined.append(part)
    return CanonicalTurn(role=role, parts=tuple(joined))


def row(number: int, *turns: CanonicalTurn, extras: dict[str, Any] | None = None, name: str = "") -> CanonicalRow:
    """Return a row."""
    return CanonicalRow(shard="train.parquet", row=number, id=name, turns=turns, extras=extras or {})


def texts(*, placeholders: bool) -> st.SearchStrategy[str]:
    """Draw texts with odd pieces; no NUL, which Parquet holds and other readers need not."""
    odd = ODD + (PLACEHOLDERS if placeholders else ())
    plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
    drawn = st.lists(st.one_of(st.sampled_from(odd), plain), max_size=5).map("".join)
    # Hypothesis also tries texts that stand in the code
    return drawn if placeholders else drawn.filter(lambda text: not any(one in text for one in PLACEHOLDERS))


@st.composite
def conversations(draw: st.DrawFn, *, placeholders: bool = True) -> tuple[CanonicalTurn, ...]:
    """Draw turns that alternate, behind a system's turn or none, in which texts and media stand in any order."""
    said = texts(placeholders=placeholders)
    media = st.builds(medium, st.sampled_from(["image", "image", "video"]), st.integers(0, 3))
    few = st.lists(st.one_of(said, media), min_size=1, max_size=4)
    turns = [turn("system", draw(said))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns += [turn("user", *draw(few)), turn("assistant", draw(said))]
    if draw(st.integers(0, 9)) == 0:
        turns[-1] = turn("assistant", *draw(few))
    return tuple(turns)


@dataclass(frozen=True, slots=True)
class Plain:
    """What must be the same before and behind: who says what, and which media are shown where."""

    id: str
    turns: tuple[tuple[str, tuple[str, ...]], ...]
    """Role, and parts: texts, and `kind:sha256` of media."""


def plain(row: CanonicalRow) -> Plain:
    """Return what must be the same; a system's turn that says nothing is none."""
    return Plain(
        row.id,
        tuple(
            (one.role, tuple(part if isinstance(part, str) else f"{part.kind}:{part.sha256}" for part in one.parts))
            for one in row.turns
            if one.parts or one.role != "system"
        ),
    )


def but_for_losses(row: CanonicalRow, codes: set[str]) -> Plain:
    """Return what is left of a row after the losses that an export named."""
    turns = [one for one in row.turns if one.role != "system" or "export.system_turn" not in codes]
    if "export.line_after_video" in codes:
        first = next(number for number, one in enumerate(turns) if one.role == "user")
        parts = list(turns[first].parts)
        for place, part in enumerate(turns[first].parts):
            behind = parts[place + 1] if place + 1 < len(parts) else ""
            if not isinstance(part, str) and part.kind == "video" and not str(behind).startswith("\n"):
                parts[place : place + 1] = [part, "\n"]
        turns[first] = turn("user", *parts)
    return plain(replace(row, turns=tuple(turns)))


def codes_of(losses: Losses) -> dict[str, int]:
    """Return how many rows have had each loss so far."""
    counts: dict[str, int] = {}
    for loss in losses.found:
        counts[loss.code] = counts.get(loss.code, 0) + loss.rows
    return counts
