"""The whole way: a dataset is built, exported to a format, built again from that with a recipe, and is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipeline.exports.export import export
from pipeline.exports.registry import FORMATS, format_named
from pipeline.report import Quiet
from tests.exports.canonical_rows import MEDIA, Plain, plain
from tests.exports.imported import rows_in
from tests.project import Project, png

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.exports.format_folder import Exported

COLUMNS: dict[str, Any] = {
    "id": "string",
    "messages": {"list": {"struct": {"role": "string", "content": "string"}}},
    "images": {"list": "image"},
    "videos": {"list": "video"},
    "score": {"type": "int64", "nullable": True},
}
CONVERSATION = {
    "column": "messages",
    "role_key": "role",
    "text_key": "content",
    "roles": {"system": "system", "user": "user", "assistant": "assistant"},
    "tokens": {"<image>": "images", "<video>": "videos"},
}
CLIP = "fixture.mov"
TALKS: list[tuple[list[tuple[str, str]], list[str], list[str]]] = [
    ([("user", "<image>\nWhat?"), ("assistant", "A dog.")], ["0.png"], []),
    ([("system", "Be kind."), ("user", "Hm, <image>."), ("assistant", 'Yes,\n"no".')], ["1.png"], []),
    ([("user", "<image> or <image>?"), ("assistant", "=A"), ("user", "And <image>?"), ("assistant", "B")],
     ["0.png", "1.png", "2.png"], []),
    ([("user", "<video>\nWhen?"), ("assistant", "Now.")], [], [CLIP]),
    ([("user", "<image><video>Both?"), ("assistant", "2024-01-01")], ["2.png"], [CLIP]),
    ([("user", "Only words?"), ("assistant", "Yes.")], [], []),
    ([("user", "<image>What\u2028is it?"), ("assistant", "漢字")], ["3.png"], []),
    ([("user", "<image>Which?"), ("assistant", "This.")], ["4.png"], []),
]  # fmt: skip
SPLITS = {"train": range(6), "test": range(6, 8)}
FILES = {"trl": "-*.parquet", "webdataset": "-*.tar", "csv": ".csv", "llava": ".json"}
"""What the files of a split are called behind its name; else `.jsonl`."""


def source_rows(numbers: range) -> list[dict[str, Any]]:
    """Return rows as an annotation file has them."""
    return [
        {
            "id": f"row {number}",
            "messages": [{"role": role, "content": text} for role, text in TALKS[number][0]],
            "images": TALKS[number][1],
            "videos": TALKS[number][2],
            "score": number if number % 2 else None,
        }
        for number in numbers
    ]


def build(project: Project, splits: dict[str, Any], source: str, media: dict[str, Any]) -> Path:
    """Build a project whose splits have files of their own; returns the dataset."""
    config = {"splits": splits, "media": media} if media else {"splits": splits}
    sources = {"mine": {"path": source, "license": "cc0-1.0"}}
    project.write({"sources": sources, "configs": {"default": config}}, COLUMNS, conversation=CONVERSATION)
    report = project.build()
    assert report.reasons == {}
    return project.out


def rows_of(folder: Path) -> dict[str, list[Plain]]:
    """Return the rows of each split."""
    return {split: [*map(plain, rows)] for split, rows in rows_in(folder, "default", CONVERSATION).items()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the dataset that is exported."""
    project = Project(tmp_path_factory.mktemp("first"))
    for number in range(5):
        (project.source / f"{number}.png").write_bytes(png(number, (9, 6 + number)))
    (project.source / CLIP).write_bytes((MEDIA / CLIP).read_bytes())
    for split, numbers in SPLITS.items():
        project.rows(f"{split}.jsonl", source_rows(numbers))
    return build(project, {split: {"files": f"{split}.jsonl"} for split in SPLITS}, "../source", {})


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Export it to all formats at once."""
    out = tmp_path_factory.mktemp("exported")
    formats = [format_named(name) for name in FORMATS]
    done = export(dataset, formats, out=out, conversation=CONVERSATION, display=Quiet())
    return {one.format.name: one for one in done}


def test_the_source_is_the_dataset(dataset: Path) -> None:
    """The dataset that everything is held against has the rows that were written down."""
    assert {split: [row.id for row in rows] for split, rows in rows_of(dataset).items()} == {
        split: [f"row {number}" for number in numbers] for split, numbers in SPLITS.items()
    }


QUICK = ("trl", "webdataset", "folder", "csv")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else (pytest.mark.slow,)) for name in FORMATS]
)
def test_an_export_is_built_into_the_same_dataset(
    dataset: Path, exported: dict[str, Exported], tmp_path: Path, name: str
) -> None:
    """A recipe with nothing but the dialect gives the same rows again, but for those that the export left out."""
    done = exported[name]
    lost = {
        f"row {one.row + (6 if 'test' in one.shard else 0)}"
        for loss in done.losses.found
        if loss.whole_rows
        for one in loss.examples
    }
    without_system = {
        f"row {one.row}" for loss in done.losses.found if loss.code == "export.system_turn" for one in loss.examples
    }
    rows: dict[str, Any] = {"dialect": name}
    if name == "webdataset":
        rows["format"] = "webdataset"
    media = {column: {"relative_to": "file"} for column in ("images", "videos")} if name == "folder" else {}
    splits = {
        split: {
            "files": f"*/default/{split}/metadata.*" if name == "folder" else f"{split}{FILES.get(name, '.jsonl')}",
            **rows,
        }
        for split in SPLITS
    }
    built = rows_of(build(Project(tmp_path), splits, str(done.folder), media))
    expected = {
        split: [
            Plain(row.id, row.turns[1:]) if row.id in without_system else row for row in found if row.id not in lost
        ]
        for split, found in rows_of(dataset).items()
    }
    assert {split: sorted(found, key=lambda row: row.id) for split, found in built.items()} == expected
