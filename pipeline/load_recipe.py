"""Loading a recipe: read and checked whole, together with its schemas and its card, before any work starts."""

from __future__ import annotations

import math
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.card_text import load_human_card
from pipeline.check_curate import wrong_steps
from pipeline.conform import ColumnConformer
from pipeline.conversation import Ready
from pipeline.dialects.registry import DIALECTS
from pipeline.document import Document, Location, dotted, nearest, read_document, shown
from pipeline.errors import Mistake, RecipeError, RowRejected
from pipeline.load_mix import load_mix, loaded_member
from pipeline.model_check import check, salvage
from pipeline.recipe import Config, Recipe
from pipeline.recipe_files import BesideRecipe, candidates, exists
from pipeline.recipe_spec import (
    LISTED_FORMATS,
    ConfigSpec,
    FieldSpec,
    MediaSpec,
    RecipeSpec,
    RowsSpec,
)
from pipeline.schema import Column, Schema, load_schema
from pipeline.template import Expression, Template, is_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.curate_spec import CurateSpec

_SPLIT_NAME = re.compile(r"(?=.{1,96}\Z)\w+(\.\w+)*\Z", re.ASCII)
"""`datasets.naming._split_re` (datasets 5.2), in ASCII so that a file name holds it everywhere."""
_CONFIG_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?\Z")
"""Stricter than `datasets` (which forbids `<>:/\\|?*`): a config is a folder name and a word of YAML."""
RESERVED_SPLITS = ("all",)
"""`load_dataset(split="all")` means every split."""
RESERVED_CONFIGS = ("media", "readme.md")
"""A config is a folder beside the card and the media."""
EMPTY_VALUES = frozenset({"null", "none", "true", "false"})
"""Names that YAML or a person may read as something else than text."""


