"""Hard annotation inputs made on the spot, through a whole build: the table is `generated_cases.py`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from generated_cases import CASES, Case, lines

from pipeline.errors import RecipeError, RejectsError, SourceError
from tests.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterable

RIGHT = [case for case in CASES if not case.refused]
REFUSED = [case for case in CASES if case.refused]

ROOT = Path(__file__).parents[2]
ONE_FILE: dict[str, Any] = {"configs": {"default": {"splits": {"train": {"files": "rows.*"}}}}}
INTEGER = {"v": "int64"}


def _write(project: Project, cases: Iterable[Case], **recipe: Any) -> None:
    """Write the files of the cases, and a recipe that builds each as a config with a schema of its own."""
    configs = {}
    for case in cases:
        (project.source / case.file).write_bytes(case.data)
        splits = {"train": {"files": case.file, **case.options}}
        configs[case.name] = {"schema": case.name, "splits": splits, "fields": case.fields}
    project.write({"configs": configs, **recipe}, {"unused": "string"})
    for case in cases:
        text = yaml.safe_dump({"name": case.name, "columns": case.columns}, sort_keys=False)
        (project.root / "schemas" / f"{case.name}.yaml").write_text(text, encoding="utf-8")


def _assert_right(project: Project, case: Case) -> None:
    # As text, so that NaN equals NaN, -0.0 is not 0.0 and 1 is not 1.0.
    assert repr(project.split("train", case.name).to_pylist()) == repr(case.rows)
    rejects = [row for row in project.rejected() if row["config"] == case.name]
    assert sorted((row["line"], row["reason"]) for row in rejects) == case.rejects
    assert all(row["file"] == case.file and row["source"] == "mine" and row["message"] for row in rejects)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Build all cases that are right, each as a config."""
    project = Project(tmp_path_factory.mktemp("generated"))
    _write(project, RIGHT)
    report = project.build()
    assert report.rows_in == sum(len(case.rows) + len(case.rejects) for case in RIGHT)
    return project


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_input_reads_right_or_becomes_a_reject(built: Project, case: Case) -> None:
    """Rows and rejects are those of the table: values to the last bit, rejects with file, line and reason."""
    _assert_right(built, case)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_input_in_doubt_is_refused(project: Project, case: Case) -> None:
    """A file that is in doubt as a whole stops the build with its name, the reason, and what to do."""
    _write(project, [case])
    with pytest.raises(SourceError) as raised:
        project.build()
    assert case.refused in str(raised.value)
    assert case.file in str(raised.value)
    assert "next:" in str(raised.value)
    assert not project.out.exists()


def test_delimiter_of_two_characters_is_a_mistake_of_the_recipe(project: Project) -> None:
    """A delimiter is one character; anything else is found before any work."""
    (project.source / "rows.csv").write_text("a||b\n", encoding="utf-8")
    splits = {"train": {"files": "rows.csv", "delimiter": "||"}}
    project.write({"configs": {"default": {"splits": splits}}}, INTEGER)
    with pytest.raises(RecipeError, match="delimiter"):
        project.build()


def test_second_type_behind_a_million_rows(project: Project) -> None:
    """A field that changes its type after a million rows costs the rows of the other type, with their lines."""
    good = '{"v":7}\n' * 1_000_000
    (project.source / "rows.jsonl").write_text(good + '{"v":"seven"}\n{"v":8}\n{"v":8.5}\n', encoding="utf-8")
    project.write(ONE_FILE, INTEGER)
    report = project.build(upto="convert")
    (stage,) = (stage for stage in report.stages if stage.stage == "convert")
    assert (stage.rows_in, stage.rows_out) == (1_000_003, 1_000_001)
    assert project.reasons() == [
        ("rows.jsonl", 1_000_001, "schema.type"),
        ("rows.jsonl", 1_000_003, "schema.type"),
    ]


