"""The three files: recipe, schema, card. They are made whole as texts, and never put in the place of others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.errors import UsageError, WorkspaceError
from pipeline.load_recipe import load_recipe
from pipeline.new.card_draft import card_text
from pipeline.new.endings import ending_of
from pipeline.printable import escaped

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.new.config_draft import ConfigDraft
    from pipeline.new.places import Place
    from pipeline.new.proposal import Proposal

HOW_TO_SPLIT = "Hold some rows out with `splits: {train: 0.95, test: 0.05}`; one picture never stands on both sides."


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What will be written."""

    recipe: Path
    texts: dict[Path, str]
    """All files, the recipe among them."""


def drafted(proposal: Proposal, into: Path) -> Draft:
    """Return the files of a proposal, below a folder with `recipes/`, `schemas/` and `dataset_cards/`.

    Raises:
        UsageError: one of them is there already, or a path cannot be written down.
    """
    name = proposal.name
    recipe = into / "recipes" / f"{name}.yaml"
    schemas = _schemas(proposal)
    texts = {into / "schemas" / f"{schema}.yaml": dumped(content) for schema, content in schemas.items()}
    texts[into / "dataset_cards" / f"{name}.md"] = card_text(proposal)
    texts[recipe] = _recipe_text(proposal, schemas, recipe.parent)
    there = [path for path in texts if os.path.lexists(path)]
    if there:
        raise UsageError(
            f"{', '.join(map(str, there))}: there already, and nothing is overwritten",
            hint="give the dataset another name with --name, another folder with --into, or move these away",
        )
    return Draft(recipe=recipe, texts=texts)


def write(draft: Draft) -> None:
    """Write all files, and check them as a build does; if they do not hold, none of them stays.

    Raises:
        WorkspaceError: the folder cannot be written to.
    """
    written: list[Path] = []
    try:
        for path, text in draft.texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
        load_recipe(draft.recipe)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise WorkspaceError(f"cannot write {error.filename}: {error.strerror}", hint="choose --into") from error
        raise


def dumped(value: Any) -> str:
    """Return YAML as people write it: what holds nothing but plain values stands on one line."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None))


def _schemas(proposal: Proposal) -> dict[str, dict[str, Any]]:
    """Return the schemas by name; configs of one layout share one."""
    found: dict[str, dict[str, Any]] = {}
    several = len({_layout(config) for config in proposal.configs}) > 1
    names: dict[str, str] = {}
    for config in proposal.configs:
        layout = _layout(config)
        if layout in names:
            continue
        name = names[layout] = f"{proposal.name}_{config.name}" if several else proposal.name
        found[name] = {"name": name, "columns": config.columns}
        if config.conversation is not None:
            found[name]["conversation"] = config.conversation
    return found


def _layout(config: ConfigDraft) -> str:
    return dumped([config.columns, config.conversation])


def _recipe_text(proposal: Proposal, schemas: dict[str, dict[str, Any]], folder: Path) -> str:
    by_layout = {dumped([schema["columns"], schema.get("conversation")]): name for name, schema in schemas.items()}
    sources, names = _sources(proposal, folder)
    recipe: dict[str, Any] = {"name": proposal.name}
    if len(schemas) == 1:
        recipe["schema"] = next(iter(schemas))
    recipe["sources"] = sources
    recipe["configs"] = {
        config.name: _config(config, by_layout[_layout(config)] if len(schemas) > 1 else None, names, folder)
        for config in proposal.configs
    }
    if proposal.max_share is not None:
        recipe["rejects"] = {"max_share": proposal.max_share}
    return "".join(f"# {line}\n" for line in _comments(proposal)) + dumped(recipe)


def _comments(proposal: Proposal) -> list[str]:
    lines = [f"Written by `shardwright new` for {escaped(proposal.material.title)}; all keys: docs/recipe.md."]
    lines.append("Say under `sources` whose files these are: license: and credit:.")
    if any(list(config.splits_spec().values()) == ["rest"] for config in proposal.configs):
        lines.append(HOW_TO_SPLIT)
    for config in proposal.configs:
        lines += [f"{config.name}: {escaped(' '.join(text.split()))}" for text in config.unsure]
    return lines


def _sources(proposal: Proposal, folder: Path) -> tuple[dict[str, Any], dict[int, str]]:
    """Return the recipe's sources, and the names of those that media are in by their place."""
    others: list[Place] = []
    for config in proposal.configs:
        for place in config.sources.values():
            if not any(place.source == other.source for other in others):
                others.append(place)
    home = _source(proposal.material.home, folder)
    if "path" not in home:
        home["files"] = _fetched(proposal)
    sources = {"annotations" if others else "data": home}
    names: dict[int, str] = {}
    for number, place in enumerate(others, 1):
        name = "media" if len(others) == 1 else f"media_{number}"
        sources[name] = _source(place, folder)
        for config in proposal.configs:
            names |= {id(one): name for one in config.sources.values() if one.source == place.source}
    return sources, names


def _fetched(proposal: Proposal) -> list[str]:
    """Return what is fetched of a repository: its annotation files, and the folders of media where rows name any."""
    home = proposal.material.home
    specs = [spec for one in proposal.configs for spec in (one.rows_spec(), *one.splits_spec().values())]
    files = [spec["files"] for spec in specs if "files" in spec]
    names = dict.fromkeys(name for some in files for name in ([some] if isinstance(some, str) else some))
    ways = [found.way for one in proposal.configs for found in one.found.values() if found.way is not None]
    if any(way.place is home for way in ways):
        tops = (name.partition("/") for name in home.media)
        names |= dict.fromkeys(f"{top}/**" if below else f"*.{ending_of(top)}" for top, _, below in tops)
    return list(names)


def _source(place: Place, folder: Path) -> dict[str, Any]:
    source = dict(place.source)
    if "path" in source:
        source["path"] = _relative(source["path"], folder)
    return source


def _relative(path: Path, folder: Path) -> str:
    text = os.path.relpath(path, folder.resolve())
    try:
        text.encode()
    except UnicodeEncodeError:
        what = f"the path {escaped(text)} is no valid Unicode, so no recipe can name it"
        raise UsageError(what, hint="rename the folder") from None
    return text.replace(os.sep, "/")


def _config(config: ConfigDraft, schema: str | None, names: dict[int, str], folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {"schema": schema} if schema is not None else {}
    home = {"source": "annotations"} if names else {}
    rows = config.rows_spec()
    if rows:
        result["rows"] = {**home, **rows}
        result["splits"] = config.splits_spec()
    else:
        result["splits"] = {split: {**home, **spec} for split, spec in config.splits_spec().items()}
    if config.fields:
        result["fields"] = config.fields
    media = {}
    for column, spec in config.media.items():
        full = dict(spec)
        if "within" in full:
            full["within"] = _relative(full["within"], folder)
        if column in config.sources:
            full["source"] = names[id(config.sources[column])]
        media[column] = full
    if media:
        result["media"] = media
    return result
