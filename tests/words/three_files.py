"""A recipe, its schema and its card as texts, and the mistakes that are found in them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pipeline.errors import RecipeError
from pipeline.load_recipe import load_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.recipe import Recipe

RECIPE = """\
name: demo
schema: demo
sources:
  mine: {path: ../source}
configs:
  default:
    splits:
      train: {files: rows.jsonl}
"""
SCHEMA = """\
name: demo
columns:
  image: image
  images: {list: image}
  text: string
  stars: int64
  label: {class_label: [cat, dog]}
"""
CARD = "# Demo\n"


def write(root: Path, recipe: str | bytes = RECIPE, schema: str | bytes = SCHEMA, card: str | bytes = CARD) -> Path:
    """Write the three files, as they are; returns the path of the recipe."""
    (root / "source").mkdir(exist_ok=True)
    for folder, name, text in (
        ("recipes", "demo.yaml", recipe),
        ("schemas", "demo.yaml", schema),
        ("dataset_cards", "demo.md", card),
    ):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root / "recipes" / "demo.yaml"


def mistakes(root: Path, recipe: str | bytes = RECIPE, schema: str | bytes = SCHEMA, card: str | bytes = CARD) -> str:
    """Return the mistakes as people see them, one a line, below the folder; empty when there is none."""
    try:
        load(root, recipe, schema, card)
    except RecipeError as error:
        lines = str(error).replace(f"{root}/", "").splitlines()[1:]
        return textwrap.dedent("\n".join(lines))
    return ""


def load(root: Path, recipe: str | bytes = RECIPE, schema: str | bytes = SCHEMA, card: str | bytes = CARD) -> Recipe:
    """Load the recipe."""
    return load_recipe(write(root, recipe, schema, card))
