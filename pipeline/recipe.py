"""Recipes as the stages see them: checked whole, and resolved config by config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipeline.card_text import CardText
    from pipeline.curate_spec import CurateSpec
    from pipeline.recipe_spec import (
        FieldSpec,
        MediaSpec,
        PlaceSpec,
        RecipeSpec,
        RowsSpec,
        SourceSpec,
        SplitSpec,
    )
    from pipeline.schema import Schema


@dataclass(frozen=True, kw_only=True)
class Part:
    """One config of another dataset that goes into a mix."""

    source: str
    """The source that it is here."""
    schema: Schema
    """Says how its rows become conversations."""
    rows: dict[str, RowsSpec]
    """Split of the mix -> what is read for it."""
    weight: float | None
    cap: int | None


@dataclass(frozen=True, kw_only=True)
class Config:
    """One config, with everything the recipe says for it."""

    name: str
    schema: Schema
    rows: RowsSpec | None
    splits: dict[str, SplitSpec]
    group: str
    stratify: str | None
    seed: int
    leaks: str
    fields: dict[str, FieldSpec]
    media: dict[str, MediaSpec]
    curate: tuple[CurateSpec, ...]
    parts: tuple[Part, ...] = ()
    """A mix: what it is mixed of, which is then all that is read."""
    mix_seed: int = 0
    """The seed by which rows of the parts are drawn."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe that has been checked whole."""

    path: Path
    name: str
    spec: RecipeSpec
    configs: dict[str, Config]
    card: CardText
    card_path: Path
    sources: dict[str, SourceSpec]
    members: dict[str, Recipe] = field(default_factory=dict)
    """Source -> the recipe whose dataset it is."""

    @property
    def embedded(self) -> bool:
        """Tell whether media are stored inside the shards."""
        return self.spec.shards.media == "embed"

    def places(self, source: str) -> list[PlaceSpec]:
        """Return the places that a source can be had from, in order."""
        spec = self.sources[source]
        return [spec, *spec.fallbacks]


def all_rows(config: Config) -> Iterable[tuple[str | None, RowsSpec]]:
    """Yield what a config reads: (None, rows) when splits divide them, else (split, its rows) in order.

    A split of a mix is there once for each part.
    """
    if config.parts:
        for part in config.parts:
            yield from part.rows.items()
        return
    if config.rows is not None:
        yield None, config.rows
    for name, split in config.splits.items():
        if split.files:
            yield name, split


def part_of(config: Config, source: str) -> Part | None:
    """Return the part of a mix that a source is."""
    return next((part for part in config.parts if part.source == source), None)
