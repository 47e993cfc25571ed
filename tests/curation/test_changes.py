"""Values that curation changes: later steps, the split, the shards and every reader see them, and each is recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ProblemsFound
from pipeline.row_file import read_rows, write_rows
from pipeline.samples import iter_values
from pipeline.stages.changes import Changed
from pipeline.stages.curation.registry import STEPS, Step
from tests.project import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.project import Project

ONE_SPLIT = {"configs": {"default": {"splits": {"train": {"files": "*.jsonl"}}, "split_by": {"group": "none"}}}}
COLUMNS = {"n": "int64", "text": {"type": "string", "nullable": True}}


@pytest.fixture
def rewriting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the step `limit` call a function for each row, and change what it returns."""

    def use(columns: list[str], rewrite: Callable[[dict[str, Any], int], Any]) -> None:
        def run(build: Any, config: Any, samples: pa.Table, spec: Any, measures: Any) -> Iterator[Any]:  # noqa: ARG001
            names = [column.name for column in config.schema.value_columns]
            for first, rows in iter_values(build, samples, config.name, names):
                for place, row in enumerate(rows):
                    found = rewrite(row, spec.limit)
                    if isinstance(found, str):
                        yield first + place, "curate.rewritten", found
                    elif found:
                        yield Changed(first + place, found)

        monkeypatch.setitem(STEPS, "limit", Step(run, changes=lambda *_: columns))

    return use


def changed(project: Project) -> list[dict[str, Any]]:
    """Return the changed values."""
    return list(pq.read_table(project.work / "changed.parquet").to_pylist())


def test_later_steps_and_the_shards_see_it(project: Project, rewriting: Callable[..., None]) -> None:
    """A condition behind the change looks at the new value, one before it at the old; every change is recorded."""
    rewriting(["text"], lambda row, _: {"text": f"new {row['n']}"} if row["n"] % 2 else None)
    project.rows("rows.jsonl", [{"n": n, "text": None if n == 3 else f"old {n}"} for n in range(8)])
    steps = [{"drop_if": "text == 'new 1' or n == 7"}, {"limit": 1}, {"drop_if": "text == 'new 5'"}]
    project.write(ONE_SPLIT | {"curate": steps}, COLUMNS)
    report = project.build(upto="validate")
    assert project.split("train").to_pylist() == [
        {"n": n, "text": f"new {n}" if n % 2 else f"old {n}"} for n in (0, 1, 2, 3, 4, 6)
    ]
    rows = [(row["line"], row["step"], row["column"], row["before"], row["after"]) for row in changed(project)]
    assert rows == [
        (2, "2 limit", "text", "old 1", "new 1"),
        (4, "2 limit", "text", None, "new 3"),
        (6, "2 limit", "text", "old 5", "new 5"),
    ]
    assert {(row["config"], row["split"], row["source"], row["file"]) for row in changed(project)} == {
        ("default", "train", "mine", "rows.jsonl")
    }
    assert project.reasons() == [("rows.jsonl", 8, "curate.drop_if"), ("rows.jsonl", 6, "curate.drop_if")]
    notes = [note for stage in report.stages for note in stage.notes]
    assert notes == ["default: values changed by step 2 limit: 3 of text"]
    meta = json.loads((project.work / "manifest.json").read_bytes())["stages"]["curate"]["configs"]["default"]
    assert meta["changed"] == {"2 limit": {"text": 3}}
    card = (project.out / "README.md").read_text(encoding="utf-8")
    assert "3 values of `text` in `default` were written anew by step 2 of curation (limit)." in card


def test_pandas_and_datasets_see_it(project: Project, rewriting: Callable[..., None], tmp_path: Path) -> None:
    """What people load holds the new values."""
    rewriting(["text"], lambda row, _: {"text": f"new {row['n']}"})
    project.rows("rows.jsonl", [{"n": n, "text": "old"} for n in range(3)])
    project.write(ONE_SPLIT | {"curate": [{"limit": 1}]}, COLUMNS)
    project.build()
    script = (
        "import sys, datasets, pandas\n"
        "rows = datasets.load_dataset(sys.argv[1], split='train', cache_dir=sys.argv[2])\n"
        "print(rows['text'][:], list(pandas.read_parquet(sys.argv[3])['text']))\n"
    )
    shard = project.out / "default" / "train-00000-of-00001.parquet"
    done = subprocess.run(
        [sys.executable, "-c", script, project.out, tmp_path / "cache", shard],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-1] == f"{['new 0', 'new 1', 'new 2']} {['new 0', 'new 1', 'new 2']}"


