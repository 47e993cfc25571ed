"""Recipes by name: those of this project, those beside the one at hand, and those of folders that somebody names."""

from __future__ import annotations

import os
from pathlib import Path

FOLDERS = "SHARDWRIGHT_RECIPES"
"""The variable of the environment that lists folders of recipes, separated as in PATH."""
BUILT_IN = Path(__file__).resolve().parents[1] / "recipes"
"""The recipes that come with this project, where it is not installed without them."""


def recipe_folders(beside: Path | None = None) -> list[Path]:
    """Return the folders in which a name is looked for, in their order, each once.

    They are the folder `beside` (of the recipe that names another one), those of SHARDWRIGHT_RECIPES, `recipes/` in the
    folder of work, and the built-in ones.
    """
    said = [Path(folder) for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder]
    folders = [*([beside] if beside is not None else []), *said, Path("recipes"), BUILT_IN]
    return list({folder.resolve(): folder for folder in reversed(folders) if folder.is_dir()}.values())[::-1]


def found_recipes(beside: Path | None = None) -> dict[str, Path]:
    """Return every recipe by its name, which is that of its file; where two have one name, the first folder's."""
    found: dict[str, Path] = {}
    for folder in recipe_folders(beside):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def is_name(said: str) -> bool:
    """Tell whether this can only be meant as a name, since no path is written like it."""
    return bool(said) and not said.endswith((".yaml", ".yml")) and "/" not in said and os.sep not in said


def recipe_path(said: Path) -> Path:
    """Return the recipe that somebody names; what is no name, is there as a path, or is not known, stays as it is."""
    if not is_name(str(said)) or said.exists():
        return said
    return found_recipes().get(str(said), said)


def other_recipe(said: str, here: Path) -> Path | None:
    """Return the recipe that another one, in the folder `here`, means by a name or a path; None: there is none."""
    if is_name(said):
        return found_recipes(beside=here).get(said)
    path = here / said
    return path if path.is_file() else None
