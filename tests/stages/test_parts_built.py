"""A large annotation file is built in parts, and nobody can tell from the result."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import SourceError
from pipeline.readers import parts
from pipeline.stages import convert
from tests.disturbed import Heard, build
from tests.project import tree

if TYPE_CHECKING:
    from tests.project import Project

ROWS = [{"text": f"row {number} " + "x" * (number % 50), "stars": number % 5} for number in range(300)]
BROKEN = {17: '{"text": "no stars"}', 120: '{"text": 5, "stars": 1}', 299: '{"text": "late", "stars": null}'}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts of 1 kB, so that these files have some twenty."""
    set_part_bytes(monkeypatch, 1_000)


def set_part_bytes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Say how large parts are."""
    monkeypatch.setattr(parts, "PART_BYTES", size)
    monkeypatch.setattr(convert, "PART_BYTES", size)


def write(project: Project, form: str, *, rows: int = len(ROWS)) -> None:
    """Write the rows as JSON Lines, as an array of a record a line, or as an array indented as by `json.dump`."""
    texts = [BROKEN.get(number, json.dumps(row)) for number, row in enumerate(ROWS[:rows])]
    text = {
        "jsonl": "".join(text + "\n" for text in texts),
        "array": "[\n" + ",\n".join(texts) + "\n]\n",
        "indented": json.dumps([json.loads(text) for text in texts], indent=2),
    }[form]
    name = "rows.jsonl" if form == "jsonl" else "rows.json"
    (project.source / name).write_text(text, encoding="utf-8")
    old = (project.source / name).stat().st_mtime - 60
    os.utime(project.source / name, (old, old))
    splits = {"train": 0.8, "test": 0.2}
    recipe = {"configs": {"default": {"rows": {"files": name}, "splits": splits}}, "shards": {"max_bytes": "5kB"}}
    project.write(recipe, {"text": "string", "stars": "int64"})


@pytest.mark.parametrize("form", ["jsonl", "array", "indented"])
def test_parts_make_no_difference(project: Project, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Shards, card and rejects with their lines are those of the file read whole."""
    write(project, form)
    project.build()
    assert len(list((project.work / "records" / "default").glob("*.arrow"))) > 10
    in_parts = tree(project.out), project.reasons()
    assert len(in_parts[1]) == len(BROKEN)
    set_part_bytes(monkeypatch, 1 << 30)
    project.build()
    assert len(list((project.work / "records" / "default").glob("*.arrow"))) == 1
    assert (tree(project.out), project.reasons()) == in_parts


def test_new_rows_change_the_last_part_alone(project: Project) -> None:
    """After rows were added at the end all but the last part are found again."""
    write(project, "jsonl", rows=280)
    project.build()
    before = set((project.work / "records" / "default").glob("*.arrow"))
    write(project, "jsonl")
    project.build()
    after = set((project.work / "records" / "default").glob("*.arrow"))
    assert len(before - after) == 1
    assert 1 <= len(after - before) <= 3


@pytest.mark.parametrize("settled", [True, False], ids=["old file", "young file"])
def test_a_file_that_changes_between_its_parts(project: Project, settled: bool) -> None:
    """A part that is not what was hashed is an error with the file's name, and no row of it is believed."""
    write(project, "jsonl")
    path = project.source / "rows.jsonl"
    if not settled:
        os.utime(path)
    project.build()
    good = tree(project.out)
    for folder in ("work", "out"):
        (project.root / folder).rename(project.root / f"{folder}-good")
    data = path.read_bytes()
    other = data.replace(b"row 250", b"ROW 250")

    def change(event: str, count: int) -> None:
        if (event, count) == ("convert", 5):
            path.write_bytes(other)

    with pytest.raises(SourceError, match=r"rows\.jsonl changed while it was read"):
        build(project, Heard(change))
    path.write_bytes(data)
    project.build()
    assert tree(project.out) == good
    path.write_bytes(other)
    project.build()
    assert tree(project.out) != good
