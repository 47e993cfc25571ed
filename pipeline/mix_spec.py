"""What a recipe of a mix may say: datasets of other recipes, mixed into one, each row with its origin."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from pipeline.model_check import Strict
from pipeline.recipe_spec import PublishSpec, RejectsSpec, ShardsSpec
from pipeline.spec_values import Count, Seed  # noqa: TC001  (pydantic looks them up when it runs)


class PartSpec(Strict):
    """One config of a dataset that goes into a mix."""

    dataset: str = Field(min_length=1)
    """A recipe, by its name or its path: its dataset is built first. Or the folder of a finished dataset."""
    config: str | None = None
    """The config; left out: the only one."""
    splits: dict[str, str] | None = Field(default=None, min_length=1)
    """Its split -> the split of the mix that it goes into; left out: all, each under its own name."""
    schema_name: str | None = Field(default=None, alias="schema")
    """The schema that says how rows become conversations; a recipe has it, a folder needs it."""
    weight: float | None = Field(default=None, gt=0, le=1_000_000)
    """Its share of a split among the parts that have a weight; left out: all of its rows."""
    cap: Count | None = None
    """Rows of it in a split at the most."""

    @field_validator("weight", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return float(value) if type(value) is int else value


class MixRecipeSpec(Strict):
    """A whole recipe of a mix."""

    name: str
    """Folder and repository name."""
    card: str | None = None
    """The human part of the card, as in every recipe."""
    mix: list[PartSpec] = Field(min_length=1)
    """The parts."""
    seed: Seed = 0
    """The seed of every draw."""
    rejects: RejectsSpec = Field(default_factory=RejectsSpec)
    """How much may be lost."""
    shards: ShardsSpec = Field(default_factory=ShardsSpec)
    """How shards are cut."""
    publish: PublishSpec = Field(default_factory=PublishSpec)
    """Where the dataset is published."""
    train: dict[str, Any] | str | None = None
    """What `shardwright train` does with it."""
