"""A file read in parts gives just what it gives as a whole, or says that it cannot be read so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.readers import parts as module
from pipeline.readers.parts import cut_into_parts
from pipeline.readers.read import read
from pipeline.readers.record import BadRecord, PartsDoNotMeetError, ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

Told = tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, str]]]


def told(path: Path, options: ReadOptions) -> Told:
    """Return the records of a file and its bad ones, each with its line."""
    records: list[tuple[int, dict[str, Any]]] = []
    bad: list[tuple[int, str]] = []
    for part in read(path, options):
        if isinstance(part, BadRecord):
            bad.append((part.line, part.code))
        else:
            records += zip(part.lines, part.rows, strict=True)
    return records, bad


def in_parts(path: Path, kind: str) -> tuple[int, Told | None]:
    """Return how many parts a file has, and what they give together; None: they do not meet."""
    options = ReadOptions(format=kind)
    cut = cut_into_parts(path, options)
    records: list[tuple[int, dict[str, Any]]] = []
    bad: list[tuple[int, str]] = []
    try:
        for part in cut:
            more, worse = told(path, replace(options, part=part))
            records += more
            bad += worse
    except PartsDoNotMeetError:
        return len(cut), None
    return len(cut), (records, bad)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small files too."""
    monkeypatch.setattr(module, "PART_BYTES", 200)


leaves = st.one_of(st.none(), st.integers(0, 99), st.text('ab\n"\\{}[],: é', max_size=12))
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["id", "x", "é"]), inner, max_size=2)
    ),
    max_leaves=6,
)
rows = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 9), "x": nested, "list": st.lists(st.fixed_dictionaries({"id": leaves}))}
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=rows,
    indent=st.sampled_from([None, 0, 1, 2]),
    ascii_only=st.booleans(),
    damage=st.one_of(st.none(), st.tuples(st.floats(0, 1), st.sampled_from(["", "cut", '"', "}", "]", ",\n", "{"]))),
)
def test_arrays(tmp_path: Path, rows: Any, indent: int | None, ascii_only: bool, damage: Any) -> None:
    """An array gives the same records, lines and rejects in parts, pretty-printed or not, damaged or not."""
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    if damage:
        place = int(damage[0] * len(text))
        text = text[:place] if damage[1] == "cut" else text[:place] + damage[1] + text[place + (damage[1] == "") :]
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8", newline="")
    _, found = in_parts(path, "json")
    if found is not None and cut_into_parts(path, ReadOptions(format="json")):
        assert found == told(path, ReadOptions(format="json"))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=rows, garbage=st.lists(st.sampled_from(["", "{", '{"a": 1} {"b": 2}', "\ufeff{}", "é"]), max_size=3))
def test_lines(tmp_path: Path, rows: Any, garbage: list[str]) -> None:
    """Lines always meet, whatever stands in them."""
    lines = [json.dumps(row) for row in rows]
    lines[2:2] = garbage
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    count, found = in_parts(path, "jsonl")
    assert count > 1 or path.stat().st_size < 800
    if count:
        assert found == told(path, ReadOptions(format="jsonl"))


@pytest.mark.parametrize("indent", [None, 1])
def test_a_plain_array_is_cut(tmp_path: Path, indent: int | None) -> None:
    """A usual array has parts, and they meet; memory and workers gain from it."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"id": n, "text": f"row {n}"} for n in range(200)], indent=indent))
    count, found = in_parts(path, "json")
    assert count > 10
    assert found == told(path, ReadOptions())


def test_borders_inside_of_records_are_noticed(tmp_path: Path) -> None:
    """Where objects inside of records look like records, a cut there is told by the part before it."""
    rows = [{"id": n, "turns": [{"id": k, "text": "x" * 20} for k in range(30)]} for n in range(10)]
    path = tmp_path / "a.json"
    path.write_text("[" + ",\n".join(json.dumps(row).replace(" {", "\n{") for row in rows) + "]")
    count, found = in_parts(path, "json")
    assert count > 1
    assert found is None


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('{"data": [%s]}', ReadOptions(records="data")),
        ('{"a": [%s]}', ReadOptions()),
        ("[%s", ReadOptions(encoding="utf-16")),
    ],
)
def test_what_is_not_cut(tmp_path: Path, text: str, options: ReadOptions) -> None:
    """Records inside a document, objects, and other encodings than UTF-8 are read whole."""
    path = tmp_path / "a.json"
    path.write_text(text % ",".join(['{"a": 1}'] * 100), encoding=options.encoding or "utf-8")
    assert cut_into_parts(path, options) == []


def convert_log(project: Project) -> set[str]:
    """Return the names of the parts' results."""
    return {path.name for path in (project.work / "records").rglob("*.arrow")}


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_new_rows_at_the_end_leave_the_parts_before_them(
    project: Project, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A file that grows is converted again only in its last part, and the dataset is that of a fresh build."""
    from pipeline.stages import convert
    from tests.project import tree

    monkeypatch.setattr(convert, "PART_BYTES", 200)
    rows = [{"text": f"row {n}"} for n in range(100)]

    def write(count: int) -> None:
        text = "\n".join(map(json.dumps, rows[:count])) if kind == "jsonl" else json.dumps(rows[:count], indent=1)
        (project.source / f"a.{kind}").write_text(text)

    project.write(
        {"configs": {"default": {"rows": {"files": f"a.{kind}"}, "splits": {"a": 0.5, "b": 0.5}}}}, {"text": "string"}
    )
    write(95)
    project.build()
    before = convert_log(project)
    assert len(before) > 5
    write(100)
    project.build()
    assert len(convert_log(project) - before) <= 2
    assert len(before - convert_log(project)) == 1
    grown = tree(project.out)
    for folder in ("work", "out"):
        project.root.joinpath(folder).rename(project.root / f"old-{folder}")
    project.build()
    assert tree(project.out) == grown
    assert {row["text"] for name in "ab" for row in project.split(name).to_pylist()} == {row["text"] for row in rows}


def test_a_file_that_is_wrongly_cut_is_read_whole(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """When parts do not meet, the file is converted whole, once: its rows and lines are right, and that is noted."""
    from pipeline.stages import convert

    monkeypatch.setattr(convert, "PART_BYTES", 200)
    rows = [{"id": n, "turns": [{"id": k, "text": "x" * 20} for k in range(30)]} for n in range(10)]
    text = "[" + ",\n".join(json.dumps(row).replace(" {", "\n{") for row in rows) + "]"
    (project.source / "a.json").write_text(text)
    project.write(
        {"configs": {"default": {"splits": {"train": {"files": "a.json"}}}}}, {"id": "int64", "turns": "json"}
    )
    project.build()
    assert [(row["id"], json.loads(row["turns"])) for row in project.split("train").to_pylist()] == [
        (row["id"], row["turns"]) for row in rows
    ]
    assert len(convert_log(project)) == 1
    assert all(stage.skipped for stage in project.build().stages)


def test_the_last_part_is_read_as_its_file(tmp_path: Path) -> None:
    """One record and the bracket behind it look like lines of JSON, and are the end of an array."""
    path = tmp_path / "a.json"
    rows = [{"id": number, "text": "x" * 60} for number in range(6)]
    path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]")
    options = ReadOptions()
    found = [told(path, replace(options, part=part)) for part in cut_into_parts(path, options)]
    assert [len(records) for records, _ in found] == [3, 2, 1]
    assert [row for records, _ in found for _, row in records] == rows
    assert [bad for _, bad in found] == [[], [], []]
