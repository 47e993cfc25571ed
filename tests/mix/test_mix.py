"""Mixes: datasets of other recipes as one, by weight and cap, each row with where it is from."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import RecipeError
from pipeline.load_recipe import load_recipe
from pipeline.recipe import Part
from pipeline.report import Quiet
from pipeline.run import BuildReport, Folders, build_dataset
from pipeline.stages.curation.mix_shares import kept_rows
from tests.project import Project, png, tree

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {
    "id": "string",
    "image": "image",
    "text": "string",
    "kind": {"type": {"class_label": ["plain", "odd"]}},
}
CONVERSATION = [{"user": [{"image": "image"}, "What kind?"]}, {"assistant": "{{ kind }}: {{ text }}"}]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two recipes, `first` of 12 rows and `second` of 6, each with a train and a test split."""
    folder = tmp_path_factory.mktemp("mix")
    project = Project(folder)
    names = project.pictures(18)
    for name, paths in (("first", names[:12]), ("second", names[12:])):
        rows = [
            {"id": f"{name}{n}", "image": path, "text": f"{name} {n}", "kind": "odd"} for n, path in enumerate(paths)
        ]
        project.rows(f"{name}.jsonl", rows)
        recipe: dict[str, Any] = {
            "name": name,
            "card": "demo",
            "configs": {"only": {"rows": {"files": f"{name}.jsonl"}, "splits": {"train": "rest", "test": {"last": 2}}}},
        }
        project.write(recipe, COLUMNS, conversation=CONVERSATION)
        project.recipe_path.rename(folder / "recipes" / f"{name}.yaml")
    return folder


def write_mix(root: Path, *parts: dict[str, Any], name: str = "both", **more: Any) -> Path:
    """Write a recipe of a mix."""
    path = root / "recipes" / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "card": "demo", "mix": list(parts), **more}), encoding="utf-8")
    return path


def build(root: Path, path: Path) -> BuildReport:
    """Build a recipe."""
    folders = Folders(work=root / "work", out=root / "out", cache=root / "cache")
    return build_dataset(path, folders, workers=1, display=Quiet(), upto="card")


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split of a mix."""
    tables = [pq.read_table(path) for path in sorted((folder / "default").glob(f"{split}-*.parquet"))]
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return rows


def test_parts_are_built_and_mixed_by_weight_and_cap(root: Path) -> None:
    """Of 10 and 4 rows, weighed one to two, 2 and 4 stay; every row left out is named, and a rebuild does nothing."""
    path = write_mix(root, {"dataset": "first", "weight": 1}, {"dataset": "second", "weight": 2}, seed=3)
    report = build(root, path)
    train, test = (rows_of(root / "out" / "both", split) for split in ("train", "test"))
    assert Counter(row["origin"] for row in train) == {"first.only": 2, "second.only": 4}
    assert Counter(row["origin"] for row in test) == {"first.only": 1, "second.only": 2}
    assert report.rows_in == 18
    assert report.reasons == {"curate.mix": 9}
    for row in train + test:
        name, number = (
            row["origin"].partition(".")[0],
            int(row["origin_id"].removeprefix("first").removeprefix("second")),
        )
        assert row["messages"] == [
            {"role": "user", "content": "<image>What kind?"},
            {"role": "assistant", "content": f"odd: {name} {number}"},
        ]
        assert row["images"][0]["bytes"] == png(number + (12 if name == "second" else 0))
        shard = pq.read_table(root / "out" / name / row["origin_file"]).to_pylist()
        assert shard[row["origin_row"] - 1]["id"] == row["origin_id"]
    before = tree(root / "out" / "both")
    assert all(stage.skipped for stage in build(root, path).stages)
    shutil.rmtree(root / "work" / "both")
    build(root, path)
    assert tree(root / "out" / "both") == before


def test_a_folder_and_chosen_splits(root: Path) -> None:
    """A finished dataset is a part by its folder and a schema; splits may go elsewhere; a cap counts by split."""
    build(root, root / "recipes" / "first.yaml")
    part = {"dataset": "../out/first", "schema": "demo", "splits": {"train": "train", "test": "train"}, "cap": 5}
    build(root, write_mix(root, part, {"dataset": "second", "splits": {"test": "test"}}, name="other"))
    assert {row["origin"] for row in rows_of(root / "out" / "other", "train")} == {"first.only"}
    assert len(rows_of(root / "out" / "other", "train")) == 5
    assert [row["origin_id"] for row in rows_of(root / "out" / "other", "test")] == ["second4", "second5"]


def test_a_dataset_is_a_source(root: Path) -> None:
    """A recipe reads the rows of another recipe's dataset as they are."""
    recipe = {
        "name": "again",
        "card": "demo",
        "schema": "demo",
        "sources": {"first": {"dataset": "first"}},
        "configs": {"default": {"splits": {"train": {"files": "only/train-*.parquet"}}}},
        "fields": {"kind": "{{ ['plain', 'odd'][kind] }}"},
    }
    path = root / "recipes" / "again.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert build(root, path).rows_in == 10
    assert [row["text"] for row in rows_of(root / "out" / "again", "train")] == [f"first {n}" for n in range(10)]