def test_changes_lie_on_changes(project: Project, rewriting: Callable[..., None]) -> None:
    """A step sees what one before it wrote, other columns keep what they were given, and undoing is a change too."""
    seen: list[tuple[int, str]] = []

    def rewrite(row: dict[str, Any], step: int) -> Any:
        seen.append((step, row["text"]))
        if step == 1:
            return {"text": f"{row['text']}!", "label": "dog"}
        if step == 2:
            return {"text": row["text"] + "?", "more": {"n": [row["n"]]}} if row["n"] else None
        return {"text": row["text"].rstrip("?!"), "tags": [row["label"], None]} if row["n"] == 2 else None

    columns = {
        "n": "int64",
        "text": "string",
        "label": {"type": {"class_label": ["cat", "dog"]}},
        "tags": {"type": {"list": "json"}},
        "more": {"type": "json", "nullable": True},
    }
    rewriting(["more", "tags", "text", "label"], rewrite)
    project.rows("a.jsonl", [{"n": n, "text": f"t{n}", "label": "cat", "tags": []} for n in range(2)])
    project.rows("b.jsonl", [{"n": 2, "text": "t2", "label": "cat", "tags": [{"a": 1}]}])
    project.write(ONE_SPLIT | {"curate": [{"limit": 1}, {"limit": 2}, {"limit": 3}]}, columns)
    project.build()
    assert [text for step, text in seen if step == 3] == ["t0!", "t1!?", "t2!?"]
    rows = project.split("train").to_pylist()
    assert [(row["text"], row["label"]) for row in rows] == [("t0!", 1), ("t1!?", 1), ("t2", 1)]
    assert rows[2]["tags"] == ["1", None]
    assert [row["more"] for row in rows] == [None, '{"n":[1]}', '{"n":[2]}']
    assert [(row["step"], row["column"], row["before"], row["after"]) for row in changed(project)][-2:] == [
        ("3 limit", "text", "t2!?", "t2"),
        ("3 limit", "tags", '["{\\"a\\":1}"]', '["1", null]'),
    ]


@pytest.mark.parametrize(
    ("rules", "value", "why"),
    [
        ({"min_length": 3}, "no", ("schema.rule", "its length is 2")),
        ({"pattern": "[a-z ]+"}, "No 1", ("schema.rule", "it must match")),
        ({"values": ["yes", "old"]}, "no", ("schema.rule", "allowed: 'yes', 'old'")),
        ({}, None, ("schema.null", "must have a value")),
        ({}, 7, ("schema.type", "text")),
    ],
)
def test_a_new_value_keeps_the_schema(
    project: Project, rewriting: Callable[..., None], rules: dict[str, Any], value: Any, why: tuple[str, str]
) -> None:
    """A row whose new value breaks a rule of its column is a reject with the step and the reason, and not recorded."""
    rewriting(["text"], lambda row, _: {"text": value} if row["n"] == 1 else None)
    project.rows("rows.jsonl", [{"n": n, "text": "old"} for n in range(3)])
    project.write(ONE_SPLIT | {"curate": [{"limit": 1}]}, {"n": "int64", "text": {"type": "string", **rules}})
    report = project.build(upto="shard")
    assert [row["n"] for row in project.split("train").to_pylist()] == [0, 2]
    (row,) = project.rejected()
    assert (row["stage"], row["reason"], row["line"]) == ("curate", why[0], 2)
    assert row["message"].startswith("1 limit: text")
    assert why[1] in row["message"]
    assert changed(project) == []
    assert report.rows_in == 3


def test_a_changed_row_keeps_its_conversation(project: Project, rewriting: Callable[..., None]) -> None:
    """Placeholders, the conversation, and what is unique are proved again where a step wrote."""
    texts = ["<image> a", "no place", "<image> same", "<image> same", ""]
    rewriting(["text"], lambda row, _: {"text": texts[row["n"]]})
    names = project.pictures(5)
    project.rows("rows.jsonl", [{"n": n, "text": f"<image> {n}", "image": name} for n, name in enumerate(names)])
    project.write(
        ONE_SPLIT | {"curate": [{"limit": 1}]},
        {"n": "int64", "text": {"type": "string", "unique": True}, "image": "image"},
        placeholders=[{"column": "text", "token": "<image>", "media": "image"}],
    )
    project.build(upto="shard")
    assert [row["text"] for row in project.split("train").to_pylist()] == texts[:1] + texts[2:3]
    assert project.reasons() == [
        ("rows.jsonl", 2, "conversation.placeholders"),
        ("rows.jsonl", 5, "conversation.placeholders"),
        ("rows.jsonl", 4, "schema.unique"),
    ]


