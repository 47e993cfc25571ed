"""What lies beside a recipe: its schemas and its card, found by name or path, and every mistake about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.card_text import CardText, load_human_card
from pipeline.document import nearest
from pipeline.errors import RecipeError
from pipeline.schema import Schema, load_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.document import Document, Location
    from pipeline.errors import Mistake

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?\Z")
"""What both hubs take as a repository name: 96 characters at the most, no `--` and no `..`."""


def exists(path: Path, how: Callable[[Path], bool] = Path.exists) -> bool:
    """Tell whether there is a file or folder; a path that no disk could hold is none."""
    try:
        return how(path)
    except (OSError, ValueError):
        return False


def candidates(here: Path, name: str, folder: str, ending: str) -> list[Path]:
    """Return where a schema or card may lie: by name beside the recipe's folder, or by a path from the recipe."""
    if name.endswith(ending):
        return [here / name]
    return [here / folder / f"{name}{ending}", here.parent / folder / f"{name}{ending}"]


class BesideRecipe:
    """Finds what a recipe names, and collects the mistakes of the recipe and of what it names."""

    def __init__(self, path: Path, document: Document) -> None:
        self.path = path
        self.document = document
        self.mistakes: list[Mistake] = []
        self._schemas: dict[str, Schema | None] = {}

    def check_name(self, name: str) -> None:
        """Note a name that no hub would take."""
        if not _NAME.match(name) or "--" in name or ".." in name:
            self.mistake(("name",), f"{name!r} is no name for a dataset", "letters, digits, `-`, `_` and `.`")

    def mistake(self, place: Location, message: str, hint: str = "") -> None:
        """Note a mistake."""
        self.mistakes.append(self.document.mistake(place, message, hint))

    def data_file(self, place: Location, name: str, folder: str, ending: str) -> Path | None:
        """Find a schema or card, or note that there is none."""
        places = candidates(self.path.parent, name, folder, ending)
        for candidate in places:
            if exists(candidate, Path.is_file):
                return candidate
        folders = {candidate.parent for candidate in places if exists(candidate.parent, Path.is_dir)}
        others = {file.stem for folder in folders for file in folder.glob(f"*{ending}")}
        looked = " and ".join(str(candidate) for candidate in places)
        self.mistake(place, f"there is no {looked}", nearest(name.removesuffix(ending), others))
        return None

    def schema(self, place: Location, name: str) -> Schema | None:
        """Return a schema, or note what is wrong with it."""
        if name not in self._schemas:
            self._schemas[name] = None
            file = self.data_file(place, name, "schemas", ".yaml")
            if file:
                try:
                    self._schemas[name] = load_schema(file)
                except RecipeError as error:
                    self.mistakes += error.mistakes
        return self._schemas[name]

    def card(self, said: str | None, name: str) -> tuple[CardText | None, Path]:
        """Return the human part of the card and its file, or note what is wrong with it."""
        file = self.data_file(("card",) if said else ("name",), said or name, "dataset_cards", ".md")
        if file:
            try:
                return load_human_card(file), file
            except RecipeError as error:
                self.mistakes += error.mistakes
        return None, self.path
