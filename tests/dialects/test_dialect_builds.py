"""`dialect` in a recipe: records become canonical ones on their way to rows, wherever they come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import RecipeError
from pipeline.readers import parts
from tests.dialects.examples import said, spoken
from tests.project import Project

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = {"type": {"list": {"struct": {"role": "string", "content": "string"}}}}
COLUMNS = {"id": "int64", "messages": MESSAGES, "images": {"list": "image"}}
CONVERSATION = {
    "column": "messages",
    "role_key": "role",
    "text_key": "content",
    "roles": {"system": "system", "user": "user", "assistant": "assistant"},
    "tokens": {"<image>": "images"},
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with three pictures."""
    found = Project(tmp_path)
    found.pictures(3)
    return found


def recipe(project: Project, files: str, dialect: str, columns: dict[str, Any] | None = None, **config: Any) -> None:
    """Write a recipe of one config that reads files in a dialect."""
    rows = {"files": files, "dialect": dialect, **config.pop("rows", {})}
    configs = {"default": {"rows": rows, "splits": {"train": "rest"}, **config}}
    project.write({"configs": configs}, columns or COLUMNS, conversation=CONVERSATION)


def test_rows_rejects_and_notes(project: Project) -> None:
    """Rows are canonical, `record`, `where` and fields see canonical records, rejects say line and reason."""
    project.rows(
        "a.jsonl",
        [
            {"id": 1, "image": "images/0000.png", "conversations": spoken("<image>\nWhat?"), "model": "x"},
            {"id": 2, "image": "images/0000.png", "conversations": spoken("What?")},
            {"id": 3, "conversations": spoken("Who?"), "set": "b"},
            {"id": 4, "image": ["images/0001.png", "images/0002.png"], "conversations": spoken("<image><image>Which?")},
        ],
    )
    recipe(
        project,
        "a.jsonl",
        "llava",
        {**COLUMNS, "line": "int64", "turns": "int64"},
        fields={"line": "{{ record.line }}", "turns": "{{ messages | length }}"},
        splits={"train": "rest", "test": {"where": "images == []"}},
    )
    report = project.build()
    assert project.split("train").drop_columns("images").to_pylist() == [
        {"id": 1, "messages": said("<image>\nWhat?"), "line": 1, "turns": 2},
        {"id": 4, "messages": said("<image><image>Which?"), "line": 4, "turns": 2},
    ]
    assert [len(row["images"]) for row in project.split("train").to_pylist()] == [1, 2]
    assert project.split("test").to_pylist() == [
        {"id": 3, "messages": said("Who?"), "images": [], "line": 3, "turns": 2}
    ]
    (reject,) = project.rejected()
    assert (reject["file"], reject["line"], reject["stage"], reject["reason"]) == (
        "a.jsonl",
        2,
        "convert",
        "dialect.placeholders",
    )
    assert reject["message"].startswith("0 times '<image>' in the texts, but the record names 1 image")
    # videos, which no record has, are not missed; `set` and `model` are
    notes = [note for stage in report.stages for note in stage.notes]
    assert notes == ["default: not in the schema, so not published: model, set"]
    assert all(stage.skipped for stage in project.build().stages)


def test_media_that_the_schema_leaves_out_are_told(project: Project) -> None:
    """Where some record has videos, and the schema has no such column, it is said."""
    rows = [
        {"id": 1, "conversations": spoken("Who?")},
        {"id": 2, "video": "v.mp4", "conversations": spoken("<video>Who?")},
    ]
    project.rows("a.jsonl", rows)
    recipe(project, "a.jsonl", "qwen-vl")
    report = project.build(upto="convert")
    notes = [note for stage in report.stages for note in stage.notes]
    assert notes == ["default: not in the schema, so not published: videos"]