R = TypeVar("R", bound=RowsSpec)
S = TypeVar("S", FieldSpec, MediaSpec)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe with its schemas and card, and check all of it before any work starts.

    Raises:
        RecipeError: every mistake in the three files at once, with line and nearest valid key.
    """
    return _load(path, ())


def _load(path: Path, within: tuple[Path, ...]) -> Recipe:
    """Load a recipe that others name, which are `within`."""
    document = read_document(path)
    if isinstance(document.value, dict) and "mix" in document.value:
        return load_mix(BesideRecipe(path, document), load=_load, within=within)
    spec, mistakes = check(RecipeSpec, document)
    if spec is not None:
        checker = _Checker(path, document, spec, within)
        recipe = checker.run()
        if recipe is None:
            raise RecipeError(checker.mistakes)
        return recipe
    rest, lost = salvage(RecipeSpec, document)
    if rest is None or ("schema",) in lost:
        raise RecipeError(mistakes + _mistakes_beside(path, document))
    checker = _Checker(path, document, rest, within)
    checker.run()
    # What lies on the way to a key that was left out may be wrong only without it.
    doubtful = {dotted(place[:end]) for place in lost for end in range(1, len(place) + 1)}
    lines = {mistake.line for mistake in mistakes}
    for mistake in checker.mistakes:
        if mistake.file != document.file or (mistake.key not in doubtful and mistake.line not in lines):
            mistakes.append(mistake)
    raise RecipeError(mistakes)


def _mistakes_beside(path: Path, document: Document) -> list[Mistake]:
    """Return the mistakes of the schemas and the card that a broken recipe still names."""
    value = document.value
    configs = value.get("configs")
    holders = [value, *(configs.values() if isinstance(configs, dict) else [])]
    schemas = {str(holder["schema"]) for holder in holders if isinstance(holder, dict) and "schema" in holder}
    mistakes: list[Mistake] = []
    here = path.parent
    wanted: list[tuple[str, Any, str, Callable[[Path], Any]]]
    wanted = [("schemas", name, ".yaml", load_schema) for name in schemas]
    wanted.append(("dataset_cards", value.get("card") or value.get("name"), ".md", load_human_card))
    for folder, name, ending, load in wanted:
        if not isinstance(name, str):
            continue
        for file in candidates(here, name, folder, ending):
            if exists(file, Path.is_file):
                try:
                    load(file)
                except RecipeError as error:
                    mistakes += error.mistakes
                break
    return mistakes


class _Checker(BesideRecipe):
    """Collects the mistakes of one recipe."""

    def __init__(self, path: Path, document: Document, spec: RecipeSpec, within: tuple[Path, ...]) -> None:
        super().__init__(path, document)
        self.spec = spec
        self.within = within
        written = document.value.get("sources")
        self.sources = list(written) if isinstance(written, dict) else list(spec.sources)
        """The names of all sources, those with a mistake of their own too."""

    def run(self) -> Recipe | None:
        """Check everything; returns the recipe, or None when there are mistakes."""
        spec = self.spec
        self.check_name(spec.name)
        for name, source in spec.sources.items():
            if not _CONFIG_NAME.match(name):
                self.mistake(("sources", name), "a source's name is made of letters, digits, `-`, `_` and `.`")
            self._encoding(("sources", name, "name_encoding"), source.name_encoding)
            if source.path is not None and not source.fallbacks and not exists(self.path.parent / source.path):
                self.mistake(
                    ("sources", name, "path"),
                    f"there is no file or folder {source.path!r}",
                    f"paths start at the recipe's folder {self.path.parent}",
                )
        members = {name: self._member(name, source.dataset) for name, source in spec.sources.items() if source.dataset}
        configs = {name: self._config(name, config) for name, config in spec.configs.items()}
        self._same_folded(("configs",), "configs", spec.configs)
        card, card_path = self.card(spec.card, spec.name)
        if spec.train is not None:
            # by its name, since training is built on this and not the other way round
            self.mistakes += import_module("train.read_settings").settings_of_recipe(self.document, self.path.parent)[1]
        if self.mistakes or card is None:
            return None
        return Recipe(
            path=self.path,
            name=spec.name,
            spec=spec,
            configs={name: config for name, config in configs.items() if config},
            card=card,
            card_path=card_path,
            sources=dict(spec.sources),
            members={name: member for name, member in members.items() if member is not None},
        )

    def _member(self, name: str, said: str) -> Recipe | None:
        """Return the recipe of a dataset that is a source, once it is checked."""
        return loaded_member(self, ("sources", name, "dataset"), said, load=_load, within=self.within)

    def _same_folded(self, place: Location, what: str, names: Iterable[str]) -> None:
        folded: dict[str, str] = {}
        for name in names:
            other = folded.setdefault(name.lower(), name)
            if other != name:
                message = f"the {what} {other!r} and {name!r} differ only in case; on some disks they are one"
                self.mistake((*place, name), message, "rename one")

    def _config(self, name: str, config: ConfigSpec) -> Config | None:
        place: Location = ("configs", name)
        if not _CONFIG_NAME.match(name) or name.lower() in EMPTY_VALUES:
            self.mistake(
                place, f"{shown(name)} is no name for a config", "letters, digits, `-`, `_` and `.`, not a YAML word"
            )
        elif name.lower() in RESERVED_CONFIGS:
            self.mistake(place, f"{name!r} is no name for a config", "the dataset has a file or folder of this name")
        schema_name = config.schema_name or self.spec.schema_name
        if schema_name is None:
            self.mistake(place, "no schema", "give `schema: NAME` here or for the whole recipe")
            return None
        schema = self.schema((*place, "schema") if config.schema_name else ("schema",), schema_name)
        self._rows(place, config)
        self._splits(place, config)
        curate = tuple(config.curate if config.curate is not None else self.spec.curate)
        curate_place = (*place, "curate") if config.curate is not None else ("curate",)
        self._words(place, config, curate_place, curate)
        if schema is None:
            return None
        fields = {**self._common(self.spec.fields, schema), **(config.fields or {})}
        media = {**self._common(self.spec.media, schema), **(config.media or {})}
        self._fields(place, config, schema)
        self._media(place, config, schema)
        self._curate(curate_place, curate, schema, media)
        for key in ("group", "stratify"):
            column = getattr(config.split_by, key)
            if column in (None, "media", "none"):
                continue
            if column not in {c.name for c in schema.value_columns}:
                known = [c.name for c in schema.value_columns] + (["media", "none"] if key == "group" else [])
                self.mistake((*place, "split_by", key), f"unknown column {column!r}", nearest(column, known))
        return Config(
            name=name,
            schema=schema,
            rows=config.rows and self._with_source(config.rows),
            splits={key: self._with_source(split) if split.files else split for key, split in config.splits.items()},
            group=config.split_by.group,
            stratify=config.split_by.stratify,
            seed=config.split_by.seed,
            leaks=config.split_by.leaks,
            fields=fields,
            media=media,
            curate=curate,
        )

    def _with_source(self, rows: R) -> R:
        return rows if rows.source else rows.model_copy(update={"source": next(iter(self.spec.sources))})

    def _common(self, specs: dict[str, S], schema: Schema) -> dict[str, S]:
        """Return what the recipe says for all configs, as far as this schema has the columns."""
        return {name: spec for name, spec in specs.items() if name in schema.columns}

    def _rows(self, place: Location, config: ConfigSpec) -> None:
        by_file = [name for name, split in config.splits.items() if split.files]
        if config.rows is None and len(by_file) < len(config.splits):
            others = ", ".join(name for name in config.splits if name not in by_file)
            self.mistake(place, f"the splits {others} divide rows, but there is no `rows`", "give `rows: {files: …}`")
        if config.rows is not None and by_file:
            self.mistake(
                (*place, "rows"), f"`rows` are given, and the splits {', '.join(by_file)} have files of their own"
            )
        if config.rows is not None:
            self._row_source((*place, "rows"), config.rows)
        for name in by_file:
            self._row_source((*place, "splits", name), config.splits[name])

    def _row_source(self, place: Location, rows: RowsSpec) -> None:
        if rows.source is None and len(self.sources) > 1:
            self.mistake(place, "`source` is missing", f"one of: {', '.join(self.sources)}")
        elif rows.source is not None and rows.source not in self.sources:
            self.mistake((*place, "source"), f"unknown source {rows.source!r}", nearest(rows.source, self.sources))
        self._encoding((*place, "encoding"), rows.encoding)
        if rows.reader is not None:
            file = rows.reader.partition(":")[0]
            if not exists(self.path.parent / file, Path.is_file):
                self.mistake((*place, "reader"), f"there is no file {file!r}", "paths start at the recipe's folder")
        if rows.dialect is not None and rows.dialect not in DIALECTS:
            message = f"there is no dialect {shown(rows.dialect)}"
            self.mistake((*place, "dialect"), message, nearest(rows.dialect, DIALECTS))
        if isinstance(rows.header, list) and len(set(rows.header)) != len(rows.header):
            self.mistake((*place, "header"), "a column name stands twice")

    def _encoding(self, place: Location, name: str | None) -> None:
        try:
            "".encode("utf-8" if name is None else name)
        except (LookupError, ValueError):
            self.mistake(place, f"unknown encoding {shown(name)}", "e.g. utf-8, gb18030, shift_jis")

    def _splits(self, place: Location, config: ConfigSpec) -> None:
        splits = config.splits
        for name in splits:
            here = (*place, "splits", name)
            if not _SPLIT_NAME.match(name) or name.lower() in EMPTY_VALUES:
                self.mistake(here, f"{name!r} is no name for a split", "letters, digits, `_`, and `.` between words")
            elif name in RESERVED_SPLITS:
                self.mistake(here, f"the split name {name!r} is a keyword of `datasets`")
        self._same_folded((*place, "splits"), "splits", splits)
        divided = {name: split for name, split in splits.items() if not split.files and split.where is None}
        if not divided:
            return  # rows that no `where` takes become rejects
        here = (*place, "splits")
        shares = [split.share for split in divided.values() if split.share is not None]
        rest = [name for name, split in divided.items() if split.rest]
        total = math.fsum(shares)
        if len(rest) > 1:
            self.mistake(here, f"only one split takes the rest, not {', '.join(rest)}")
        if total > 1 + 1e-9:
            self.mistake(here, f"the shares add up to {total:g}", "at most 1")
        elif not rest and len(shares) == len(divided) and abs(total - 1) > 1e-9:
            self.mistake(
                here, f"the shares add up to {total:g}, so rows would be left over", "1, or a split that is `rest`"
            )
        if not rest and not shares:
            self.mistake(here, "counts alone would leave rows over", "add a split that is `rest`")
        if not rest and shares and len(shares) < len(divided):
            self.mistake(here, "shares and counts together would leave rows over", "add a split that is `rest`")
        for key in ("first", "last"):
            twice = [name for name, split in divided.items() if getattr(split, key) is not None]
            if len(twice) > 1:
                self.mistake(here, f"only one split takes the {key} rows, not {', '.join(twice)}")

    def _words(self, place: Location, config: ConfigSpec, steps_place: Location, steps: tuple[CurateSpec, ...]) -> None:
        """Check what can be checked without a schema: templates, expressions, sources and folders."""
        for where, fields in (((*place, "fields"), config.fields or {}), (("fields",), self.spec.fields)):
            for name, field in fields.items():
                if field.template is not None:
                    here = (*where, name)
                    here = (*here, "template") if (*here, "template") in self.document.lines else here
                    self._compiles(here, Template, field.template)
        for where, specs in (((*place, "media"), config.media or {}), (("media",), self.spec.media)):
            for name, media in specs.items():
                here = (*where, name)
                if media.path is not None:
                    self._compiles((*here, "path"), Template, media.path)
                for key in ("start", "end", "start_frame", "end_frame") if media.clip is not None else ():
                    moment = getattr(media.clip, key)
                    if isinstance(moment, str) and is_template(moment):
                        self._compiles((*here, "clip", key), Template, moment)
                if media.source is not None and media.source not in self.sources:
                    hint = nearest(media.source, self.sources)
                    self.mistake((*here, "source"), f"unknown source {media.source!r}", hint)
                if media.within is not None and not exists(self.path.parent / media.within, Path.is_dir):
                    self.mistake(
                        (*here, "within"), f"there is no folder {media.within!r}", "it starts at the recipe's folder"
                    )
        for name, split in config.splits.items():
            if split.where is not None:
                self._compiles((*place, "splits", name, "where"), Expression, split.where)
        for number, step in enumerate(steps):
            if step.drop_if is not None:
                self._compiles((*steps_place, number, "drop_if"), Expression, step.drop_if)

    def _fields(self, place: Location, config: ConfigSpec, schema: Schema) -> None:
        columns = schema.columns
        for where, specs in (((*place, "fields"), config.fields or {}), (("fields",), self.spec.fields)):
            for name, field in specs.items():
                here = (*where, name)
                if name not in columns:
                    if where == ("fields",) and self._in_another_schema(name):
                        continue
                    self.mistake(here, f"the schema {schema.name!r} has no column {name!r}", nearest(name, columns))
                elif columns[name].media:
                    self.mistake(here, f"{name!r} holds media", "say where they come from under `media`")
                elif field.default is not None:
                    bad: dict[int, RowRejected] = {}
                    ColumnConformer(columns[name], None, untyped=False).conform([field.default], bad)
                    if bad:
                        place = (*here, "default")
                        self.mistake(place, f"the default does not fit the schema: {bad[0].message}")

    def _in_another_schema(self, column: str) -> bool:
        """Tell whether a column named for all configs belongs to the schema of one of them, or may do so."""
        names = {config.schema_name or self.spec.schema_name for config in self.spec.configs.values()}
        schemas = (self.schema(("schema",), name) for name in names if name)
        return any(schema is None or column in schema.columns for schema in schemas)

    def _media(self, place: Location, config: ConfigSpec, schema: Schema) -> None:
        known = [column.name for column in schema.media_columns]
        for where, specs in (((*place, "media"), config.media or {}), (("media",), self.spec.media)):
            for name, media in specs.items():
                here = (*where, name)
                if name not in known:
                    if where == ("media",) and self._in_another_schema(name):
                        continue
                    message = f"the schema {schema.name!r} has no media column {name!r}"
                    self.mistake(here, message, nearest(name, known))
                    continue
                column = schema.columns[name]
                if media.relative_to == "file" and media.source is not None and media.within is None:
                    self.mistake(
                        (*here, "relative_to"),
                        "`file` starts at the annotation file, which is in another source than the media",
                        "`root`, or name a wider folder with `within`",
                    )
                if media.relative_to == "file" and any(rows.format in LISTED_FORMATS for rows in _all_rows(config)):
                    self.mistake(
                        (*here, "relative_to"),
                        "`file` starts at an annotation file, and rows that are listed have none",
                        "`root`: the paths of listed rows start there",
                    )
                self._excerpt(here, media, schema, column)
                if media.missing == "keep" and name in _counted_media(schema):
                    self.mistake(
                        (*here, "missing"), f"`keep` would leave a placeholder without its medium in {name!r}", "reject"
                    )
                if media.missing == "keep" and not column.is_list and not column.rules.nullable:
                    self.mistake(
                        (*here, "missing"),
                        f"`keep` leaves {name!r} null, but the schema forbids it",
                        "make the column nullable, or reject",
                    )

    def _excerpt(self, place: Location, media: MediaSpec, schema: Schema, column: Column) -> None:
        """Check what is cut out of videos."""
        if media.frames is None:
            if media.clip is not None and column.media != "video":
                hint = "give `frames` as well, or make the column a video"
                self.mistake((*place, "clip"), f"a clip is a video, and {column.name!r} holds images", hint)
            return
        if column.media != "image":
            self.mistake((*place, "frames"), f"frames are images, and {column.name!r} holds videos", "an image column")
        elif not column.is_list and media.frames.count != 1:
            hint = "`type: {list: image}`, or `count: 1`"
            self.mistake((*place, "frames"), f"{column.name!r} holds one image a row", hint)
        elif column.name in _counted_media(schema):
            message = (
                f"placeholders in a text stand for {column.name!r}, and how many frames a video gives is not known"
            )
            self.mistake((*place, "frames"), message, "turns with `image: COLUMN` take them all")

    def _curate(
        self, place: Location, steps: tuple[CurateSpec, ...], schema: Schema, media: dict[str, MediaSpec]
    ) -> None:
        for wrong in wrong_steps(steps, schema, media):
            self.mistake((*place, *wrong.place), wrong.message, wrong.hint)
        for number, step in enumerate(steps):
            if step.data_juicer is not None and not (self.path.parent / step.data_juicer.recipe).is_file():
                self.mistake((*place, number, "data_juicer"), f"there is no file {shown(step.data_juicer.recipe)}")

    def _compiles(self, place: Location, compiler: Callable[[str], object], source: str) -> None:
        try:
            compiler(source)
        except ValueError as error:
            self.mistake(place, str(error))


def _all_rows(config: ConfigSpec) -> list[RowsSpec]:
    """Return everything that a config reads rows from."""
    return [*([config.rows] if config.rows is not None else []), *(one for one in config.splits.values() if one.files)]


def _counted_media(schema: Schema) -> set[str]:
    """Return the media columns whose items stand for placeholders in a text."""
    counted = {rule.media for rule in schema.placeholders}
    return counted | (set(schema.conversation.tokens.values()) if isinstance(schema.conversation, Ready) else set())