@pytest.mark.parametrize(
    ("parts", "rows", "kept"),
    [
        ([("a", 1.0, None), ("b", 1.0, None)], {"a": 10, "b": 4}, {"a": 4, "b": 4}),
        ([("a", 0.7, None), ("b", 0.3, None)], {"a": 70, "b": 30}, {"a": 70, "b": 30}),
        ([("a", 3.0, 6), ("b", 1.0, None)], {"a": 10, "b": 4}, {"a": 6, "b": 2}),
        ([("a", None, 3), ("b", 1.0, None)], {"a": 10, "b": 4}, {"a": 3, "b": 4}),
        ([("a", 1.0, None), ("b", 1.0, None)], {"a": 10}, {"a": 10, "b": 0}),
        ([("a", None, None)], {"a": 7}, {"a": 7}),
    ],
)
def test_shares(parts: list[Any], rows: dict[str, int], kept: dict[str, int]) -> None:
    """No part is repeated, the scarcest decides, and one without rows has no say."""
    made = [Part(source=name, schema=None, rows={}, weight=weight, cap=cap) for name, weight, cap in parts]  # type: ignore[arg-type]
    assert kept_rows(tuple(made), rows) == kept


def test_every_mistake_is_told(root: Path) -> None:
    """Unknown recipes, configs, splits and keys are told at once, each with its line."""
    path = write_mix(
        root,
        {"dataset": "frist"},
        {"dataset": "first", "config": "onyl"},
        {"dataset": "first", "splits": {"tarin": "train"}},
        {"dataset": "../source"},
        {"dataset": "first", "schema": "dmeo"},
        name="wrong",
    )
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    told = str(error.value)
    for words in (
        "did you mean 'first'?",
        "did you mean 'only'?",
        "did you mean 'train'?",
        "holds no <config>",
        "dmeo",
    ):
        assert words in told, told
    with pytest.raises(RecipeError, match="unknown key"):
        load_recipe(write_mix(root, {"dataset": "first", "wieght": 1}, name="wrong"))


def test_a_dataset_is_not_made_of_itself(root: Path) -> None:
    """A circle of recipes is a mistake and no endless loop."""
    write_mix(root, {"dataset": "circle_b"}, name="circle_a")
    path = write_mix(root, {"dataset": "circle_a"}, name="circle_b")
    with pytest.raises(RecipeError, match="made of itself: circle_b -> circle_a -> circle_b"):
        load_recipe(path)


def test_recipes_have_names(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`list` shows the recipes of the folders that are named, and a command takes a name for a path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHARDWRIGHT_RECIPES", str(root / "recipes"))
    listed = CliRunner().invoke(main, ["list", "--out", str(root / "out")])
    assert listed.exit_code == 0, listed.output
    assert any(line.startswith("first ") and "only: train, test" in line for line in listed.output.splitlines())
    assert "needs huggingface: TIGER-Lab/VideoFeedback" in listed.output
    folders = [f"--{name}={root / name}" for name in ("work", "out", "cache")]
    done = CliRunner().invoke(main, ["card", "first", *folders])
    assert done.exit_code == 0, done.output
    unknown = CliRunner().invoke(main, ["card", "frist", *folders])
    assert unknown.exit_code == 2
    assert "shardwright list" in unknown.output
