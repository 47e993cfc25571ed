"""Recipes as the stages see them: checked whole, and resolved config by config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipeline.card_text import CardText
    from pipeline.recipe_spec import (
        CurateSpec,
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

    @property
    def embedded(self) -> bool:
        """Tell whether media are stored inside the shards."""
        return self.spec.shards.media == "embed"

    def places(self, source: str) -> list[PlaceSpec]:
        """Return the places that a source can be had from, in order."""
        spec = self.sources[source]
        return [spec, *spec.fallbacks]


def all_rows(config: Config) -> Iterable[tuple[str | None, RowsSpec]]:
    """Yield what a config reads: (None, rows) when splits divide them, else (split, its rows) in order."""
    if config.rows is not None:
        yield None, config.rows
    for name, split in config.splits.items():
        if split.files:
            yield name, split
