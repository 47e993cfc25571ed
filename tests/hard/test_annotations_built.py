"""Every real annotation file through a whole build: rows in = rows out + rejects, each reject with file, line, reason.

One build reads them all: each reading of the table is a split of its own. The raw record goes into a json column whole,
so that what comes out can be held against what the reader gave. Types and parse rules have a build of their own below.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import yaml
from annotation_table import ANNOTATIONS, Reading, readings
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import SourceError
from tests.project import Project

if TYPE_CHECKING:
    from pipeline.run import BuildReport

READINGS = {f"reading_{number:03d}": reading for number, reading in enumerate(readings())}
USABLE = {split: reading for split, reading in READINGS.items() if not reading.refused}
REFUSED = [reading for reading in READINGS.values() if reading.refused]

WHOLE_RECORD = {"file": "string", "line": "int64", "record": "json"}
FROM_THE_RECORD = {"file": "{{ record.file }}", "line": "{{ record.line }}", "record": "{{ row }}"}
COMPANIONS = {"csv": "companion\nyes\n", "json": '[{"companion": "yes"}]'}
"""A split of nothing but bad records would be empty, which stops a build: such a file is read with one good row."""


def _splits(chosen: dict[str, Reading]) -> dict[str, Any]:
    splits = {}
    for split, reading in chosen.items():
        files = [reading.file] if reading.records else [reading.file, f"companion.{reading.format}"]
        splits[split] = {"files": files, **reading.options}
    return splits


@dataclass(frozen=True)
class Built:
    """The build of all usable readings."""

    project: Project
    report: BuildReport

    def rows(self, split: str) -> list[dict[str, Any]]:
        """Return the rows that come from the reading's own file, with their records parsed."""
        rows = self.project.split(split).to_pylist()
        return [{**row, "record": json.loads(row["record"])} for row in rows if "companion" not in row["file"]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build all files that can be used, each as a split."""
    project = Project(tmp_path_factory.mktemp("real"))
    shutil.copytree(ANNOTATIONS, project.source, dirs_exist_ok=True)
    for ending, text in COMPANIONS.items():
        (project.source / f"companion.{ending}").write_text(text, encoding="utf-8")
    recipe = {"configs": {"default": {"splits": _splits(USABLE), "fields": FROM_THE_RECORD}}}
    project.write(recipe, WHOLE_RECORD)
    return Built(project, project.build())


@pytest.mark.parametrize("split", USABLE, ids=[str(reading) for reading in USABLE.values()])
def test_rows_and_rejects_are_those_of_the_table(built: Built, split: str) -> None:
    """The shard of a file holds its records in order, and its rejects are the bad ones, with file, line and reason."""
    reading = USABLE[split]
    rows = built.rows(split)
    assert [row["line"] for row in rows] == reading.records
    assert {row["file"] for row in rows} <= {reading.file}
    for place, record in reading.holds.items():
        assert rows[place]["record"] == record
    rejects = [row for row in built.project.rejected() if row["split"] == split]
    assert [(row["line"], row["reason"]) for row in rejects] == reading.bad
    for row in rejects:
        assert (row["config"], row["source"], row["file"], row["stage"]) == ("default", "mine", reading.file, "convert")
        assert row["message"]


def test_nothing_vanishes(built: Built) -> None:
    """Rows in = rows out + rejects, and both are as many as the table says."""
    rows_out = sum(pq.read_metadata(path).num_rows for path in built.project.out.rglob("*.parquet"))
    assert sum(len(built.rows(split)) for split in USABLE) == sum(len(r.records) for r in USABLE.values())
    assert len(built.project.rejected()) == sum(len(r.bad) for r in USABLE.values())
    assert built.report.rows_in == rows_out + len(built.project.rejected())
    assert sum(built.report.reasons.values()) == len(built.project.rejected())


@pytest.mark.parametrize("reading", REFUSED, ids=str)
def test_file_that_cannot_be_used_stops_the_build(project: Project, reading: Reading) -> None:
    """A refused file ends the build with exit code 3, its name and its reason, no traceback, and nothing published."""
    shutil.copytree(ANNOTATIONS / reading.file.partition("/")[0], project.source / reading.file.partition("/")[0])
    (project.source / "good.jsonl").write_text('{"a": 1}\n', encoding="utf-8")
    splits = {"train": {"files": "good.jsonl"}, **_splits({"test": reading})}
    splits["test"]["files"] = [reading.file]
    project.write({"configs": {"default": {"splits": splits, "fields": FROM_THE_RECORD}}}, WHOLE_RECORD)
    with pytest.raises(SourceError) as raised:
        project.build()
    assert reading.file in str(raised.value)
    assert str(reading.refused) in str(raised.value)
    folders = [f"--{name}={project.root / name}" for name in ("work", "out", "cache")]
    result = CliRunner().invoke(main, ["card", str(project.recipe_path), "--workers=1", *folders])
    assert result.exit_code == SourceError.exit_code
    assert reading.file in result.output
    assert "Traceback" not in result.output
    assert not project.out.exists()


@dataclass(frozen=True, kw_only=True)
class Typed:
    """A real file, a schema for it, and what comes out."""

    name: str
    why: str
    files: list[str]
    columns: dict[str, Any]
    rows: list[dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    rejects: list[tuple[str, int, str]] = field(default_factory=list)


def _struct(**fields: Any) -> dict[str, Any]:
    return {"struct": fields}


def _nullable(kind: Any) -> dict[str, Any]:
    return {"type": kind, "nullable": True}


TYPED = [
    Typed(
        name="zeros_as_text",
        why="A text column keeps the zeros in front.",
        files=["duckdb_csv/leading_zeros.csv"],
        columns={"CODGEO": "string", "NAISD14": "int8"},
        rows=[{"CODGEO": f"0900{n}", "NAISD14": value} for n, value in enumerate((0, 6, 4, 0, 2, 0), 1)],
    ),
    Typed(
        name="zeros_as_number",
        why="A number column takes 3.3 but not 00000, which is no plain number, nor words.",
        files=["ms_swift/alpaca.csv"],
        columns={"system": _nullable("int64"), "output": "string"},
        rows=[{"system": None, "output": "ccccc"}, {"system": None, "output": "CCCCC"}],
        rejects=[("ms_swift/alpaca.csv", 2, "schema.type")],
    ),
    Typed(
        name="second_type_later",
        why="A column that starts with a number and goes on with words is no number column.",
        files=["ms_swift/alpaca.csv"],
        columns={"output": "float64"},
        rows=[{"output": 3.3}],
        rejects=[("ms_swift/alpaca.csv", 3, "schema.type"), ("ms_swift/alpaca.csv", 4, "schema.type")],
    ),
    Typed(
        name="decimal_comma_unsaid",
        why='Nothing says that the comma is a decimal mark, so "5,5" is no number.',
        files=["duckdb_csv/mixed_decimal.csv"],
        columns={"A": "int64", "B": "float64"},
        rows=[{"A": 3, "B": 5.0}, {"A": 4, "B": 5.555}],
        rejects=[("duckdb_csv/mixed_decimal.csv", line, "schema.type") for line in (2, 3, 6)],
    ),
    Typed(
        name="decimal_comma_said",
        why="The recipe says that the comma is the decimal mark, so the point is none.",
        files=["duckdb_csv/mixed_decimal.csv"],
        columns={"A": "int64", "B": "float64"},
        fields={"B": {"from": "B", "parse": "number", "decimal": ","}},
        rows=[{"A": 1, "B": 5.5}, {"A": 2, "B": 5.5}, {"A": 3, "B": 5.0}, {"A": 5, "B": 5.5}],
        rejects=[("duckdb_csv/mixed_decimal.csv", 5, "parse.number")],
    ),
    Typed(
        name="json_in_a_cell",
        why="The recipe says that the cell is JSON.",
        files=["csv_spectrum/csvs/json.csv"],
        columns={"key": "int64", "val": _struct(type="string", coordinates={"list": "float64"})},
        fields={"val": {"from": "val", "parse": "json"}},
        rows=[{"key": 1, "val": {"type": "Point", "coordinates": [102.0, 0.5]}}],
    ),
    Typed(
        name="python_in_a_cell",
        why="A Python dict is no JSON.",
        files=["datajuicer_structured/demo-dataset.tsv", "datajuicer_structured/demo-dataset.jsonl"],
        columns={"meta": _struct(src="string", author="string")},
        fields={"meta": {"from": "meta", "parse": "json"}},
        rows=[{"meta": {"src": "Arxiv", "author": None}}, {"meta": {"src": "code", "author": "xxx"}}] * 3,
        rejects=[("datajuicer_structured/demo-dataset.tsv", line, "parse.json") for line in range(2, 8)],
    ),
    Typed(
        name="nested_nulls",
        why="A null list and a list of one null are two values.",
        files=["duckdb_json/map_of_struct_with_nulls.jsonl"],
        options={"records": "a", "key": "id"},
        columns={"id": "int64", "a": _nullable({"list": "int64"})},
        fields={"id": {"from": "id", "parse": "integer"}},
        rows=[{"id": n, "a": None if n in (1, 6, 10) else [None]} for n in range(1, 11)],
    ),
    Typed(
        name="union_as_struct",
        why="Fields that a record has not are null in a struct.",
        files=["duckdb_json/union.ndjson"],
        columns={"data": _struct(name="string", age="int64", veteran="bool")},
        rows=[
            {"data": {"name": "Frank", "age": None, "veteran": None}},
            {"data": {"name": None, "age": 5, "veteran": None}},
            {"data": {"name": None, "age": None, "veteran": False}},
        ],
    ),
    Typed(
        name="missing_key",
        why="A key that is missing breaks a column that must have a value.",
        files=["duckdb_json/different_schemas.ndjson"],
        columns={"id": "int64", "name": "string"},
        rows=[
            {"id": 1, "name": "O Brother, Where Art Thou?"},
            {"id": 3, "name": "The Firm"},
            {"id": 5, "name": "Raising Arizona"},
        ],
        rejects=[("duckdb_json/different_schemas.ndjson", line, "schema.null") for line in (2, 4)],
    ),
    Typed(
        name="text_of_digits",
        why='Texts that look like numbers are no numbers in JSON: "3" is not 3.',
        files=["csv_spectrum/json/simple.json", "frictionless/table.keyed.json"],
        columns={"id": {"type": "int64", "nullable": True}, "a": {"type": "int64", "nullable": True}},
        rows=[{"id": 1, "a": None}, {"id": 2, "a": None}],
        rejects=[("csv_spectrum/json/simple.json", 2, "schema.type")],
    ),
    Typed(
        name="blank_cells",
        why="An empty cell is a null for a number, and an empty text for a text.",
        files=["frictionless/nested.csv"],
        columns={"id": "int64", "cat": _nullable("int64"), "name": "string"},
        rows=[
            {"id": 1, "cat": None, "name": "England"},
            {"id": 2, "cat": None, "name": "France"},
            {"id": 3, "cat": 1, "name": "London"},
            {"id": 4, "cat": 2, "name": "Paris"},
        ],
    ),
    Typed(
        name="row_of_commas",
        why="A row of empty cells is a row, so the schema rejects it.",
        files=["frictionless/blank-rows.csv"],
        columns={"id": "int64", "name": "string"},
        rows=[{"id": 1101, "name": "John"}, {"id": 1102, "name": "Julie"}],
        rejects=[("frictionless/blank-rows.csv", 4, "schema.null")],
    ),
    Typed(
        name="header_as_data",
        why="With names declared the header is a row, and its words are no numbers.",
        files=["frictionless/blank-headers.csv"],
        options={"header": ["id", "name", "age"]},
        columns={"id": "int64", "age": "uint8"},
        rows=[{"id": 1101, "age": 30}, {"id": 1102, "age": 26}],
        rejects=[("frictionless/blank-headers.csv", 1, "schema.type")],
    ),
    Typed(
        name="lists_of_objects",
        why="Lists of objects keep their order and their texts of digits.",
        files=["ms_swift/sharegpt.jsonl"],
        columns={
            "system": _nullable("string"),
            "conversation": {"type": {"list": _struct(human="string", assistant="string")}},
        },
        rows=[
            {"system": "00000", "conversation": [{"human": "11111", "assistant": "22222"}]},
            {"system": None, "conversation": [{"human": "aaaaa", "assistant": "bbbbb"}]},
            {
                "system": None,
                "conversation": [
                    {"human": "AAAAA", "assistant": "BBBBB"},
                    {"human": "CCCCC", "assistant": "DDDDD"},
                    {"human": "EEEEE", "assistant": "FFFFF"},
                ],
            },
        ],
    ),
]


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Build the typed cases, each as a config with a schema of its own."""
    project = Project(tmp_path_factory.mktemp("typed"))
    shutil.copytree(ANNOTATIONS, project.source, dirs_exist_ok=True)
    configs = {}
    for case in TYPED:
        splits = {"train": {"files": case.files, **case.options}}
        configs[case.name] = {"schema": case.name, "splits": splits, "fields": case.fields}
    project.write({"configs": configs}, {"unused": "string"})
    for case in TYPED:
        text = yaml.safe_dump({"name": case.name, "columns": case.columns}, sort_keys=False)
        (project.root / "schemas" / f"{case.name}.yaml").write_text(text, encoding="utf-8")
    project.build()
    return project


@pytest.mark.parametrize("case", TYPED, ids=lambda case: case.name)
def test_types_are_kept_or_the_row_is_rejected(typed: Project, case: Typed) -> None:
    """A value comes out with the schema's type or its row is rejected; nothing is coerced unless the recipe says so."""
    assert typed.split("train", case.name).to_pylist() == case.rows
    rejects = [row for row in typed.rejected() if row["config"] == case.name]
    assert [(row["file"], row["line"], row["reason"]) for row in rejects] == case.rejects


def test_csv_spectrum_agrees_with_itself(built: Built) -> None:
    """The rows of each CSV file of csv-spectrum are those that its JSON file says they are."""
    split_of = {reading.file: split for split, reading in USABLE.items()}
    compared = 0
    for file, split in split_of.items():
        other = file.replace("/csvs/", "/json/").replace(".csv", ".json")
        if other != file and other in split_of:
            expected = [row["record"] for row in built.rows(split_of[other])]
            assert [row["record"] for row in built.rows(split)] == expected
            compared += 1
    assert compared == 7