def test_csv_and_parquet(project: Project) -> None:
    """Cells of a table are texts; media of a Parquet file are bytes."""
    (project.source / "a.csv").write_text(
        "system,instruction,input,output\nBe brief.,What,is it?,A dog.\n,Who?,,You.\n"
    )
    text_only = {key: CONVERSATION[key] for key in CONVERSATION if key != "tokens"}
    configs = {"default": {"rows": {"files": "a.csv", "dialect": "alpaca"}, "splits": {"train": "rest"}}}
    project.write({"configs": configs}, {"messages": MESSAGES}, conversation=text_only)
    project.build()
    assert project.split("train").to_pylist() == [
        {"messages": said("What\nis it?", system="Be brief.")},
        {"messages": said("Who?", "You.")},
    ]
    picture = (project.source / "images/0001.png").read_bytes()
    parts_of = [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]
    turns = [{"role": "user", "content": parts_of}, {"role": "assistant", "content": [parts_of[1] | {"text": "!"}]}]
    table = pa.Table.from_pylist([{"id": 1, "messages": turns, "images": [{"bytes": picture, "path": "x.png"}]}])
    pq.write_table(table, project.source / "a.parquet")
    recipe(project, "a.parquet", "trl")
    project.build()
    (row,) = project.split("train").to_pylist()
    assert row["messages"] == said("<image>What?", "!")
    assert row["images"] == [{"bytes": picture, "path": "x.png"}]


def test_large_files_are_cut(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a file give the rows and rejects that the whole file gives, with their lines."""
    rows = [{"id": number, "conversations": spoken(f"Who {number}?")} for number in range(300)]
    rows[77] = {"id": 77, "conversations": spoken("Who?")[:1]}
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
    (project.source / "a.json").write_text(text)
    recipe(project, "a.json", "llava")
    project.build()
    whole = project.split("train").to_pylist()
    assert project.reasons() == [("a.json", 79, "dialect.turns")]
    monkeypatch.setattr(parts, "PART_BYTES", 4_000)
    monkeypatch.setattr("pipeline.stages.convert.PART_BYTES", 4_000)
    project.build()
    assert len(list((project.work / "parts").iterdir())) == 1
    assert len(list((project.work / "records" / "default").glob("*.arrow"))) > 5
    assert project.split("train").to_pylist() == whole
    assert project.reasons() == [("a.json", 79, "dialect.turns")]


def test_a_dialect_is_part_of_what_rows_are_known_by(project: Project) -> None:
    """Another dialect converts the same file anew."""
    project.rows("a.jsonl", [{"id": 1, "image": "images/0000.png", "conversations": spoken("What?")}])
    recipe(project, "a.jsonl", "llava")
    project.build(upto="convert")
    assert [row["reason"] for row in project.rejected()] == ["dialect.placeholders"]
    recipe(project, "a.jsonl", "internvl")
    project.build()
    assert project.rejected() == []
    assert project.split("train").column("messages").to_pylist() == [said("<image>\nWhat?")]


def test_a_readers_rows_are_read_in_a_dialect(project: Project) -> None:
    """The escape hatch gives records, which may be of a dialect like those of a file."""
    (project.source / "a.txt").write_text("1\n2\n")
    reader = (
        "def rows(path):\n"
        "    for line, text in enumerate(path.read_text().splitlines(), 1):\n"
        "        yield line, {'id': int(text), 'query': 'Who?', 'response': text}\n"
    )
    (project.root / "recipes" / "mine.py").write_text(reader)
    recipe(project, "a.txt", "ms-swift", rows={"reader": "mine.py:rows"})
    project.build()
    assert [row["messages"] for row in project.split("train").to_pylist()] == [said("Who?", "1"), said("Who?", "2")]


def test_an_unknown_dialect_is_a_mistake(project: Project) -> None:
    """It is said before any work, with the nearest name."""
    project.rows("a.jsonl", [])
    recipe(project, "a.jsonl", "lama-factory")
    with pytest.raises(
        RecipeError,
        match=r"configs\.default\.rows\.dialect: there is no dialect 'lama-factory' \(did you mean 'llama-f",
    ):
        project.build()
