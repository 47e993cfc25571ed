"""Loading the recipe of a mix: every mistake in it and in what it names at once, before any work starts."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.document import Location, nearest
from pipeline.errors import RecipeError
from pipeline.library import found_recipes, is_name, other_recipe
from pipeline.mix_spec import MixRecipeSpec, PartSpec
from pipeline.mixed_recipe import ViewedRows, mixed_config
from pipeline.model_check import check
from pipeline.recipe import Part, Recipe, all_rows
from pipeline.recipe_files import BesideRecipe, exists
from pipeline.recipe_spec import ConfigSpec, RecipeSpec, SourceSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.recipe import Config
    from pipeline.schema import Schema

    Load = Callable[[Path, tuple[Path, ...]], Recipe]

_SHARD = re.compile(r"(?P<split>\w+(?:\.\w+)*)-\d{5}-of-\d{5}\.parquet\Z", re.ASCII)
"""The name of a shard, as `datasets` writes it."""


def load_mix(beside: BesideRecipe, *, load: Load, within: tuple[Path, ...]) -> Recipe:
    """Return a mix as the recipe that it is; `load` loads other recipes, and `within` are those that name this one.

    Raises:
        RecipeError: every mistake.
    """
    document = beside.document
    spec, mistakes = check(MixRecipeSpec, document)
    if spec is None:
        raise RecipeError(mistakes)
    beside.check_name(spec.name)
    loading = _Parts(beside, load, within)
    parts = [part for number, one in enumerate(spec.mix) if (part := loading.part(number, one)) is not None]
    card, card_path = beside.card(spec.card, spec.name)
    if spec.train is not None:
        # by its name, since training is built on this and not the other way round
        beside.mistakes += import_module("train.read_settings").settings_of_recipe(document, beside.path.parent)[1]
    if beside.mistakes or card is None:
        raise RecipeError(beside.mistakes)
    config = mixed_config(spec, tuple(parts))
    return Recipe(
        path=beside.path,
        name=spec.name,
        spec=RecipeSpec(
            name=spec.name,
            card=spec.card,
            sources=loading.sources,
            configs={config.name: ConfigSpec(splits=config.splits)},
            rejects=spec.rejects,
            shards=spec.shards,
            publish=spec.publish,
            train=spec.train,
        ),
        configs={config.name: config},
        card=card,
        card_path=card_path,
        sources=loading.sources,
        members=loading.members,
    )


def loaded_member(
    beside: BesideRecipe, place: Location, said: str, *, load: Load, within: tuple[Path, ...]
) -> Recipe | None:
    """Return another recipe that a recipe names by name or path, or note what is wrong with it."""
    here = beside.path.parent
    path = other_recipe(said, here)
    if path is None:
        hint = nearest(said, found_recipes(here)) if is_name(said) else f"paths start at the recipe's folder {here}"
        beside.mistake(place, f"there is no recipe {said!r}", hint)
        return None
    named = (*within, beside.path.resolve())
    if path.resolve() in named:
        chain = " -> ".join(one.stem for one in (*named[named.index(path.resolve()) :], path))
        beside.mistake(place, f"a dataset cannot be made of itself: {chain}")
        return None
    try:
        return load(path, named)
    except RecipeError as error:
        beside.mistake(place, f"the recipe {path} has mistakes", f"`shardwright card {path}` lists them")
        beside.mistakes += error.mistakes
        return None


class _Parts:
    """Finds the parts of a mix."""

    def __init__(self, beside: BesideRecipe, load: Load, within: tuple[Path, ...]) -> None:
        self.beside, self.load, self.within = beside, load, within
        self.sources: dict[str, SourceSpec] = {}
        self.members: dict[str, Recipe] = {}

    def part(self, number: int, spec: PartSpec) -> Part | None:
        """Return a part, or note what is wrong with it."""
        here = self.beside.path.parent
        folder = here / spec.dataset
        of_folder = not is_name(spec.dataset) and exists(folder, Path.is_dir)
        return self._folder(number, spec, folder) if of_folder else self._recipe(number, spec)

    def _recipe(self, number: int, spec: PartSpec) -> Part | None:
        place: Location = ("mix", number, "dataset")
        recipe = loaded_member(self.beside, place, spec.dataset, load=self.load, within=self.within)
        if recipe is None:
            return None
        name = self._config(number, spec, list(recipe.configs))
        if name is None:
            return None
        config: Config = recipe.configs[name]
        schema = self._schema(number, spec, config.schema)
        splits = self._splits(number, spec, list(config.splits))
        if schema is None or splits is None:
            return None
        source = self._source(number, f"{recipe.name}.{name}")
        read = {rows.source for _, rows in all_rows(config)} | {media.source for media in config.media.values()}
        used = [one for key, one in recipe.sources.items() if key in read]
        licenses = dict.fromkeys(one.license for one in used if one.license)
        thanks = dict.fromkeys(one.credit for one in used if one.credit)
        self.sources[source] = SourceSpec(
            dataset=spec.dataset, license="; ".join(licenses) or None, credit="; ".join(thanks) or None
        )
        self.members[source] = recipe
        return _part(spec, source, schema, splits, name)

    def _folder(self, number: int, spec: PartSpec, folder: Path) -> Part | None:
        found: dict[str, list[str]] = {}
        for path in sorted(folder.glob("*/*.parquet")):
            match = _SHARD.match(path.name)
            if match is not None and match["split"] not in found.setdefault(path.parent.name, []):
                found[path.parent.name].append(match["split"])
        place: Location = ("mix", number, "dataset")
        if not found:
            self.beside.mistake(place, f"{spec.dataset!r} holds no <config>/<split>-00000-of-00001.parquet")
            return None
        name = self._config(number, spec, list(found))
        schema = self._schema(number, spec, None)
        splits = self._splits(number, spec, found[name]) if name is not None else None
        if name is None or schema is None or splits is None:
            return None
        source = self._source(number, f"{folder.resolve().name}.{name}")
        self.sources[source] = SourceSpec(path=spec.dataset)
        return _part(spec, source, schema, splits, name)

    def _config(self, number: int, spec: PartSpec, known: list[str]) -> str | None:
        name = spec.config if spec.config is not None or len(known) > 1 else known[0]
        if name is None:
            self.beside.mistake(("mix", number), f"{spec.dataset!r} has {len(known)} configs", nearest("", known))
        elif name not in known:
            what = f"{spec.dataset!r} has no config {name!r}"
            self.beside.mistake(("mix", number, "config"), what, nearest(name, known))
            return None
        return name

    def _schema(self, number: int, spec: PartSpec, own: Schema | None) -> Schema | None:
        place: Location = ("mix", number)
        schema = own
        if spec.schema_name is not None:
            place = (*place, "schema")
            schema = self.beside.schema(place, spec.schema_name)
            if schema is None:
                return None
        if schema is None:
            hint = "name a schema file with `schema`, whose `conversation` says how rows become turns"
            self.beside.mistake(place, f"{spec.dataset!r} is a folder, and nothing says what its rows are", hint)
        elif schema.conversation is None:
            hint = "write one into it, or name another with `schema`"
            self.beside.mistake(place, f"the schema {schema.name!r} does not say what a conversation is", hint)
            return None
        return schema

    def _splits(self, number: int, spec: PartSpec, known: list[str]) -> dict[str, str] | None:
        for name in spec.splits or ():
            if name not in known:
                what = f"{spec.dataset!r} has no split {name!r}"
                self.beside.mistake(("mix", number, "splits", name), what, nearest(name, known))
                return None
        return spec.splits or {name: name for name in known}

    def _source(self, number: int, name: str) -> str:
        """Return what a part is called: as it is, unless an earlier one has this name."""
        return name if name not in self.sources else f"{name}.{number + 1}"


def _part(spec: PartSpec, source: str, schema: Schema, splits: dict[str, str], config: str) -> Part:
    rows: dict[str, Any] = {}
    for theirs, ours in splits.items():
        files = [f"{config}/{theirs}-*.parquet"]
        if ours in rows:
            files = [*rows[ours].files, *files]
        rows[ours] = ViewedRows(source=source, files=files, format="parquet", view=schema.source)
    return Part(source=source, schema=schema, rows=rows, weight=spec.weight, cap=spec.cap)
