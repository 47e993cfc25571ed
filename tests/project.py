"""A small project in a temporary folder: recipe, schema, card and sources, built with the real pipeline."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from pipeline.report import Quiet
from pipeline.run import BuildReport, Folders, build_dataset

MEDIA = Path(__file__).parent / "data" / "media"


def png(number: int, size: tuple[int, int] = (8, 6)) -> bytes:
    """Return a PNG whose picture depends on the number."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (number % 256, number // 256 % 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Project:
    """A project folder; `build` runs the pipeline on it."""

    root: Path

    def __post_init__(self) -> None:
        for folder in ("recipes", "schemas", "dataset_cards", "source"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    @property
    def source(self) -> Path:
        """Where annotations and media lie."""
        return self.root / "source"

    @property
    def out(self) -> Path:
        """The built dataset."""
        return self.root / "out" / "demo"

    @property
    def work(self) -> Path:
        """The workspace of the dataset."""
        return self.root / "work" / "demo"

    @property
    def recipe_path(self) -> Path:
        """The recipe."""
        return self.root / "recipes" / "demo.yaml"

    def write(self, recipe: dict[str, Any], columns: dict[str, Any], *, card: str = "# Demo\n", **schema: Any) -> None:
        """Write the three files; name, schema, source and a loose reject limit are filled in."""
        full = {
            "name": "demo",
            "schema": "demo",
            "sources": {"mine": {"path": "../source", "license": "cc0-1.0"}},
            "rejects": {"max_share": 1.0},
            **recipe,
        }
        self.recipe_path.write_text(yaml.safe_dump(full, sort_keys=False, allow_unicode=True), encoding="utf-8")
        spec = {"name": "demo", "columns": columns, **schema}
        text = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True)
        (self.root / "schemas" / "demo.yaml").write_text(text, encoding="utf-8")
        (self.root / "dataset_cards" / "demo.md").write_text(card, encoding="utf-8")

    def rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Write an annotation file as JSON Lines."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    def pictures(self, count: int, folder: str = "images") -> list[str]:
        """Write different PNG files; returns their paths in the source."""
        (self.source / folder).mkdir(parents=True, exist_ok=True)
        names = [f"{folder}/{number:04d}.png" for number in range(count)]
        for number, name in enumerate(names):
            (self.source / name).write_bytes(png(number))
        return names

    def build(self, *, workers: int = 1, upto: str = "card", **options: Any) -> BuildReport:
        """Build; up to the card unless said otherwise, because loading in a fresh process takes seconds."""
        folders = Folders(work=self.root / "work", out=self.root / "out", cache=self.root / "cache")
        return build_dataset(self.recipe_path, folders, workers=workers, display=Quiet(), upto=upto, **options)

    def split(self, name: str, config: str = "default") -> pa.Table:
        """Return the rows of a split, over all its shards."""
        paths = sorted((self.out / config).glob(f"{name}-*.parquet"))
        return pa.concat_tables([pq.read_table(path) for path in paths])

    def rejected(self) -> list[dict[str, Any]]:
        """Return the rows left out."""
        return pq.read_table(self.work / "rejected.parquet").to_pylist()

    def reasons(self) -> list[tuple[str, int, str]]:
        """Return file, line and reason of the rows left out."""
        return [(row["file"], row["line"], row["reason"]) for row in self.rejected()]


def tree(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
