"""`shardwright list`: the recipes that can be named, and what each of them needs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipeline.errors import RecipeError
from pipeline.library import FOLDERS, found_recipes, recipe_folders
from pipeline.load_recipe import load_recipe
from pipeline.network.urls import hide_secrets

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.recipe import Recipe
    from pipeline.recipe_spec import SourceSpec


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A recipe that can be named."""

    name: str
    path: str
    configs: dict[str, list[str]]
    """Config -> its splits."""
    needs: list[str]
    """What is not in its folder: repositories, URLs, other recipes, a model to train."""
    licenses: list[str]
    built: bool
    """Whether its dataset is in the output folder."""
    mistakes: int
    """Mistakes that keep it from being built; `shardwright card NAME` lists them."""


def run_list(*, out: Path, as_json: bool) -> str:
    """Return what to print."""
    listed = [_listed(name, path, out) for name, path in sorted(found_recipes().items())]
    if as_json:
        return json.dumps([asdict(one) for one in listed], indent=1)
    folders = ", ".join(map(str, recipe_folders())) or "no folder"
    lines = [line for one in listed for line in _lines(one)]
    return "\n".join([*lines, f"{len(listed):,} recipes, out of {folders}; {FOLDERS} names more folders"])


def _listed(name: str, path: Path, out: Path) -> Listed:
    try:
        recipe = load_recipe(path)
    except RecipeError as error:
        count = len(error.mistakes)
        return Listed(name=name, path=str(path), configs={}, needs=[], licenses=[], built=False, mistakes=count)
    licenses = dict.fromkeys(source.license for source in recipe.sources.values() if source.license)
    return Listed(
        name=name,
        path=str(path),
        configs={key: list(config.splits) for key, config in recipe.configs.items()},
        needs=_needs(recipe),
        licenses=list(licenses),
        built=(out / recipe.name / "README.md").is_file(),
        mistakes=0,
    )


def _needs(recipe: Recipe) -> list[str]:
    needs = [need for source in recipe.sources.values() if (need := _need(source))]
    if any(step.operation == "recaption" for config in recipe.configs.values() for step in config.curate):
        needs.append("a captioning model")
    return list(dict.fromkeys(needs))


def _need(source: SourceSpec) -> str:
    """Return what a source needs; local files that a loaded recipe names are there."""
    if source.kind == "path":
        return ""
    others = [other.kind for other in source.fallbacks]
    instead = f" (or {', '.join(others)})" if others else ""
    return f"{source.kind}: {hide_secrets(getattr(source, source.kind))}{instead}"


def _lines(one: Listed) -> list[str]:
    if one.mistakes:
        return [f"{one.name:<24} {one.mistakes} mistakes in {one.path}; `shardwright card {one.name}` lists them"]
    configs = "; ".join(f"{config}: {', '.join(splits)}" for config, splits in one.configs.items())
    lines = [f"{one.name:<24} {configs}{'  [built]' if one.built else ''}"]
    lines += [f"{'':<24} needs {need}" for need in one.needs]
    return lines