def test_the_split_sees_it(project: Project, rewriting: Callable[..., None]) -> None:
    """Groups and strata are those of the new values."""
    rewriting(["text"], lambda row, _: {"text": "ab"[row["n"] % 2]})
    project.rows("rows.jsonl", [{"n": n, "text": str(n)} for n in range(20)])
    splits = {"train": {"rest": True}, "test": {"share": 0.5}}
    config = {"rows": {"files": "*.jsonl"}, "splits": splits, "split_by": {"group": "text"}}
    project.write({"configs": {"default": config}, "curate": [{"limit": 1}]}, COLUMNS)
    project.build(upto="shard")
    sides = [{row["text"] for row in project.split(name).to_pylist()} for name in splits]
    assert sorted(sides, key=str) == [{"a"}, {"b"}] or sorted(sides, key=str) == [{"b"}, {"a"}]


def test_shards_are_cut_by_what_rows_weigh_now(project: Project, rewriting: Callable[..., None]) -> None:
    """Longer texts fill more shards, the same with any number of workers, and nothing is done a second time."""
    rewriting(["text"], lambda row, step: {"text": "x" * (1_000 * step)} if row["n"] >= 50 else None)
    project.rows("rows.jsonl", [{"n": n, "text": "short"} for n in range(100)])
    recipe = ONE_SPLIT | {"shards": {"max_bytes": 20_000, "row_group_bytes": 5_000}}
    project.write(recipe | {"curate": [{"limit": 1}]}, COLUMNS)
    project.build()
    assert len(list((project.out / "default").iterdir())) == 3
    before, noted = tree(project.out), tree(project.work)["changed.parquet"]
    again = project.build()
    assert all(stage.skipped for stage in again.stages if stage.stage != "download")
    for workers in (1, 2):
        for path in (project.work, project.out):
            for file in sorted(path.rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
        project.build(workers=workers)
        assert tree(project.out) == before
        assert tree(project.work)["changed.parquet"] == noted


def test_only_shards_with_other_values_are_written_again(project: Project, rewriting: Callable[..., None]) -> None:
    """Where a step writes other values, shards without changed rows stay as they are."""
    project.rows("rows.jsonl", [{"n": n, "text": "x" * 300} for n in range(100)])
    project.write(ONE_SPLIT | {"shards": {"max_bytes": 8_000}, "curate": [{"limit": 1}]}, COLUMNS)
    rewriting(["text"], lambda row, _: {"text": "y" * 300} if row["n"] == 99 else None)
    project.build()
    before = {path: path.stat().st_mtime_ns for path in (project.out / "default").iterdir()}
    assert len(before) > 3
    project.write(ONE_SPLIT | {"shards": {"max_bytes": 8_000}, "curate": [{"limit": 2}]}, COLUMNS)
    rewriting(["text"], lambda row, _: {"text": "z" * 300} if row["n"] == 99 else None)
    project.build()
    after = {path: path.stat().st_mtime_ns for path in (project.out / "default").iterdir()}
    assert [path for path in before if before[path] != after[path]] == [max(before)]
    assert project.split("train").to_pylist()[-1]["text"] == "z" * 300


def test_a_changed_row_that_was_dropped_is_dropped(project: Project, rewriting: Callable[..., None]) -> None:
    """A step may drop and change; rows in are rows out and rejects."""
    rewriting(["text"], lambda row, _: "not wanted" if row["n"] < 2 else {"text": "new"})
    project.rows("rows.jsonl", [{"n": n, "text": "old"} for n in range(4)])
    project.write(ONE_SPLIT | {"curate": [{"limit": 1}]}, COLUMNS)
    project.build()
    assert project.split("train").to_pylist() == [{"n": n, "text": "new"} for n in (2, 3)]
    assert [reason for *_, reason in project.reasons()] == ["curate.rewritten"] * 2


def test_the_proof_looks_at_changed_values(project: Project, rewriting: Callable[..., None]) -> None:
    """Values in the shards that are not those that curation wrote, and records that vanished, are found."""
    rewriting(["text"], lambda row, _: {"text": f"new {row['n']}"} if row["n"] == 2 else None)
    project.rows("rows.jsonl", [{"n": n, "text": "old"} for n in range(4)])
    project.write(ONE_SPLIT | {"curate": [{"limit": 1}]}, COLUMNS)
    project.build()
    changes = project.work / "plan" / "default.changes.arrow"
    kept = read_rows(changes)
    place = kept.schema.get_field_index("text")
    write_rows(changes, kept.set_column(place, "text", pa.array(["other"])))
    with pytest.raises(ProblemsFound, match=r"SW804.*row 2: the values that curation changed"):
        _prove(project)
    write_rows(changes, kept)
    noted = project.work / "changed.parquet"
    pq.write_table(pq.read_table(noted).slice(0, 0), noted)
    with pytest.raises(ProblemsFound, match="SW804"):
        _prove(project)


def _prove(project: Project) -> None:
    from tests.test_validate import _prove as prove

    prove(project)
