"""One good dataset, and what can be done to it: each mutation with the code that is meant for it."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.checks.options import Options
from pipeline.mend_card import mend, plan_mending
from tests.project import MEDIA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.project import Project

CARD = """---
license: apache-2.0
language:
- en
task_categories:
- image-text-to-text
tags:
- test
---
# Good

Numbered pictures, [where they come from](ORIGIN.md).
"""
COLUMNS: dict[str, Any] = {
    "image": "image",
    "id": {"type": "string", "unique": True},
    "text": "string",
    "width": {"type": "int64", "min": 1},
    "label": {"class_label": ["even", "odd"]},
}
CLIPS: dict[str, Any] = {
    "video": "video",
    "talk": {"type": {"list": {"struct": {"from": "string", "value": "string"}}}},
}
PICTURES = 16


def picture(number: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Return a picture with much in it, unlike that of any other number."""
    noise = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Return a picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_good(project: Project) -> None:
    """Write the good dataset's sources, with two configs of two splits, and build it."""
    (project.source / "images").mkdir()
    rows = []
    for n in range(PICTURES):
        (project.source / "images" / f"{n:02}.jpg").write_bytes(encoded(picture(n)))
        text = f"The picture of number {n}, with colours of its own."
        rows.append({"image": f"images/{n:02}.jpg", "id": f"p{n:02}", "text": text, "width": 64, "label": n % 2})
    project.rows("pictures.jsonl", rows)
    clips = ["bigbuckbunny.mp4", "nasa_13013.mp4", "chaplin.mp4", "h265_video.mp4"]
    for name in clips:
        shutil.copy(MEDIA / name, project.source / name)
    talks = [
        [{"from": "human", "value": f"<video>\nWhat is this, number {n}?"}, {"from": "gpt", "value": f"It is {name}."}]
        for n, name in enumerate(clips)
    ]
    project.rows("clips.jsonl", [{"video": name, "talk": talk} for name, talk in zip(clips, talks, strict=True)])
    (project.root / "schemas" / "clips.yaml").write_text(json.dumps({"name": "clips", "columns": CLIPS}))
    pictures = {"rows": {"files": "pictures.jsonl"}, "splits": {"train": 0.75, "test": 0.25}}
    films = {"rows": {"files": "clips.jsonl"}, "splits": {"train": 0.75, "test": 0.25}, "schema": "clips"}
    recipe = {"configs": {"pictures": pictures, "clips": films}, "shards": {"max_bytes": "9kB"}}
    project.write(recipe, COLUMNS, card=CARD)
    project.build()
    (project.out / "ORIGIN.md").write_text("Made by a test.\n")


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """Something done to the dataset."""

    code: str
    """What is meant for it."""
    do: Callable[[Path], Any]
    also: str = ""
    """Codes that cannot but come with it, and why that is so stands beside."""
    options: Options = field(default_factory=Options)
    mended: bool = False
    """The card is mended afterwards, so that nothing but rows and media are at fault."""

    def __call__(self, out: Path) -> None:
        """Do it to a copy."""
        self.do(out)
        if self.mended:
            mend(plan_mending(out))


def shards(out: Path, config: str = "pictures", split: str = "train") -> list[Path]:
    """Return the shards of a split."""
    return sorted((out / config).glob(f"{split}-*.parquet"))


def in_card(old: str, new: str) -> Callable[[Path], None]:
    """Edit the card by hand."""

    def edit(out: Path) -> None:
        card = out / "README.md"
        text = card.read_text(encoding="utf-8")
        assert old in text, (old, text)
        card.write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def in_shard(
    change: Callable[[pa.Table], pa.Table], config: str = "pictures", split: str = "train", **options: Any
) -> Callable[[Path], None]:
    """Write the first shard of a split anew, as it was but for the change."""

    def edit(out: Path) -> None:
        path = shards(out, config, split)[0]
        table = pq.read_table(path)
        plain = {"image.bytes", "image.path", "video.bytes", "video.path"}
        written = {
            "write_page_index": True,
            "use_dictionary": ["label"] if config == "pictures" else False,
            "compression": {name: "none" for name in _leaves(table.schema) if name in plain} or "snappy",
        }
        pq.write_table(change(table), path, **{**written, **options})

    return edit


def _leaves(schema: pa.Schema) -> list[str]:
    names = []
    for item in schema:
        kind = item.type
        names += (
            [f"{item.name}.{kind.field(n).name}" for n in range(kind.num_fields)]
            if pa.types.is_struct(kind)
            else [item.name]
        )
    return names


def with_values(**columns: Callable[[list[Any]], list[Any]]) -> Callable[[pa.Table], pa.Table]:
    """Change the values of some columns."""

    def change(table: pa.Table) -> pa.Table:
        for name, values in columns.items():
            position = table.schema.get_field_index(name)
            array = pa.array(values(table.column(name).to_pylist()), table.schema.field(name).type)
            table = table.set_column(position, table.schema.field(name), array)
        return table

    return change


def first(value: Any) -> Callable[[list[Any]], list[Any]]:
    """Give the first row another value."""
    return lambda values: [value, *values[1:]]


def first_of_all(value: Any) -> Callable[[list[Any]], list[Any]]:
    """Give every row the same value."""
    return lambda values: [value] * len(values)


def medium(data: bytes | None, path: str | None = "x.jpg") -> dict[str, Any]:
    """Return a medium as `datasets` stores it."""
    return {"bytes": data, "path": path}


def copy_row(out: Path, change: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> None:
    """Put the first row of the training part into the test part as well, in place of its first one."""
    row = pq.read_table(shards(out)[0]).to_pylist()[0]

    def put(table: pa.Table) -> pa.Table:
        return pa.Table.from_pylist([change(row), *table.to_pylist()[1:]], table.schema)

    in_shard(put, split="test")(out)