GIGABYTE = 1 << 30
# Each file in three parts: before, in, and behind the line of a gigabyte. What is in it are NUL bytes, because a hole
# in a file is written in no time; for its length alone it is rejected, whatever it holds.
ABSURD = {
    "jsonl": (b'{"v": 1}\n{"v": "', b'"}\n{"v": 2}\n', 2),
    "json": (b'[{"v": 1},\n{"v": "', b'"},\n{"v": 2}]\n', 2),
    "csv": (b'id,v\n1,1\n2,"', b'"\n3,2\n', 3),
}
MEASURED = """
import json, sys
from pathlib import Path
from pipeline.report import Quiet
from pipeline.run import Folders, build_dataset

root = Path(sys.argv[1])
folders = Folders(work=root / "work", out=root / "out", cache=root / "cache")
build_dataset(root / "recipes" / "demo.yaml", folders, workers=1, display=Quiet(), upto="card")
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize("ending", ABSURD)
def test_line_of_a_gigabyte(project: Project, ending: str) -> None:
    """A line of a gigabyte is one reject, the rows around it are built, and memory stays below 600 MB."""
    before, behind, line = ABSURD[ending]
    path = project.source / f"rows.{ending}"
    with path.open("wb") as file:
        file.write(before)
        file.seek(GIGABYTE, 1)
        file.write(behind)
    project.write(ONE_FILE, INTEGER)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(project.root)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    path.unlink()
    assert done.returncode == 0, done.stderr
    assert project.split("train").column("v").to_pylist() == [1, 2]
    assert project.reasons() == [(path.name, line, "read.too_large")]
    assert int(done.stdout) < 600_000  # kilobytes


def test_lost_quote_in_an_array_of_any_length(project: Project) -> None:
    """In an array that goes on for more than a record may be long, a lost quote costs its record and no other."""
    count, text = 700, "x" * 102_400
    records = [json.dumps({"v": number, "text": text}, indent=1) for number in range(count)]
    records[5] = records[5].replace('"text"', '"text')
    (project.source / "rows.json").write_text("[" + ",\n".join(records) + "]", encoding="utf-8")
    project.write(ONE_FILE, INTEGER)
    project.build(upto="card")
    assert project.split("train").column("v").to_pylist() == [number for number in range(count) if number != 5]
    assert project.reasons() == [("rows.json", 21, "read.json")]


# The limit -----------------------------------


def _command(project: Project) -> subprocess.CompletedProcess[str]:
    folders = [f"--{name}={project.root / name}" for name in ("work", "out", "cache")]
    command = [sys.executable, "-m", "pipeline", "card", str(project.recipe_path), "--workers=1", *folders]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _rows_with_broken_ones(project: Project, *broken: str) -> None:
    good = ['{"v": 1}'] * (100 - len(broken))
    (project.source / "rows.jsonl").write_text(lines(*good, *broken), encoding="utf-8")


def test_share_over_the_limit_stops_the_build_with_its_reasons(project: Project) -> None:
    """Through the command line: exit code 3, each reason with its count and an example, no traceback, nothing built."""
    _rows_with_broken_ones(project, "{", '{"v": "7"}', '{"v": "8"}', '{"v": "9"}', '{"v": 1, "v": 2}', '{"v": null}')
    project.write(ONE_FILE | {"rejects": {"max_share": 0.05}}, INTEGER)
    done = _command(project)
    assert done.returncode == RejectsError.exit_code
    assert "6 of 100 rows are broken (6.0%), more than rejects.max_share 5.0%" in done.stderr
    assert re.findall(r"^ +(\d+)  (\S+) +e\.g\. (\S+): \S", done.stderr, re.MULTILINE) == [
        ("3", "schema.type", "rows.jsonl:96"),
        ("1", "read.json", "rows.jsonl:95"),
        ("1", "read.duplicate_key", "rows.jsonl:99"),
        ("1", "schema.null", "rows.jsonl:100"),
    ]
    assert "Traceback" not in done.stderr
    assert not project.out.exists()
    assert len(project.rejected()) == 6


@pytest.mark.parametrize(
    ("max_share", "broken", "stops"), [(0.05, 5, False), (0, 1, True), (0, 0, False), (1, 99, False)]
)
def test_limit_is_a_share_of_the_rows(project: Project, max_share: float, broken: int, stops: bool) -> None:
    """As many broken rows as the limit says are let through, and one more is not."""
    _rows_with_broken_ones(project, *["{"] * broken)
    project.write(ONE_FILE | {"rejects": {"max_share": max_share}}, INTEGER)
    if stops:
        with pytest.raises(RejectsError, match=f"{broken} of 100 rows"):
            project.build()
    else:
        assert project.build().reasons == ({"read.json": broken} if broken else {})


REST = b",".join(b'{"v":%d}' % number for number in range(10_000))


@pytest.mark.parametrize(
    ("ending", "data"),
    [
        pytest.param("csv", b"id,v\n" + b"1,2\n" * 100 + b'3,"4\n' + b"5,6\n" * 10_000, id="open_quote_csv"),
        pytest.param(
            "json",
            b"[" + b'{"v":1},' * 100 + b'{"v":]},' + REST + b"]",
            id="wrong_bracket_json",
        ),
        pytest.param(
            "json",
            b"[" + b'{"v":1},' * 100 + b'{"v:2},' + REST + b"]",
            id="lost_quote_json",
        ),
        pytest.param(
            "json",
            b"[" + b'{"v":1},' * 100 + b'{"v":2}]\n[' + REST + b"]",
            id="second_array_json",
        ),
    ],
)
def test_file_that_is_mostly_unread_stops_the_build(project: Project, ending: str, data: bytes) -> None:
    """A file of which one row in a hundred could be read is over every limit, however few rejects tell of it."""
    (project.source / f"rows.{ending}").write_bytes(data)
    project.write(ONE_FILE | {"rejects": {"max_share": 0.05}}, INTEGER)
    with pytest.raises((RejectsError, SourceError)):
        project.build()
